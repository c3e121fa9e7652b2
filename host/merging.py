"""Two MODELs interpolated through the host's own patches, and a MODEL written as a checkpoint."""

import json
import os
from pathlib import Path

from ..weights import stream
from . import folders, models
from .progress import Progress, throw_if_cancelled

PREFIX = "diffusion_model."
GROUPS = (
    "input_blocks",
    "middle_block",
    "output_blocks",
)  # everything else is "rest": embeddings, first and last layer


def check_alike(a, b, node: str) -> None:
    """Refuse MODELs of different architectures, naming a weight that differs."""
    shapes = [{key: tuple(w.shape) for key, w in m.model_state_dict(PREFIX).items()} for m in (a, b)]
    lone = sorted(set(shapes[0]) ^ set(shapes[1]))
    other = sorted(key for key in set(shapes[0]) & set(shapes[1]) if shapes[0][key] != shapes[1][key])
    if lone or other:
        example = lone[0] if lone else f"{other[0]} ({shapes[0][other[0]]} and {shapes[1][other[0]]})"
        raise ValueError(
            f"{node}: the models are of different architectures: {len(lone) + len(other)} weights differ, such as "
            f"{example}. Both must be of one architecture."
        )


def group_of(key: str) -> str:
    part = key.removeprefix(PREFIX).split(".")[0]
    return part if part in GROUPS else "rest"


def interpolated(a, b, weights: dict[str, float], node: str):
    """theta = lambda A + (1 - lambda) B per weight, with the patches of both; A's object patches stay.

    weights: lambda of each group. The host applies a patch as strength_model * weight + strength_patch * value, and
    takes B's weights with B's own patches as the value, so any lambda is exact.
    """
    check_alike(a, b, node)
    merged, theirs = a.clone(), b.get_key_patches(PREFIX)
    for group, weight in weights.items():
        chosen = {key: value for key, value in theirs.items() if group_of(key) == group}
        merged.add_patches(chosen, 1 - weight, weight)
    return merged


def save_checkpoint(model, clip, vae, name: str, metadata: dict[str, str], overwrite: bool, node: str) -> str:
    """Write checkpoints/fewstep/<name>.safetensors with every patch baked in; gives the name the loaders list it by."""
    import comfy.sd

    listed, path = new_checkpoint(name, overwrite, node)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp.safetensors")
    try:
        models.call_supported(comfy.sd.save_checkpoint, str(temporary), model, clip, vae, metadata=metadata)
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(f"{node}: {path} could not be written: {error}. Free some disk and try again.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return listed


def new_checkpoint(name: str, overwrite: bool, node: str) -> tuple[str, Path]:
    """(the name that the loaders list it by, its path) of a file under checkpoints/fewstep."""
    listed = str(Path("fewstep") / f"{name}.safetensors")
    path = folders.inside(folders.own_folder("checkpoints"), listed, f"{node}: name")
    if path.exists() and not overwrite:
        raise ValueError(f'{node}: "{listed}" exists already. Choose another name, or turn overwrite on.')
    return listed, path


def interpolate_files(a: str, b: str, weight: float, name: str, keep: bool, overwrite: bool, node: str) -> str:
    """Two listed checkpoints into a third, streamed; progress and cancel as they go."""
    listed, target = new_checkpoint(name, overwrite, node)
    paths = [checkpoint_path(found, node) for found in (a, b)]
    parents = [{"name": found, "sha256": folders.sha256(path)} for found, path in zip((a, b), paths)]
    recipe = {"formula": "lambda A + (1 - lambda) B", "lambda": weight, "parents": parents}
    metadata = {"modelspec.title": name, "modelspec.implementation": "FewStep"}
    metadata["fewstep.merge"] = json.dumps({"recipe": recipe})
    progress = Progress(100)

    def on_bytes(done: int, total: int) -> None:
        throw_if_cancelled()
        progress.show(100 * done // max(total, 1))

    try:
        stream.interpolate_files(*paths, weight, target, metadata, keep=keep, on_bytes=on_bytes)
    except ValueError as error:
        raise ValueError(f"{node}: {error}") from error
    return listed


def checkpoint_path(name: str, node: str) -> Path:
    found = folders.full_path("checkpoints", name)
    if found is None:
        raise ValueError(f'{node}: "{name}" is in no checkpoints folder. Refresh the list, or check the name.')
    if not found.lower().endswith(".safetensors"):
        raise ValueError(f'{node}: "{name}" is not a .safetensors file, and other kinds can carry code. Convert it.')
    return Path(found)
