"""LoRAs interpolated, combined and saved, exactly: on deltas, whatever their ranks and key formats."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from ..host import folders
from ..host.loading import loras, merging, saving
from ..host.names import plain_name
from ..training.checks import require
from ..weights import families, io, merge, plain_json, stream_models
from .load import settings_of

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
AS_FILES = "as the files"
RANK = {"default": 0, "min": 0, "max": 4096, "tooltip": "0: exact, the ranks add up. Else: compressed to it by SVD."}
WEIGHT = {"min": -10.0, "max": 10.0, "step": 0.01}


@dataclass(frozen=True)
class Parent:
    """A LoRA that is merged: read and hashed once, however often it is weighted."""

    name: str
    deltas: dict[str, merge.Delta]
    settings: families.Settings | None
    sha256: str


def parent(name: str, node: str) -> Parent:
    tensors, metadata = loras.read(name, node)
    try:
        found = merge.deltas(tensors, name)
    except ValueError as error:
        raise ValueError(f"{node}: {error}") from error
    return Parent(name, found, settings_of(name, metadata, node), loras.sha256(name))


def summed(node: str, parts: list[tuple[Parent, float]], rank: int) -> tuple[dict[str, merge.Delta], float]:
    """sum_i w_i LoRA_i, and the relative error of its compression to `rank` (0: exact)."""
    try:
        found = merge.weighted_sum([(source.deltas, weight) for source, weight in parts])
    except ValueError as error:
        raise ValueError(f"{node}: {error}") from error
    return merge.compress_all(found, rank) if rank else (found, 0.0)


def weighted(node: str, parts: list[tuple[str, float]], rank: int, formula: str) -> tuple[dict, str, str]:
    """(tensors, recipe as JSON, report) of sum_i w_i LoRA_i. The first few-step file's settings go into the recipe."""
    loaded = [(parent(name, node), weight) for name, weight in parts]
    made, error = summed(node, loaded, rank)
    parents = [{"name": source.name, "weight": weight, "sha256": source.sha256} for source, weight in loaded]
    recipe = {"recipe": {"formula": formula, "parents": parents, "relative_error": error}}
    recipe |= sampling_of((source.settings, weight) for source, weight in loaded)
    return merge.to_file(made), json.dumps(recipe), report(formula, parts, made, rank, error)


def sampling_of(known: Iterable[tuple[families.Settings | None, float]]) -> dict:
    """{"sampling": the first known settings among the files that count}, or nothing."""
    settings = next((found for found, weight in known if found and weight), None)
    return {"sampling": families.as_dict(settings)} if settings else {}


def report(formula: str, parts: list, made: dict, rank: int, error: float) -> str:
    lines = [formula, *(f"{weight:g} x {name}" for name, weight in parts), counted(made.values())]
    lines.append(f"relative error of the compression: {error:.2e}" if rank else "exact")
    return "\n".join(lines)


def counted(modules: Iterable) -> str:
    ranks = [module.rank for module in modules]
    return f"{len(ranks)} modules of rank {min(ranks)}-{max(ranks)}" if ranks else "nothing: every weight is 0"


def parsed(recipe: str, node: str = "FewStepSaveLora") -> dict:
    """A recipe of the merging nodes; nothing connected is an empty one."""
    try:
        found = plain_json.parse(recipe) if recipe else {}
        require(isinstance(found, dict), "it is no object")
        return found
    except ValueError as error:
        raise ValueError(f"{node}: recipe is not JSON. Connect the recipe output of a merging node.") from error


def cast(lora: dict, dtype: torch.dtype, node: str) -> dict:
    """Its weights in another precision. alpha stays fp32: bf16 rounds an odd rank above 256, and so the scale."""
    try:
        return {k: t if k.endswith(".alpha") else stream_models.cast(t, dtype, k) for k, t in lora.items()}
    except ValueError as error:
        raise ValueError(f"{node}: {error}") from error


class FewStepInterpolateLoras:
    TITLE = "FewStep Interpolate LoRAs"
    DESCRIPTION = (
        "lambda A + (1 - lambda) B of two LoRAs of one base, between them or beyond: any ranks, exact. "
        "SwiftBrush v2 merges its two students this way, with lambda 0.5."
    )
    CATEGORY = "FewStep/merging"
    FUNCTION = "merge"
    RETURN_TYPES = ("LORA_MODEL", "STRING", "STRING")
    RETURN_NAMES = ("lora", "recipe", "report")

    @classmethod
    def INPUT_TYPES(cls):
        tooltip = "1 is A, 0 is B, 0.5 halfway; below 0 and above 1 goes on beyond them."
        return {
            "required": {
                "lora_a": (folders.names("loras"), {"tooltip": "A .safetensors file in a loras folder."}),
                "lora_b": (folders.names("loras"), {"tooltip": "Another one, of the same base."}),
                "weight": ("FLOAT", {"default": 0.5, **WEIGHT, "tooltip": f"lambda: {tooltip}"}),
                "rank": ("INT", RANK),
            },
            "optional": {
                "file_a": ("STRING", {"forceInput": True, "tooltip": "The lora_name of FewStep Distill, for lora_a."}),
                "file_b": ("STRING", {"forceInput": True, "tooltip": "The same, instead of lora_b."}),
            },
        }

    def merge(self, lora_a, lora_b, weight, rank, file_a="", file_b=""):
        lora_a, lora_b = file_a or lora_a, file_b or lora_b
        return weighted(
            "FewStepInterpolateLoras", [(lora_a, weight), (lora_b, 1 - weight)], rank, "lambda A + (1 - lambda) B"
        )


