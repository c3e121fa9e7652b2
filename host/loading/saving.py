"""A MODEL written as a checkpoint or as a U-Net alone, and what it is known to be made from."""

import os
from pathlib import Path

import torch

from ...weights import io, stream_models
from .. import fingerprints, folders, model_copy, names
from ..sockets import Clip, Model, Vae
from . import models

ORIGIN = "fewstep_file"  # in model_options, which the host copies from clone to clone


class NoVae:
    """Stands where one host insists on a VAE."""

    @staticmethod
    def get_sd() -> dict:
        return {}


def new_file(kind: str, name: str, overwrite: bool, node: str) -> tuple[str, Path]:
    """(the name that the loaders list it by, its path) of a new file in the `fewstep` folder of a kind of models."""
    listed = str(Path("fewstep") / f"{names.plain_name(name, f'{node}: name')}.safetensors")
    path = names.inside(folders.own_folder(kind), listed, f"{node}: name")
    if path.exists() and not overwrite:
        raise ValueError(f'{node}: "{listed}" exists already. Choose another name, or turn overwrite on.')
    return listed, path


def save_model(
    model: Model,
    clip: Clip | None,
    vae: Vae | None,
    name: str,
    metadata: dict[str, str],
    dtype: torch.dtype | None,
    overwrite: bool,
    node: str,
) -> str:
    """Write a MODEL with every patch baked in; gives the name that the loaders list it by.

    With CLIP or VAE it is a checkpoint; alone a file for the stock Load Diffusion Model. dtype None: as loaded.
    """
    alone = clip is None and vae is None
    listed, path = new_file(folders.network_kind() if alone else "checkpoints", name, overwrite, node)
    if not alone and dtype is None:
        write(path, model, clip, vae, metadata)
        return listed
    whole = path.with_name(f"{path.name}.{os.getpid()}.whole.tmp")
    try:
        write(whole, model, clip, vae, metadata)
        stream_models.rewrite(whole, path, models.CHECKPOINT if alone else "", dtype)
    except ValueError as error:
        raise ValueError(f"{node}: {error}") from error
    finally:
        whole.unlink(missing_ok=True)
    return listed


def write(path: Path, model: Model, clip: Clip | None, vae: Vae | None, metadata: dict[str, str]) -> None:
    """Through the host, which bakes the patches in and knows the names."""
    import comfy.sd

    with io.replacing(path) as temporary:
        model_copy.call_supported(
            comfy.sd.save_checkpoint, str(temporary), model, clip, vae or NoVae(), metadata=metadata
        )


def note_file(model: Model, name: str, path: str) -> Model:
    """Remember which file a MODEL was loaded from; returns it."""
    file = os.stat(path)
    model.model_options[ORIGIN] = {"name": name, "path": path, "size": file.st_size, "changed": file.st_mtime_ns}
    return model


def parent(model: Model) -> dict:
    """What a recipe says of a MODEL: its file and the file's SHA-256 where that is known, always its fingerprint.

    patched: weights that LoRAs and merges on the MODEL change, so that it is no longer the file alone.
    """
    known = {"fingerprint": fingerprints.of_model(model), "patched": len(model.patches)}
    file = model.model_options.get(ORIGIN) or loaded_by_the_host(model)
    if not file or not os.path.isfile(file["path"]):
        return known
    now = os.stat(file["path"])
    if (file["size"], file["changed"]) != (now.st_size, now.st_mtime_ns):
        return known  # another file of that name since
    return {"name": file["name"], "sha256": io.sha256(file["path"]), **known}


def loaded_by_the_host(model: Model) -> dict | None:
    """The file of a stock loader, on hosts whose MODEL can be loaded again from it."""
    source = getattr(model, "cached_patcher_init", None)
    path = source[1][0] if source and source[1] else None
    if not isinstance(path, str) or not os.path.isfile(path):
        return None
    file = os.stat(path)
    return {"name": os.path.basename(path), "path": path, "size": file.st_size, "changed": file.st_mtime_ns}
