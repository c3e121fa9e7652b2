"""Kohya files of two modules, and their deltas by definition."""

import torch
from fewstep.weights import keys

SHAPES = {"lora_unet_a_to_q": (16, 12, None), "lora_unet_b_conv1": (8, 6, 3)}


def lora(rank: int, seed: int, alpha: float | None = None, modules=SHAPES, dtype=torch.float32) -> dict:
    """A kohya file of one Linear and one 3x3 convolution."""
    g = torch.Generator().manual_seed(seed)
    file = {}
    for name, (out, inside, size) in modules.items():
        kernel = () if size is None else (size, size)
        file[f"{name}.lora_down.weight"] = torch.randn(rank, inside, *kernel, generator=g).to(dtype)
        file[f"{name}.lora_up.weight"] = torch.randn(out, rank, *([1] * len(kernel)), generator=g).to(dtype)
        if alpha is not None:
            file[f"{name}.alpha"] = torch.tensor(alpha)
    return file


def dense(file: dict) -> dict[str, torch.Tensor]:
    """The deltas by their definition, independent of merge.py: alpha / r up @ down."""
    found = {}
    for name in keys.modules_of(file):
        up, down = file[f"{name}.lora_up.weight"].float(), file[f"{name}.lora_down.weight"].float()
        scale = float(file[f"{name}.alpha"]) / len(down) if f"{name}.alpha" in file else 1.0
        found[name] = scale * torch.einsum("or,ri->oi", up.flatten(1), down.flatten(1))
    return found
