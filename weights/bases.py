"""Which base a LoRA was made for, told from its tensors: names of blocks, widths, how deep its transformers are.

U-Nets: the text context's width (768 SD1.5, 1024 SD2.x, 2048 SDXL), else the layout: SD1.5 and SD2.x have attention
from the first block on, SDXL from the second. SSD-1B is SDXL with 4 in place of 10 transformer blocks at the lowest
level and none in the middle; Segmind Vega has 2. Transformers are told by the names of their blocks. Depths and widths
are those of the host's classes and of the published diffusers configurations.
"""

import re

from torch import Tensor

from . import blocks

TINY = "the tiny base"
BY_CONTEXT = {64: TINY, 768: "SD1.5", 1024: "SD2.x", 1280: "the SDXL refiner", 2048: "SDXL"}
OF_SDXLS_WIDTH = ("SDXL", "SSD-1B", "Segmind Vega", "KOALA")  # their LoRAs fit each other's weights
CUT = {1: "Segmind Vega", 3: "SSD-1B"}  # by the last transformer block of the lowest level, SDXL's being 9
WIDTHS = (320, 640, 1280)  # of every published U-Net
LEVEL = re.compile(r"^(?:down|up)_blocks_3_|^down_blocks_0_attentions_")  # only where there are four levels
LOWEST = re.compile(r"^(?:down_blocks_2_attentions_\d|up_blocks_0_attentions_[01])_transformer_blocks_(\d+)_")

PREFIX = re.compile(
    r"^(?:base_model\.model\.|model\.diffusion_model\.|diffusion_model\.|transformer\.|unet\.)+"
    r"|^(?:lora_unet_+|lora_transformer_|lycoris_)"
)
JOINT = re.compile(
    r"^transformer_blocks_(\d+)_(?:attn_(?:add_[qkv]_proj|to_add_out)|ff_context_\w+|norm1_context_\w+)$"
)
BY_NAME = (
    ("SD3", re.compile(r"^joint_blocks_\d")),
    ("Qwen-Image", re.compile(r"^transformer_blocks_\d+_(?:img|txt)_(?:mlp|mod)_")),
    ("Flux", re.compile(r"^(?:single_transformer_blocks|double_blocks|single_blocks)_\d")),
    ("Wan", re.compile(r"^blocks_\d+_(?:(?:self|cross)_attn_(?:q|k|v|o|k_img|v_img)|ffn_[02]|ffn_net_\w+)$")),
    (
        "Z-Image",
        re.compile(
            r"^(?:layers|(?:noise|context)_refiner)_\d+_(?:attention_(?:qkv|to_[qkv]|(?:to_)?out)|feed_forward_w\d)"
        ),
    ),
    ("Anima", re.compile(r"^blocks_\d+_(?:mlp_layer[12]|adaln_modulation_\w+|(?:self|cross)_attn_\w+_proj)$")),
    ("LTX-2", re.compile(r"^transformer_blocks_\d+_(?:audio_|video_to_audio_)")),
)
FLUX2 = re.compile(r"^single_transformer_blocks_\d+_attn_to_(?:qkv_mlp_proj|out)$")
FEED_FORWARD = re.compile(r"_(?:linear1|mlp_0|ff_net_0_proj|ff_context_net_0_proj|ff_linear_in|ff_context_linear_in)$")
DOUBLE = re.compile(r"^double_blocks_(\d+)_(?:img|txt)_attn_")
BLOCK = re.compile(r"^blocks_\d+_(?:self_attn_[qkvo]|cross_attn_[qo]|ffn_0)$")
LTX = re.compile(r"^transformer_blocks_\d+_attn[12]_to_[qkv]$")
LTX_WIDTHS = (2048, 4096)  # 2B; 13B


def plain(module: str) -> str:
    """A module's name without its format's prefix and with underscores, so that names of any format compare."""
    return PREFIX.sub("", module).replace(".", "_")


def aliases(known: dict) -> dict[str, str]:
    """{plain name: the host's name} of a host's map; left out where it means different weights in different formats."""
    targets: dict[str, set] = {}
    names: dict[str, str] = {}
    for name, target in known.items():
        targets.setdefault(plain(name), set()).add(str(target))
        names.setdefault(plain(name), name)
    return {alias: name for alias, name in names.items() if len(targets[alias]) == 1}