class FewStepCombineLoras:
    TITLE = "FewStep Combine LoRAs"
    DESCRIPTION = "A few-step LoRA and a style LoRA as one file: the weighted sum of their deltas (LCM-LoRA, eq. 2-3)."
    CATEGORY = "FewStep/merging"
    FUNCTION = "merge"
    RETURN_TYPES = ("LORA_MODEL", "STRING", "STRING")
    RETURN_NAMES = ("lora", "recipe", "report")

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "few_step_lora": (folders.names("loras"), {"tooltip": "LCM-LoRA, Hyper-SD, one of ours, ..."}),
                "style_lora": (folders.names("loras"), {"tooltip": "Any LoRA of the same base."}),
                "few_step_weight": ("FLOAT", {"default": 1.0, **WEIGHT, "tooltip": "LCM-LoRA's paper: 1.0."}),
                "style_weight": ("FLOAT", {"default": 0.8, **WEIGHT, "tooltip": "LCM-LoRA's paper: 0.8."}),
                "rank": ("INT", RANK),
            }
        }

    def merge(self, few_step_lora, style_lora, few_step_weight, style_weight, rank):
        parts = [(few_step_lora, few_step_weight), (style_lora, style_weight)]
        return weighted("FewStepCombineLoras", parts, rank, "w1 few-step + w2 style")


class FewStepSaveLora:
    TITLE = "FewStep Save LoRA"
    DESCRIPTION = "Writes a LoRA under loras/fewstep/, with its recipe, and gives the name that the loaders list it by."
    CATEGORY = "FewStep/merging"
    FUNCTION = "save"
    OUTPUT_NODE = True
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("lora_name",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "lora": ("LORA_MODEL", {"tooltip": "From the merging nodes or FewStep Distill."}),
                "name": ("STRING", {"default": "merged", "tooltip": "The file's name, without folder and ending."}),
                "dtype": (list(DTYPES), {"tooltip": "fp32 keeps the merge exact; fp16 halves the file."}),
                "overwrite": ("BOOLEAN", {"default": False, "tooltip": "Off: a file of that name is an error."}),
            },
            "optional": {"recipe": ("STRING", {"forceInput": True, "tooltip": "Kept in the file's metadata."})},
        }

    def save(self, lora, name, dtype, overwrite, recipe=""):
        title = plain_name(name, "FewStepSaveLora: name")
        require(
            bool(lora),
            "FewStepSaveLora: lora holds no weights. A whole student is a file already, and a merge needs a weight "
            "that is not 0.",
        )
        listed, path = saving.new_file("loras", title, overwrite, "FewStepSaveLora")
        tensors = cast(lora, DTYPES[dtype], "FewStepSaveLora")
        metadata = {"modelspec.title": title, "modelspec.implementation": "FewStep"}
        found = parsed(recipe)
        if "sampling" in found:
            metadata[families.METADATA_KEY] = recipe
        elif found:
            metadata["fewstep.merge"] = recipe
        io.save(tensors, path, metadata)
        return (listed,)


class FewStepInterpolateLoraFiles:
    TITLE = "FewStep Interpolate LoRA Files"
    DESCRIPTION = (
        "lambda A + (1 - lambda) B of two LoRA files straight into a third: exact, about as fast as copying them, and "
        "in a few megabytes of memory. For large files; FewStep Interpolate LoRAs gives the LoRA to other nodes."
    )
    CATEGORY = "FewStep/merging"
    FUNCTION = "merge"
    OUTPUT_NODE = True
    RETURN_TYPES = ("STRING", "STRING")
    RETURN_NAMES = ("lora_name", "report")

    @classmethod
    def INPUT_TYPES(cls):
        tooltip = "lambda: 1 is A, 0 is B, 0.5 halfway; below 0 and above 1 goes on beyond them."
        return {
            "required": {
                "lora_a": (folders.names("loras"), {"tooltip": "A .safetensors file in a loras folder."}),
                "lora_b": (folders.names("loras"), {"tooltip": "Another one, of the same base."}),
                "weight": ("FLOAT", {"default": 0.5, **WEIGHT, "tooltip": tooltip}),
                "name": ("STRING", {"default": "merged", "tooltip": "The file's name, without folder and ending."}),
                "dtype": ([AS_FILES, *DTYPES], {"tooltip": "As the files: the least that holds both exactly."}),
                "overwrite": ("BOOLEAN", {"default": False, "tooltip": "Off: a file of that name is an error."}),
            },
            "optional": {
                "file_a": ("STRING", {"forceInput": True, "tooltip": "The lora_name of FewStep Distill, for lora_a."}),
                "file_b": ("STRING", {"forceInput": True, "tooltip": "The same, instead of lora_b."}),
            },
        }

    def merge(self, lora_a, lora_b, weight, name, dtype, overwrite, file_a="", file_b=""):
        node, pair, weights = "FewStepInterpolateLoraFiles", (file_a or lora_a, file_b or lora_b), (weight, 1 - weight)
        title = plain_name(name, f"{node}: name")
        extra = sampling_of(
            (settings_of(found, loras.metadata(found, node), node), w) for found, w in zip(pair, weights)
        )
        listed, modules = merging.interpolate_lora_files(
            *pair, weight, title, DTYPES.get(dtype), overwrite, extra, node
        )
        kinds = ", ".join(sorted({str(module.dtype).removeprefix("torch.") for module in modules}))
        lines = ["lambda A + (1 - lambda) B", *(f"{w:g} x {found}" for found, w in zip(pair, weights))]
        return listed, "\n".join([*lines, counted(modules), f"exact, written in {kinds}"])


NODES = (FewStepInterpolateLoras, FewStepCombineLoras, FewStepSaveLora, FewStepInterpolateLoraFiles)
