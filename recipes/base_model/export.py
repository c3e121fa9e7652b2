"""Write one checkpoint in SD1's layout, fp16, with how it was made in its metadata."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .config import Recipe
from .networks import TinyModel

NOT_SD1 = ("first_stage_model.vae_shift",)  # newer hosts' TAESD has it; the host loads without
FULL = ("first_stage_model.vae_scale",)  # kept in fp32
DATA = "@lobehub/fluent-emoji-3d 1.1.0 (MIT); Noto Color Emoji (OFL 1.1); names: unicode-emoji-json 0.9.0 (MIT)"


def state_dict(model: TinyModel, vae: nn.Module) -> dict[str, Tensor]:
    """Return the tensors under SD1's names."""
    parts = {
        "model.diffusion_model.": model.unet,
        "cond_stage_model.transformer.": model.text,
        "first_stage_model.": vae,
    }
    named = {prefix + name: value for prefix, net in parts.items() for name, value in net.state_dict().items()}
    return {
        name: value.detach().cpu().to(torch.float32 if name in FULL else torch.float16).contiguous().clone()
        for name, value in named.items()
        if name not in NOT_SD1
    }


def save(model: TinyModel, vae: nn.Module, file: Path, recipe: Recipe, made: dict) -> None:
    """Save the checkpoint; `made` says what was measured on the way (steps, minutes, losses)."""
    metadata = {
        "modelspec.title": "FewStep tiny SD",
        "modelspec.architecture": "stable-diffusion-v1/fewstep-tiny",
        "modelspec.resolution": "96x96",
        "modelspec.license": "Apache-2.0",
        "fewstep.data": DATA,
        "fewstep.recipe": json.dumps(asdict(recipe)),
        "fewstep.made": json.dumps(made),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".tmp")
    save_file(state_dict(model, vae), part, metadata=metadata)
    part.chmod(0o644)  # safetensors writes files only their owner can read
    part.replace(file)