def base_of(tensors: dict[str, Tensor]) -> str | None:
    """The base of a LoRA (keys in kohya's form): "SD1.5", "SDXL", "SD3", "Wan", ...; None where nothing tells."""
    downs = {key.rpartition(".lora_down.")[0]: t for key, t in tensors.items() if key.endswith(".lora_down.weight")}
    widths = {plain(module): tensor.shape[1] for module, tensor in downs.items() if tensor.ndim > 1}
    base = of_transformer(widths) or of_unet(tensors, widths)
    return of_flux(tensors, widths) if base == "Flux" else of_wan(widths) if base == "Wan" else base


def of_flux(tensors: dict[str, Tensor], widths: dict[str, int]) -> str | None:
    """FLUX.2's gated feed-forwards are wider: 6 widths against 4, behind q, k and v in single blocks 9 against 7. The
    attention of the first 8 double blocks, which is all that a FLUX.2 has, tells nothing."""
    if any(map(FLUX2.match, widths)):
        return "FLUX.2"
    ups = {key.rpartition(".lora_up.")[0]: t.shape[0] for key, t in tensors.items() if key.endswith(".lora_up.weight")}
    growth = {plain(module): out / widths[plain(module)] for module, out in ups.items() if plain(module) in widths}
    if any(FEED_FORWARD.search(module) and times in (6, 9) for module, times in growth.items()):
        return "FLUX.2"
    blocks_apart = [int(match[1]) for match in map(DOUBLE.match, widths) if match]
    return None if len(blocks_apart) == len(widths) and max(blocks_apart) < 8 else "Flux"


def of_wan(widths: dict[str, int]) -> str | None:
    """Wan 2.2 5B is 3072 wide, Wan's 14B 5120 and its 1.3B 1536; None for other widths."""
    found = {width for module, width in widths.items() if BLOCK.match(module)}
    return "Wan 2.2 5B" if 3072 in found else "Wan" if found <= {1536, 5120} else None


def of_transformer(widths: dict[str, int]) -> str | None:
    for base, pattern in BY_NAME:
        if any(map(pattern.match, widths)):
            return base
    joint = {int(match[1]): widths[match[0]] for match in map(JOINT.match, widths) if match}
    if joint:  # Flux and Qwen-Image share a width; of the two only Qwen-Image has more than 19 such blocks
        return "SD3" if 3072 not in joint.values() else "Flux" if max(joint) < 19 else "Qwen-Image"
    return "LTX-Video" if any(LTX.match(m) and width in LTX_WIDTHS for m, width in widths.items()) else None


def of_unet(tensors: dict[str, Tensor], widths: dict[str, int]) -> str | None:
    layers = blocks.layers_of(widths)
    modules = {blocks.diffusers_name(module, layers): width for module, width in widths.items()}
    context = next((width for m, width in modules.items() if m.endswith(("attn2_to_k", "attn2_to_v"))), None)
    base = BY_CONTEXT.get(context) or by_layout(tensors, modules)
    return by_depth(modules) if base == "SDXL" else base


def by_layout(tensors: dict[str, Tensor], modules: dict[str, int]) -> str | None:
    """SD1.5, SD2.x or SDXL from where their attention lies; for files with the widths of published U-Nets alone."""
    if not any(key.endswith(".lora_up.weight") and t.shape[0] in WIDTHS for key, t in tensors.items()):
        return None
    if any(map(LEVEL.match, modules)):
        kernels = [t.ndim for key, t in tensors.items() if key.endswith("proj_in.lora_down.weight")]
        return None if not kernels else "SD1.5" if kernels[0] == 4 else "SD2.x"
    return "SDXL" if any(re.match(r"down_blocks_[12]_attentions_", module) for module in modules) else None


def by_depth(modules: dict[str, int]) -> str | None:
    """SDXL itself, or one of the models cut from it; None for KOALA's depths of 5 and 6."""
    deepest = max((int(match[1]) for match in map(LOWEST.match, modules) if match), default=9)
    if deepest in CUT and not any(module.startswith("mid_block_attentions_") for module in modules):
        return CUT[deepest]
    return None if deepest in (4, 5) else "SDXL"


def refuse_other_base(theirs: str | None, ours: str | None, allow_partial: bool) -> None:
    """Raise ValueError where both are known and differ; models cut from SDXL may be tried with allow_partial."""
    related = theirs in OF_SDXLS_WIDTH and ours in OF_SDXLS_WIDTH
    if theirs is None or ours is None or theirs == ours or (related and allow_partial):
        return
    hint = " allow_partial loads what fits." if related else ""
    raise ValueError(
        f"holds {theirs} weights but the model is {ours}. Load a checkpoint of {theirs}, or another LoRA.{hint}"
    )
