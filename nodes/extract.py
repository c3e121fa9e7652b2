"""A LoRA out of a whole few-step model and its base."""

from dataclasses import replace

import torch

from ..host.loading import models
from ..host.loading.extracting import extract_lora
from ..host.names import plain_name
from ..weights import families
from ..weights.families import models as published
from .load_model import NAMES, settings_of
from .wrapper import about

NODE = "FewStepExtractLora"
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


class FewStepExtractLora:
    TITLE = "FewStep Extract LoRA"
    DESCRIPTION = (
        "A whole few-step model minus its base as a LoRA, by SVD to a rank, from file to file, quantised ones too. The "
        "LoRA carries the model's sampler, sigmas and cfg: FewStep Load LoRA knows it, and FewStep Distill can start "
        "from it."
    )
    SEARCH_ALIASES = ["extract lora", "turbo as lora", "svd", "distilled lora", "model difference"]
    CATEGORY = "FewStep/merging"
    FUNCTION = "extract"
    OUTPUT_NODE = True
    WRITES_MODELS = True
    RETURN_TYPES = ("STRING", "STRING")
    RETURN_NAMES = ("lora_name", "report")
    OUTPUT_TOOLTIPS = (
        "The LoRA's file, for FewStep Load LoRA or start_file of FewStep Distill.",
        "Modules, rank, relative error, and what was left out.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        rank = "Of each layer's pair. 64 suits most; the report says the error, which falls as the rank grows."
        return {
            "required": {
                "few_step_model": (models.names(), {"tooltip": "A .safetensors few-step model, also fp8 or int8."}),
                "base_model": (models.names(), {"tooltip": "The model it was distilled from, in the same packaging."}),
                "rank": ("INT", {"default": 64, "min": 1, "max": 1024, "tooltip": rank}),
                "dtype": (list(DTYPES), {"tooltip": "Of the file. fp16 loses nothing that the rank has kept."}),
                "name": ("STRING", {"default": "speed", "tooltip": "The file's name, without folder and ending."}),
                "overwrite": ("BOOLEAN", {"default": False, "tooltip": "Off: a file of that name is an error."}),
                "family": (NAMES, {"default": families.AUTO, "tooltip": "auto: by the few-step model's name."}),
                "steps": (
                    "INT",
                    {"default": 4, "min": 1, "max": 50, "tooltip": "For a family made for several numbers of steps."},
                ),
            }
        }

    def extract(self, few_step_model, base_model, rank, dtype, name, overwrite, family, steps):
        title = plain_name(name, "name")
        with about(few_step_model):
            settings = checked(few_step_model, models.read(few_step_model), family, steps)
        chosen = rank, DTYPES[dtype], replace(settings, strength=1.0)
        listed, made = extract_lora(few_step_model, base_model, *chosen, title, overwrite, NODE)
        return listed, report(listed, settings, made, rank)


def checked(name: str, header: models.Header, family: str, steps: int) -> families.Settings:
    """The model's settings, where a LoRA can have them."""
    settings = settings_of(name, header, family, steps)
    if header.projection is not None:
        raise ValueError("has a guidance embedding, which no LoRA can hold. Load it with FewStep Load Model.")
    if settings.family in published.PREDICTS_X0:
        raise ValueError("predicts x0, which no LoRA makes its base do. Load it with FewStep Load Model.")
    return settings


def report(listed: str, settings: families.Settings, made, rank: int) -> str:
    left = ", ".join(made.left_out[:3]) + (" ..." if len(made.left_out) > 3 else "")
    return "\n".join(
        [
            f"{listed}: {settings.family} as a LoRA of rank {rank}",
            f"{len(made.modules)} modules, {made.alike} alike in both files",
            f"relative error {made.error:.4f}: {100 * (1 - made.error**2):.1f} % of the squared difference is kept",
            *([f"{len(made.left_out)} vectors differ and are left out ({left})"] if made.left_out else []),
            f"sampler {settings.sampler}, best at {settings.best_steps} steps, cfg {settings.cfg:g}, strength 1",
        ]
    )


NODES = (FewStepExtractLora,)
