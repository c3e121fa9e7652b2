"""LoRA key formats. Every U-Net file is brought to kohya's names, which every reader knows:

lora_unet_<module with underscores>.lora_down.weight  [r, in]   (peft's lora_A)
lora_unet_<module with underscores>.lora_up.weight    [out, r]  (peft's lora_B)
lora_unet_<module with underscores>.alpha             []        delta = alpha / r * up @ down

Read: kohya; peft (`unet.`, raw `base_model.model.`, the host's `diffusion_model.`); old diffusers
(`.processor.to_q_lora.down`, `.lora.down`); text encoders (`lora_te*`, `text_encoder*.`). Modules of transformers (SD3,
Flux, Wan, Qwen) keep their names for the host's own map; only their sides are named as above.
"""

import re

import torch
from torch import Tensor

from . import blocks

PREFIX = "lora_unet_"
PREFIXES = ("base_model.model.unet.", "base_model.model.", "unet.", "diffusion_model.", "")
UNET = re.compile(
    r"^(down_blocks|up_blocks|mid_block|input_blocks|output_blocks|middle_block|time_embed|time_embedding|label_emb|"
    r"add_embedding|conv_in|conv_out|out)\.(?=\w)"
)
SINGLE = ("conv_in", "conv_out")  # the two modules whose whole name is one word
SIDE = re.compile(r"^(?P<module>.+?)[._]lora(?:_linear_layer)?[._](?P<side>A|B|up|down)(?:\.(?!weight)\w+)?\.weight$")
SIDES = {"A": "lora_down", "B": "lora_up", "down": "lora_down", "up": "lora_up"}
PART = re.compile(
    r"\.(lora_(up|down|mid)\.weight|alpha|dora_scale|diff|diff_b|w_norm|b_norm|(hada|lokr)_\w+|[ab][12]\.weight)$"
)
TEXT = re.compile(r"^(?:base_model\.model\.)?text_encoder(?P<number>_\d)?\.(?P<module>.+)$")


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
    """Rename the keys of any format read here; kohya keys and everything unknown stay as they are.

    Raises ValueError when two keys of the file name the same weight.
    """
    several = any(key.startswith(("text_encoder_2.", "lora_te1_", "lora_te2_")) for key in tensors)
    renamed, origin = {}, {}
    for key, tensor in tensors.items():
        name = kohya_key(key, several)
        if name in renamed:
            raise ValueError(f"{origin[name]} and {key} are the same weight ({name}). Keep one of the two.")
        renamed[name], origin[name] = tensor, key
    return renamed


def kohya_key(key: str, several_encoders: bool = False) -> str:
    """One key in kohya's form, or unchanged when it is none of the known forms.

    several_encoders: the file is for a base with more than one text encoder (SDXL), which numbers them from 1.
    """
    if key.startswith("lora_"):
        return key
    if match := SIDE.match(key):
        module, end = match["module"], f"{SIDES[match['side']]}.weight"
    elif part := PART.search(key):
        module, end = key[: part.start()], part[1]
    else:
        return key
    return f"{kohya_module(plain(module), several_encoders)}.{end}"


def plain(module: str) -> str:
    """Old diffusers kept an attention's LoRA in its processor: attn1.processor.to_out -> attn1.to_out.0."""
    module = module.replace(".processor.", ".")
    return f"{module}.0" if module.endswith(".to_out") else module


def kohya_module(module: str, several_encoders: bool = False) -> str:
    """The module's name in kohya's form; a transformer's (not a U-Net's) stays with its dots."""
    text = TEXT.match(module)
    if text:
        number = (text["number"] or "_1")[1:] if several_encoders or text["number"] else ""
        return f"lora_te{number}_{text['module'].replace('.', '_')}"
    for prefix in PREFIXES:
        rest = module.removeprefix(prefix)
        if module.startswith(prefix) and (UNET.match(rest) or rest in SINGLE):
            return kohya_name(rest)
    raw = "base_model.model."
    return f"diffusion_model.{module.removeprefix(raw)}" if module.startswith(raw) else module


def to_diffusers_blocks(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Kohya keys of ldm's blocks (lora_unet_input_blocks_4_1_...) under diffusers' names, so that files can be merged.

    Loading needs no such step: the host knows both.
    """
    layers = blocks.layers_of(tensors)
    return {diffusers_key(key, layers): tensor for key, tensor in tensors.items()}


def diffusers_key(key: str, layers: int = blocks.LAYERS) -> str:
    module, dot, end = key.partition(".")
    if not module.startswith(PREFIX):
        return key
    return PREFIX + blocks.diffusers_name(module.removeprefix(PREFIX), layers) + dot + end


def modules_of(tensors: dict[str, Tensor]) -> dict[str, list[str]]:
    """{module: its keys}: a key without the part it holds (lora_up.weight, alpha, ...)."""
    grouped: dict[str, list[str]] = {}
    for key in tensors:
        part = PART.search(key)
        plain_name = key.split(".")[0] if key.startswith("lora_") else key.rsplit(".", 2)[0]
        grouped.setdefault(key[: part.start()] if part else plain_name, []).append(key)
    return grouped
