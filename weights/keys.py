"""LoRA key formats. Every file is brought to kohya's names of the diffusers blocks, which every reader knows:

lora_unet_<module with underscores>.lora_down.weight  [r, in]   (peft's lora_A)
lora_unet_<module with underscores>.lora_up.weight    [out, r]  (peft's lora_B)
lora_unet_<module with underscores>.alpha             []        delta = alpha / r * up @ down
"""

import re

import torch
from torch import Tensor

PREFIX = "lora_unet_"
PEFT_PREFIXES = ("base_model.model.unet.", "base_model.model.", "unet.")
PEFT_KEY = re.compile(r"^(?P<module>.+)\.lora_(?P<side>[AB])(\.\w+)?\.weight$")
SIDES = {"A": "lora_down", "B": "lora_up"}


def kohya_name(module: str) -> str:
    """down_blocks.0.attentions.0.proj_in -> lora_unet_down_blocks_0_attentions_0_proj_in."""
    return PREFIX + module.replace(".", "_")


def export_lora(parameters: dict[str, Tensor], names: dict[str, str], alpha: float) -> dict[str, Tensor]:
    """An adapter {"<host module>.lora_A.weight": A, ...} as a file; names: {host module: diffusers module}."""
    file = {}
    for key, tensor in parameters.items():
        module, side, _ = key.rsplit(".", 2)
        name = kohya_name(names[module])
        file[f"{name}.{SIDES[side[-1]]}.weight"] = tensor.detach().float().cpu().clone()
        file[f"{name}.alpha"] = torch.tensor(float(alpha))
    return file


def to_kohya(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename PEFT and diffusers keys of a U-Net LoRA; kohya keys and everything unknown stay as they are."""
    renamed = {}
    for key, tensor in tensors.items():
        renamed[kohya_key(key)] = tensor
    return renamed


def kohya_key(key: str) -> str:
    """One key in kohya's form, or unchanged when it is none of the known forms."""
    match = PEFT_KEY.match(key)
    if match and key.startswith(PEFT_PREFIXES):
        module = strip_prefix(match["module"])
        return f"{kohya_name(module)}.{SIDES[match['side']]}.weight"
    return key


def strip_prefix(module: str) -> str:
    for prefix in PEFT_PREFIXES:
        if module.startswith(prefix):
            return module[len(prefix) :]
    return module


def modules_of(tensors: dict[str, Tensor]) -> dict[str, list[str]]:
    """{module: its keys}: the part before the first dot is the module in kohya's form."""
    grouped: dict[str, list[str]] = {}
    for key in tensors:
        grouped.setdefault(key.split(".")[0] if key.startswith("lora_") else key.rsplit(".", 2)[0], []).append(key)
    return grouped


def context_width(tensors: dict[str, Tensor]) -> int | None:
    """Width of the text context a kohya LoRA was made for: 768 SD1.5, 1024 SD2.x, 2048 SDXL; None when it has none."""
    for key, tensor in tensors.items():
        if "attn2_to_k" in key and key.endswith("lora_down.weight"):
            return tensor.shape[1]
    return None
