"""A random ControlNet for the tiny base: the U-Net's own encoder, and zero convolutions that are not zero."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

UNET = "model.diffusion_model."
HINT_CHANNELS = ((3, 16), (16, 16), (16, 32), (32, 32), (32, 96), (96, 96), (96, 256), (256, 64))


def write(checkpoint: Path, target: Path, strength: float = 0.3) -> None:
    """Save it in the layout of the original ControlNet files (`control_model.*`)."""
    weights = load_file(checkpoint)
    generator = torch.Generator().manual_seed(0)
    parts = ("input_blocks.", "middle_block.", "time_embed.")
    file = {k.replace(UNET, "control_model."): v for k, v in weights.items() if k.removeprefix(UNET).startswith(parts)}

    def convolution(name: str, inside: int, outside: int, size: int, scale: float) -> None:
        shape = (outside, inside, size, size)
        file[f"control_model.{name}.weight"] = (torch.randn(shape, generator=generator) * scale).half()
        file[f"control_model.{name}.bias"] = torch.zeros(outside).half()

    blocks = 1 + max(int(k.split(".")[3]) for k in weights if k.startswith(f"{UNET}input_blocks."))
    for i in range(blocks):
        channels = 128 if i >= 3 and f"{UNET}input_blocks.{i}.0.out_layers.3.weight" in weights else 64
        convolution(f"zero_convs.{i}.0", channels, channels, 1, strength / channels**0.5)
    convolution("middle_block_out.0", 128, 128, 1, strength / 128**0.5)
    for i, (inside, outside) in enumerate(HINT_CHANNELS):
        convolution(f"input_hint_block.{2 * i}", inside, outside, 3, (2 / (9 * inside)) ** 0.5)
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor.contiguous() for key, tensor in file.items()}, target)
