"""MODELs of SD1.5's and SDXL's size with random weights, or of their layout in small, where CUDA is or on the CPU."""

from dataclasses import dataclass

import torch
from fewstep.benchmarks.sdxl import CONFIG as SDXL

SD15 = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320, "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4], "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0], "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], "use_spatial_transformer": True, "legacy": False,
    "use_linear_in_transformer": False, "context_dim": 768, "num_heads": 8, "num_head_channels": -1,
    "adm_in_channels": None, "use_temporal_attention": False, "dtype": torch.float32,
}  # fmt: skip
SMALL = {"model_channels": 32}  # for trying it out


@dataclass(frozen=True)
class Size:
    """config: of the host's U-Net; side: of its pictures in pixels; width, pooled: of its text."""

    config: dict
    side: int
    width: int
    pooled: int
    family: str


SIZES = {
    "SD1.5": Size(SD15, 512, 768, 768, "SD15"),
    "SDXL": Size(SDXL, 1024, 2048, 1280, "SDXL"),
}


class Text:
    """A text encoder of a family's output sizes; what it says is random."""

    def __init__(self, size: Size):
        self.size = size

    def tokenize(self, text: str) -> str:
        return text

    def encode_from_tokens(self, tokens: str, return_pooled: bool = True):
        generator = torch.Generator().manual_seed(len(tokens))
        hidden = torch.randn(1, 77, self.size.width, generator=generator)
        return hidden, torch.randn(1, self.size.pooled, generator=generator)


def model(size: Size, dtype: torch.dtype, small: bool = False):
    """A MODEL as the host keeps it: its weights in main memory, from one block of random numbers, until it is used."""
    import comfy.supported_models as supported
    from comfy import model_management
    from comfy.model_patcher import ModelPatcher
    from torch import nn

    noise = (0.02 * torch.randn(1 << 22, generator=torch.Generator().manual_seed(0))).to(dtype)
    config = getattr(supported, size.family)({**size.config, "dtype": dtype, **(SMALL if small else {})})
    with torch.inference_mode():
        made = config.get_model({}, "", device="meta")
        for module in made.diffusion_model.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    module._parameters[name] = nn.Parameter(tiled(noise, parameter.shape), requires_grad=False)
    return ModelPatcher(made, model_management.get_torch_device(), torch.device("cpu"))


def tiled(noise: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """A tensor of the shape, the block of noise over and over."""
    weight = torch.empty(shape, dtype=noise.dtype)
    for part in weight.view(-1).split(len(noise)):
        part.copy_(noise[: len(part)])
    return weight
