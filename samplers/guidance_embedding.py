"""The guidance embedding of LCM models: the network is told the guidance scale beside the timestep."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

WIDTH = 256  # of the embedding: LCM's


def guidance_embedding(w: float | Tensor, width: int = WIDTH) -> Tensor:
    """[..., width] fp32: sin and cos of 1000 w f_i, f_i = 10000^(-i / (half - 1)); w [...]: guidance - 1 (LCM)."""
    half, w = width // 2, torch.as_tensor(w, dtype=torch.float32)
    frequencies = torch.exp(-math.log(10000) / (half - 1) * torch.arange(half, dtype=torch.float32, device=w.device))
    angles = 1000 * w[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1)


class GuidedTimestep:
    """The forward of the time embedding's first layer, with the guidance added to its input.

    A class and not a closure, so that a deep copy of the network carries its own layer.
    """

    def __init__(self, forward: Callable[[Tensor], Tensor], projection: Tensor, guidance: float):
        """projection: `cond_proj.weight` [channels, width]; guidance: the usual scale, w = guidance - 1."""
        self.forward, self.projection = forward, projection
        self.offset = projection.float() @ guidance_embedding(guidance - 1, projection.shape[1])

    def __call__(self, embedded: Tensor) -> Tensor:
        return self.forward(embedded + self.offset.to(embedded))
