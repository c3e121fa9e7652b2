"""LoRA files of SD3, Flux, Wan, Qwen-Image and LTX in every published form of keys."""

import torch

RANK = 4
SD3 = {  # diffusers' module: (the host's weight, which third of it); the names of Hyper-SD3's files
    "transformer_blocks.0.attn.to_q": ("joint_blocks.0.x_block.attn.qkv", 0),
    "transformer_blocks.0.attn.to_k": ("joint_blocks.0.x_block.attn.qkv", 1),
    "transformer_blocks.0.attn.to_v": ("joint_blocks.0.x_block.attn.qkv", 2),
    "transformer_blocks.0.attn.to_out.0": ("joint_blocks.0.x_block.attn.proj", None),
    "transformer_blocks.1.attn.add_q_proj": ("joint_blocks.1.context_block.attn.qkv", 0),
    "transformer_blocks.0.attn.add_k_proj": ("joint_blocks.0.context_block.attn.qkv", 1),
    "transformer_blocks.0.attn.add_v_proj": ("joint_blocks.0.context_block.attn.qkv", 2),
    "transformer_blocks.0.attn.to_add_out": ("joint_blocks.0.context_block.attn.proj", None),
    "transformer_blocks.1.ff.net.0.proj": ("joint_blocks.1.x_block.mlp.fc1", None),
    "transformer_blocks.0.ff_context.net.2": ("joint_blocks.0.context_block.mlp.fc2", None),
}
FLUX = {
    "transformer_blocks.0.attn.to_q": ("double_blocks.0.img_attn.qkv", 0),
    "transformer_blocks.1.attn.add_v_proj": ("double_blocks.1.txt_attn.qkv", 2),
    "transformer_blocks.0.attn.to_out.0": ("double_blocks.0.img_attn.proj", None),
    "transformer_blocks.0.attn.to_add_out": ("double_blocks.0.txt_attn.proj", None),
    "transformer_blocks.0.ff.net.0.proj": ("double_blocks.0.img_mlp.0", None),
    "transformer_blocks.0.ff_context.net.2": ("double_blocks.0.txt_mlp.2", None),
    "transformer_blocks.1.norm1.linear": ("double_blocks.1.img_mod.lin", None),
    "single_transformer_blocks.1.proj_out": ("single_blocks.1.linear2", None),
    "single_transformer_blocks.0.norm.linear": ("single_blocks.0.modulation.lin", None),
}
WAN = ["blocks.0.self_attn.q", "blocks.1.cross_attn.v", "blocks.0.ffn.0", "blocks.1.ffn.2", "text_embedding.0"]
QWEN = [
    "transformer_blocks.0.attn.to_q",
    "transformer_blocks.1.attn.add_k_proj",
    "transformer_blocks.0.attn.to_out.0",
    "transformer_blocks.0.img_mlp.net.0.proj",
    "transformer_blocks.1.txt_mlp.net.2",
    "transformer_blocks.0.img_mod.1",
]
LTX = ["transformer_blocks.0.attn1.to_q", "transformer_blocks.1.attn2.to_out.0", "transformer_blocks.0.ff.net.2"]
MODULES = {
    "SD3": SD3,
    "Flux": FLUX,
    "Wan": {module: (module, None) for module in WAN},
    "Qwen-Image": {module: (module, None) for module in QWEN},
    "LTX-Video": {module: (module, None) for module in LTX},
}
UP_DOWN, A_B = ("lora_up.weight", "lora_down.weight"), ("lora_B.weight", "lora_A.weight")
KOHYA = [("lora_unet_", "_", UP_DOWN)]
FORMS = {  # (prefix, separator, names of the sides); what each family is published in, and its neighbours
    "SD3": [("transformer.", ".", A_B), ("base_model.model.", ".", A_B), ("lora_transformer_", "_", UP_DOWN)],
    "Flux": [("transformer.", ".", A_B), ("", ".", A_B), ("base_model.model.", ".", A_B)],
    "Wan": [("diffusion_model.", ".", A_B), ("", ".", A_B), ("transformer.", ".", A_B), *KOHYA],
    "Qwen-Image": [("", ".", UP_DOWN), ("transformer.", ".", A_B), ("diffusion_model.", ".", A_B), *KOHYA],
    "LTX-Video": [("diffusion_model.", ".", A_B), ("transformer.", ".", A_B), *KOHYA],
}


def rows(weight: torch.Tensor, part: int | None) -> torch.Tensor:
    return weight if part is None else weight.chunk(3)[part]


def factors(weights: dict, modules: dict) -> dict[str, tuple]:
    """{module: (up, down)} of the sizes of a network's weights."""
    generator, found = torch.Generator().manual_seed(1), {}
    for module, (target, part) in modules.items():
        size = rows(weights[f"{target}.weight"], part).shape
        found[module] = (
            torch.randn(size[0], RANK, generator=generator) * 0.1,
            torch.randn(RANK, size[1], generator=generator) * 0.1,
        )
    return found


def file_of(deltas: dict, prefix: str, separator: str, sides: tuple, alpha: float | None = None) -> dict:
    file = {}
    for module, (up, down) in deltas.items():
        name = prefix + module.replace(".", separator)
        file[f"{name}.{sides[0]}"], file[f"{name}.{sides[1]}"] = up, down
        if alpha is not None:
            file[f"{name}.alpha"] = torch.tensor(alpha)
    return file
