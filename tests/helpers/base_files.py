"""LoRA files of zeros with the keys and sizes of every base, in the forms that are published."""

import torch

RANK = 2


def unet(modules: dict[str, tuple]) -> dict:
    return pairs(modules, lambda module: "lora_unet_" + module.replace(".", "_"))


def pairs(modules: dict[str, tuple], name) -> dict[str, torch.Tensor]:
    """{module: (out, in) or (out, in, k, k)} as LoRA pairs of zeros."""
    file = {}
    for module, (out, *size) in modules.items():
        file[f"{name(module)}.lora_up.weight"] = torch.zeros(out, RANK, *(1 for _ in size[1:]))
        file[f"{name(module)}.lora_down.weight"] = torch.zeros(RANK, *size)
    return file


def peft(prefix: str, modules: dict[str, tuple]) -> dict:
    sides = {"lora_up": "lora_B", "lora_down": "lora_A"}
    file = pairs(modules, lambda module: prefix + module)
    return {key.replace(side, sides[side]): t for key, t in file.items() for side in sides if side in key}


def block(level: int, width: int, depth: int = 0) -> str:
    return f"down_blocks.{level}.attentions.0.transformer_blocks.{depth}"


SD15 = {f"{block(0, 320)}.attn2.to_k": (320, 768), "down_blocks.0.attentions.0.proj_in": (320, 320, 1, 1)}
SD2 = {f"{block(0, 320)}.attn2.to_k": (320, 1024), "down_blocks.0.attentions.0.proj_in": (320, 320)}
CUT = {f"{block(1, 640)}.attn1.to_q": (640, 640), "down_blocks.1.attentions.0.proj_in": (640, 640)}
XL_TEXT = {f"{block(1, 640)}.attn2.to_k": (640, 2048)}
SDXL = {**CUT, f"{block(2, 1280, 9)}.attn1.to_q": (1280, 1280), "mid_block.attentions.0.proj_in": (1280, 1280)}
SSD = {**CUT, f"{block(2, 1280, 3)}.attn1.to_q": (1280, 1280)}
VEGA = {**CUT, f"{block(2, 1280, 1)}.attn1.to_q": (1280, 1280)}
JOINT = {f"transformer_blocks.0.attn.{part}": (1536, 1536) for part in ("to_q", "to_out.0", "add_k_proj")}
WIDE = {module: (3072, 3072) for module in JOINT}
LTX = {f"transformer_blocks.0.{attention}.to_q": (4096, 4096) for attention in ("attn1", "attn2")}
WAN = {"blocks.0.self_attn.q": (5120, 5120), "blocks.0.ffn.0": (13824, 5120)}
FILES = {
    "SD1.5": [unet(SD15), unet({k: v for k, v in SD15.items() if "attn2" not in k})],
    "SD2.x": [unet(SD2), unet({k: v for k, v in SD2.items() if "attn2" not in k}), peft("unet.", SD2)],
    "SDXL": [
        unet({**SDXL, **XL_TEXT}),
        unet(SDXL),
        peft("base_model.model.", SDXL),
        unet({"input_blocks.4.1.transformer_blocks.0.attn1.to_q": (640, 640)}),
        unet({"up_blocks.0.attentions.1.transformer_blocks.9.attn2.to_v": (1280, 2048)}),
    ],
    "SSD-1B": [unet({**SSD, **XL_TEXT}), unet(SSD)],
    "Segmind Vega": [unet({**VEGA, **XL_TEXT})],
    "SD3": [
        peft("transformer.", JOINT),
        peft("base_model.model.", JOINT),
        peft("", {"joint_blocks.0.x_block.attn.qkv": (4608, 1536)}),
    ],
    "Flux": [
        peft("transformer.", WIDE),
        peft("transformer.", {"single_transformer_blocks.0.attn.to_q": (3072, 3072)}),
        unet({"double_blocks.18.img_attn.qkv": (9216, 3072)}),
        peft("diffusion_model.", {"single_blocks.0.linear1": (21504, 3072)}),
    ],
    "FLUX.2": [
        unet({"double_blocks.0.img_attn.qkv": (9216, 3072), "single_blocks.0.linear1": (27648, 3072)}),
        peft("diffusion_model.", {"double_blocks.4.img_mlp.0": (24576, 4096)}),
        peft("transformer.", {"single_transformer_blocks.0.attn.to_qkv_mlp_proj": (27648, 3072)}),
    ],
    "Z-Image": [
        unet({"layers.0.attention.qkv": (11520, 3840)}),
        peft("diffusion_model.", {"layers.29.attention.to_q": (3840, 3840)}),
    ],
    "Wan 2.2 5B": [peft("diffusion_model.", {"blocks.0.self_attn.q": (3072, 3072)})],
    "Anima": [unet({"blocks.0.self_attn.q_proj": (2048, 2048)}), unet({"blocks.27.mlp.layer1": (8192, 2048)})],
    "Wan": [
        peft("diffusion_model.", WAN),
        unet(WAN),
        peft("", {"blocks.0.cross_attn.k_img": (5120, 5120)}),
    ],
    "Qwen-Image": [
        pairs({"transformer_blocks.0.img_mlp.net.0.proj": (12288, 3072)}, str),
        pairs({"transformer_blocks.41.attn.add_k_proj": (3072, 3072)}, str),
    ],
    "LTX-Video": [peft("transformer.", LTX), peft("diffusion_model.", LTX)],
    "LTX-2": [peft("diffusion_model.", {**LTX, "transformer_blocks.0.audio_attn1.to_q": (2048, 2048)})],
}
UNTOLD = [
    {},
    unet({"down_blocks.0.attentions.0.proj_in": (48, 48)}),
    unet({"conv_in": (320, 4, 3, 3)}),
    peft("", {"layers.0.attention.q": (8, 8)}),
    unet({"double_blocks.0.img_attn.qkv": (9216, 3072)}),  # Flux or FLUX.2
    unet({"blocks.0.self_attn.q": (64, 64)}),  # a Wan of no published width
    unet({**CUT, f"{block(2, 1280, 4)}.attn2.to_k": (1280, 2048)}),  # KOALA
]
