"""Roles with weights of their own: whole networks beside LoRAs on the frozen base; and LCM's guidance embedding."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..samplers.guidance_embedding import WIDTH, guidance_embedding
from .roles import FIXED, LoraRoles, heads_of


class FullRoles(LoraRoles):
    """Some roles are whole networks; the teacher and all others live on the base, as LoraRoles has them.

    wholes: {role: (network, denoise)}, all equal at the start; denoise(y, sigma, cond) -> x0 runs that network. With
    {"student": ...} and a critic on the base this is SwiftBrush v2's scheme A (section 4.4): one base and one copy.
    """

    def __init__(self, wholes: dict[str, tuple[nn.Module, Callable]], *base, **options):
        """base, options: LoraRoles' own; its `roles` are those that stay LoRAs."""
        self.wholes = wholes
        super().__init__(*base, **options)
        for role, (net, _) in wholes.items():
            net.requires_grad_(role not in FIXED)

    def __call__(self, role: str, y: Tensor, sigma: Tensor, cond) -> Tensor:
        return self.wholes[role][1](y, sigma, cond) if role in self.wholes else super().__call__(role, y, sigma, cond)

    def parameters(self, role: str) -> dict[str, nn.Parameter]:
        if role not in self.wholes:
            return super().parameters(role)
        return {**dict(self.wholes[role][0].named_parameters()), **heads_of(self, role)}


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
