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
from .widgets import NAME, OVERWRITE, choice, link, number, socket, whole

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
AS_FILES = "as the files"
RANK = whole(4096, "0: exact, the ranks add up. Else: compressed to it by SVD, the error in the report.", 0, default=0)
WEIGHT = (-10.0, 10.0, 0.01)
LAMBDA = number(WEIGHT, "lambda: 1 is A, 0 is B, 0.5 halfway; below 0 and above 1 goes on beyond them.", default=0.5)
LORA_A = "A .safetensors file in a loras folder. Ranks, alphas, precisions and key formats may differ."
FILES = {
    "file_a": link("A name from FewStep Distill, instead of lora_a."),
    "file_b": link("A name from FewStep Distill, instead of lora_b."),
}
MERGED = (
    "For FewStep Save LoRA or the stock loader.",
    "What it is made of, for FewStep Save LoRA.",
    "The merge in words.",
)


@dataclass(frozen=True)
class Parent:
    """A LoRA that is merged: read and hashed once, however often it is weighted."""

    name: str
    deltas: dict[str, merge.Delta]
    settings: families.Settings | None
    sha256: str


def parent(name: str, node: str) -> Parent:
    tensors, metadata = loras.read(name, node)
    return Parent(name, merge.deltas(tensors, name), settings_of(name, metadata), loras.sha256(name))


def summed(parts: list[tuple[Parent, float]], rank: int) -> tuple[dict[str, merge.Delta], float]:
    """sum_i w_i LoRA_i, and the relative error of its compression to `rank` (0: exact)."""
    found = merge.weighted_sum([(source.deltas, weight) for source, weight in parts])
    return merge.compress_all(found, rank) if rank else (found, 0.0)


def weighted(node: str, parts: list[tuple[str, float]], rank: int, formula: str) -> tuple[dict, str, str]:
    """(tensors, recipe as JSON, report) of sum_i w_i LoRA_i. The first few-step file's settings go into the recipe."""
    loaded = [(parent(name, node), weight) for name, weight in parts]
    merged, error = summed(loaded, rank)
    parents = [{"name": source.name, "weight": weight, "sha256": source.sha256} for source, weight in loaded]
    recipe = {"recipe": {"formula": formula, "parents": parents, "relative_error": error}}
    recipe |= sampling_of((source.settings, weight) for source, weight in loaded)
    return merge.to_file(merged), json.dumps(recipe), report(formula, parts, merged, rank, error)


def sampling_of(known: Iterable[tuple[families.Settings | None, float]]) -> dict:
    """{"sampling": the first known settings among the files that count}, or nothing."""
    settings = next((found for found, weight in known if found and weight), None)
    return {"sampling": families.as_dict(settings)} if settings else {}


def report(formula: str, parts: list, merged: dict, rank: int, error: float) -> str:
    lines = [formula, *(f"{weight:g} x {name}" for name, weight in parts), counted(merged.values())]
    lines.append(f"relative error of the compression: {error:.2e}" if rank else "exact")
    return "\n".join(lines)


def counted(modules: Iterable) -> str:
    ranks = [module.rank for module in modules]
    return f"{len(ranks)} modules of rank {min(ranks)}-{max(ranks)}" if ranks else "nothing: every weight is 0"


def parsed(recipe: str) -> dict:
    """A recipe of the merging nodes; nothing connected is an empty one."""
    try:
        found = plain_json.parse(recipe) if recipe else {}
        require(isinstance(found, dict), "it is no object")
        return found
    except ValueError as error:
        raise ValueError("recipe is not JSON. Connect the recipe output of a merging node.") from error


def cast(lora: dict, dtype: torch.dtype) -> dict:
    """Its weights in another precision. alpha stays fp32: bf16 rounds an odd rank above 256, and so the scale."""
    return {k: t if k.endswith(".alpha") else stream_models.cast(t, dtype, k) for k, t in lora.items()}


class FewStepInterpolateLoras:
    TITLE = "FewStep Interpolate LoRAs"
    DESCRIPTION = (
        "lambda A + (1 - lambda) B of two LoRAs of one base, between them or beyond: any ranks, exact. "
        "SwiftBrush v2 merges its two students this way, with lambda 0.5."
    )
    SEARCH_ALIASES = ["merge lora", "lora merge", "interpolate", "swiftbrush", "blend loras"]
    CATEGORY = "FewStep/merging"
    FUNCTION = "merge"
    RETURN_TYPES = ("LORA_MODEL", "STRING", "STRING")
    RETURN_NAMES = ("lora", "recipe", "report")
    OUTPUT_TOOLTIPS = MERGED

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "lora_a": choice(LORA_A, folders.names("loras")),
                "lora_b": choice("Another one, of the same base.", folders.names("loras")),
                "weight": LAMBDA,
                "rank": RANK,
            },
            "optional": FILES,
        }

    def merge(self, lora_a, lora_b, weight, rank, file_a="", file_b=""):
        lora_a, lora_b = file_a or lora_a, file_b or lora_b
        return weighted(
            "FewStepInterpolateLoras", [(lora_a, weight), (lora_b, 1 - weight)], rank, "lambda A + (1 - lambda) B"
        )


