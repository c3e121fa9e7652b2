"""LCM's guidance embedding, in a student that learns it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..samplers.guidance_embedding import WIDTH, guidance_embedding


class GuidanceEmbedding(nn.Module):
    """LCM's w-embedding: the projected embedding of w is added to what enters the time embedding's first layer.

    The projection is zero at the start, so that the student begins as its teacher. As a part of the network named
    `time_embedding` its weight has diffusers' name, time_embedding.cond_proj.weight [channels, 256].
    """

    def __init__(self, layer: nn.Module, denoise: Callable, usual: float):
        """layer: that first layer; usual: the w of a call whose cond has none (previews, held-out error, rewards)."""
        super().__init__()
        self.cond_proj = nn.Linear(WIDTH, layer.in_features, bias=False, device=layer.weight.device)
        nn.init.zeros_(self.cond_proj.weight)
        self.denoise, self.usual, self.w = denoise, usual, None
        layer.register_forward_pre_hook(self.added)

    def added(self, _, inputs: tuple) -> Tensor:
        return inputs[0] + self.cond_proj(guidance_embedding(self.w)).to(inputs[0])

    def told(self, y: Tensor, sigma: Tensor, cond: dict) -> Tensor:
        """denoise, with cond's `w` [b] (guidance - 1) going to the embedding."""
        self.w = cond.get("w", torch.full_like(sigma, self.usual))
        return self.denoise(y, sigma, {name: value for name, value in cond.items() if name != "w"})
