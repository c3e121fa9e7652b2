"""Two MODELs interpolated through the host's own patches, and two files interpolated into a third."""

import json
from collections.abc import Callable
from pathlib import Path

import torch

from ...weights import families, stream_loras, stream_models
from ..networks import UNET
from ..progress import Progress, throw_if_cancelled
from ..sockets import Model
from . import loras, models, saving

PREFIX = "diffusion_model."
GROUPS = tuple(blocks.name for blocks in UNET.blocks)  # all else is "rest": embeddings, first and last layer


def check_alike(a: Model, b: Model, node: str) -> None:
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


def interpolated(a: Model, b: Model, weights: dict[str, float], node: str) -> Model:
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


def interpolate_files(a: str, b: str, weight: float, name: str, keep: bool, overwrite: bool, node: str) -> str:
    """Two listed checkpoints or U-Nets into a third, in the folder of A's kind, streamed."""
    (kind, first), (_, second) = (model_file(source, node) for source in (a, b))
    listed, target = saving.new_file(kind, name, overwrite, node)

    def write(metadata, on_bytes):
        stream_models.interpolate(first, second, weight, target, metadata, keep=keep, on_bytes=on_bytes)

    streamed(write, {"modelspec.title": name}, "fewstep.merge", recipe_of((a, b), weight), node)
    return listed


def interpolate_lora_files(
    a: str, b: str, weight: float, name: str, dtype: torch.dtype | None, overwrite: bool, extra: dict, node: str
) -> tuple[str, list]:
    """Two listed LoRAs into a third under loras/fewstep, streamed: (its name for the lists, its modules).

    extra: goes into the metadata beside the recipe: {"sampling": ...} of the file whose settings are kept, or nothing.
    """
    first, second = (Path(loras.path_of(source, node)) for source in (a, b))
    listed, target = saving.new_file("loras", name, overwrite, node)

    def write(metadata, on_bytes):
        return stream_loras.interpolate(first, second, weight, target, metadata, dtype=dtype, on_bytes=on_bytes)

    key = families.METADATA_KEY if "sampling" in extra else "fewstep.merge"
    recipe = {**recipe_of((a, b), weight), **extra}
    return listed, streamed(write, {"modelspec.title": name}, key, recipe, node)


def recipe_of(names: tuple[str, str], weight: float) -> dict:
    parents = [{"name": name, "weight": w, "sha256": ""} for name, w in zip(names, (weight, 1 - weight))]
    return {"recipe": {"formula": "lambda A + (1 - lambda) B", "lambda": weight, "parents": parents}}


def streamed(write: Callable, metadata: dict[str, str], key: str, recipe: dict, node: str):
    """write(metadata with the parents' hashes in the recipe, progress): cancel as it goes, errors name the node."""
    progress = Progress(100)

    def on_bytes(done: int, total: int) -> None:
        throw_if_cancelled()
        progress.show(100 * done // max(total, 1))

    def hashed(*hashes: str) -> dict[str, str]:
        for parent, sha256 in zip(recipe["recipe"]["parents"], hashes):
            parent["sha256"] = sha256
        return {**metadata, "modelspec.implementation": "FewStep", key: json.dumps(recipe)}

    try:
        return write(hashed, on_bytes)
    except ValueError as error:
        raise ValueError(f"{node}: {error}") from error


def model_file(name: str, node: str) -> tuple[str, Path]:
    """(the kind of folder, the path) of a listed checkpoint or U-Net."""
    kind, path = models.locate(name)
    if path is None:
        raise ValueError(f'{node}: "{name}" is in no checkpoints or diffusion_models folder. Refresh the list.')
    if not path.lower().endswith(".safetensors"):
        raise ValueError(f'{node}: "{name}" is not a .safetensors file, and other kinds can carry code. Convert it.')
    return kind, Path(path)
