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


@torch.no_grad()
def import_lora(
    tensors: dict[str, Tensor], parameters: dict[str, Tensor], names: dict[str, str], scale: float
) -> tuple[int, int]:
    """Put a file's deltas into an adapter of the same or a larger rank; export_lora turned around.

    scale: the adapter's own alpha / rank. Returns (modules found in the file, modules of the adapter); the others keep
    their start. Raises ValueError when the file's rank is larger than the adapter's, or a shape differs.
    """
    modules = [key.removesuffix(".lora_A.weight") for key in parameters if key.endswith(".lora_A.weight")]
    found = 0
    for module in modules:
        name = kohya_name(names[module])
        if f"{name}.lora_down.weight" not in tensors:
            continue
        down, up = tensors[f"{name}.lora_down.weight"].float(), tensors[f"{name}.lora_up.weight"].float()
        ours_down, ours_up = parameters[f"{module}.lora_A.weight"], parameters[f"{module}.lora_B.weight"]
        rank = down.shape[0]
        if rank > ours_down.shape[0] or down.shape[1:] != ours_down.shape[1:] or len(up) != len(ours_up):
            raise ValueError(
                f"{name} has {tuple(down.shape)} and {tuple(up.shape)}, the adapter {tuple(ours_down.shape)} and "
                f"{tuple(ours_up.shape)}. Take a rank of at least {rank}, and a LoRA of the same base."
            )
        alpha = float(tensors.get(f"{name}.alpha", torch.tensor(float(rank))))
        ours_up.zero_()
        ours_down[:rank] = down.to(ours_down)
        ours_up[:, :rank] = (up * (alpha / rank / scale)).to(ours_up)
        found += 1
    return found, len(modules)


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