class FewStepCombineLoras:
    TITLE = "FewStep Combine LoRAs"
    DESCRIPTION = "A few-step LoRA and a style LoRA as one file: the weighted sum of their deltas (LCM-LoRA, eq. 2-3)."
    SEARCH_ALIASES = ["merge lora", "lora merge", "add loras", "lcm-lora", "style lora"]
    CATEGORY = "FewStep/merging"
    FUNCTION = "merge"
    RETURN_TYPES = ("LORA_MODEL", "STRING", "STRING")
    RETURN_NAMES = ("lora", "recipe", "report")
    OUTPUT_TOOLTIPS = MERGED

    @classmethod
    def INPUT_TYPES(cls):
        few = "LCM-LoRA, Hyper-SD, one of ours, ...: a .safetensors file in a loras folder."
        style = "The paper's 0.8; less when the image breaks up, more for more style."
        return {
            "required": {
                "few_step_lora": choice(few, folders.names("loras")),
                "style_lora": choice("Any plain LoRA of the same base.", folders.names("loras")),
                "few_step_weight": number(WEIGHT, "1 is as made; far from it the steps no longer fit.", default=1.0),
                "style_weight": number(WEIGHT, style, default=0.8),
                "rank": RANK,
            }
        }

    def merge(self, few_step_lora, style_lora, few_step_weight, style_weight, rank):
        parts = [(few_step_lora, few_step_weight), (style_lora, style_weight)]
        return weighted("FewStepCombineLoras", parts, rank, "w1 few-step + w2 style")


class FewStepSaveLora:
    TITLE = "FewStep Save LoRA"
    DESCRIPTION = "Writes a LoRA under loras/fewstep/, with its recipe, and gives the name that the loaders list it by."
    SEARCH_ALIASES = ["save lora", "merge lora"]
    CATEGORY = "FewStep/merging"
    FUNCTION = "save"
    OUTPUT_NODE = True
    WRITES_MODELS = True
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("lora_name",)
    OUTPUT_TOOLTIPS = ("The name that the loaders list it by.",)

    @classmethod
    def INPUT_TYPES(cls):
        kinds = "Of the file. fp32 keeps the merge exact; fp16 and bf16 halve the file and round."
        return {
            "required": {
                "lora": socket("LORA_MODEL", "From the merging nodes or FewStep Distill."),
                "name": NAME,
                "dtype": choice(kinds, list(DTYPES), default="fp32"),
                "overwrite": OVERWRITE,
            },
            "optional": {"recipe": link("Of the merging node; kept in the file's metadata.")},
        }

    def save(self, lora, name, dtype, overwrite, recipe=""):
        title = plain_name(name, "name")
        require(
            bool(lora),
            "lora holds no weights. A whole student is a file already, and a merge needs a weight that is not 0.",
        )
        listed, path = saving.new_file("loras", title, overwrite, "FewStepSaveLora")
        tensors = cast(lora, DTYPES[dtype])
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
    SEARCH_ALIASES = ["merge lora", "lora merge", "interpolate", "large lora"]
    CATEGORY = "FewStep/merging"
    FUNCTION = "merge"
    OUTPUT_NODE = True
    WRITES_MODELS = True
    RETURN_TYPES = ("STRING", "STRING")
    RETURN_NAMES = ("lora_name", "report")
    OUTPUT_TOOLTIPS = (
        "The name that the loaders list it by.",
        "The merge in words.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        kinds = "Of the factors. As the files: the least that holds both exactly (fp16 with bf16: fp32; fp8: fp16)."
        return {
            "required": {
                "lora_a": choice(LORA_A, folders.names("loras")),
                "lora_b": choice("Another one, of the same base.", folders.names("loras")),
                "weight": LAMBDA,
                "name": NAME,
                "dtype": choice(kinds, [AS_FILES, *DTYPES], default=AS_FILES),
                "overwrite": OVERWRITE,
            },
            "optional": FILES,
        }

    def merge(self, lora_a, lora_b, weight, name, dtype, overwrite, file_a="", file_b=""):
        node, pair, weights = "FewStepInterpolateLoraFiles", (file_a or lora_a, file_b or lora_b), (weight, 1 - weight)
        title = plain_name(name, "name")
        extra = sampling_of((settings_of(found, loras.metadata(found, node)), w) for found, w in zip(pair, weights))
        listed, modules = merging.interpolate_lora_files(
            *pair, weight, title, DTYPES.get(dtype), overwrite, extra, node
        )
        kinds = ", ".join(sorted({str(module.dtype).removeprefix("torch.") for module in modules}))
        lines = ["lambda A + (1 - lambda) B", *(f"{w:g} x {found}" for found, w in zip(pair, weights))]
        return listed, "\n".join([*lines, counted(modules), f"exact, written in {kinds}"])


NODES = (FewStepInterpolateLoras, FewStepCombineLoras, FewStepSaveLora, FewStepInterpolateLoraFiles)
