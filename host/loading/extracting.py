"""A few-step model minus its base as a LoRA file, from file to file on the host's device."""

import torch

from ...weights import extract, families
from ...weights.families import Settings
from . import merging, saving

FORMULA = "few-step model - base, by SVD"


def extract_lora(
    few_step: str, base: str, rank: int, dtype: torch.dtype, settings: Settings, name: str, overwrite: bool, node: str
) -> tuple[str, extract.Extracted]:
    """Two listed model files into a LoRA under loras/fewstep: (its name for the lists, what was made).

    The metadata have the few-step model's settings, at strength 1, and the recipe with the error and both SHA-256.
    """
    from comfy import model_management

    (_, first), (_, second) = (merging.model_file(found, node) for found in (few_step, base))
    listed, target = saving.new_file("loras", name, overwrite, node)
    parents = [{"name": found, "weight": weight, "sha256": ""} for found, weight in ((few_step, 1), (base, -1))]
    recipe = {"formula": FORMULA, "rank": rank, "relative_error": written(0.0), "parents": parents}

    def write(metadata, on_bytes):
        def on_error(error: float) -> None:
            recipe["relative_error"] = written(error)

        where = {"dtype": dtype, "device": model_management.get_torch_device()}
        return extract.extract(first, second, rank, target, metadata, on_error=on_error, on_bytes=on_bytes, **where)

    both = {"recipe": recipe, "sampling": families.as_dict(settings)}
    return listed, merging.streamed(write, {"modelspec.title": name}, families.METADATA_KEY, both, node)


def written(error: float) -> str:
    """Always as long: the header of the file is as long before the error is known."""
    return f"{min(error, 1.0):.6f}"
