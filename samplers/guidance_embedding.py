"""The guidance embedding of LCM models: the network is told the guidance scale beside the timestep."""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def guidance_embedding(w: float, width: int = 256) -> Tensor:
    """[width] fp32: sin and cos of 1000 w f_i, f_i = 10000^(-i / (half - 1)); w: guidance - 1 (LCM, w-embedding)."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000) / (half - 1) * torch.arange(half, dtype=torch.float32))
    angles = 1000 * w * frequencies
    return torch.cat([angles.sin(), angles.cos()])


class GuidedTimestep:
    """The forward of the time embedding's first layer, with the guidance added to its input.

    A class and not a closure, so that a deep copy of the network carries its own layer.
    """

    def __init__(self, forward: Callable[[Tensor], Tensor], projection: Tensor, guidance: float):
        """projection: `cond_proj.weight` [channels, width]; guidance: the usual scale, w = guidance - 1."""
        self.forward = forward
        self.offset = projection.float() @ guidance_embedding(guidance - 1, projection.shape[1])

    def __call__(self, embedded: Tensor) -> Tensor:
        return self.forward(embedded + self.offset.to(embedded))
