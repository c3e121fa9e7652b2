"""The adversarial loss in latent space: heads on features of the frozen teacher, or of the critic (DMD2), hinge.

Hyper-SD names SDXL-Lightning's discriminator without giving weights; this one follows PCM's published form: frozen
features of every block, a small residual head on each, both pictures noised anew to a random level first.
"""

from collections.abc import Callable
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .batch import LEVEL, Batch
from .path import Path


class Head(nn.Module):
    """[b, c, h, w] features -> [b, 1, h, w] logits."""

    def __init__(self, channels: int, width: int):
        super().__init__()

        def layer() -> nn.Sequential:
            norm = nn.GroupNorm(gcd(32, width), width)
            return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), norm, nn.LeakyReLU(0.2))

        self.enter = nn.Conv2d(channels, width, 1)
        self.first, self.second, self.leave = layer(), layer(), nn.Conv2d(width, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        x = self.first(self.enter(as_map(features).float()))
        return self.leave(self.second(x) + x)


def as_map(features: Tensor) -> Tensor:
    """Features of any rank as a map: [b, c] and tokens [b, n, c] get dimensions of size 1."""
    if features.ndim == 2:
        return features[:, :, None, None]
    return features.transpose(1, 2)[..., None] if features.ndim == 3 else features


class Discriminator(nn.Module):
    """One head per feature map; logits of all of them as [b, n]."""

    def __init__(self, channels: list[int], width: int = 64):
        super().__init__()
        self.heads = nn.ModuleList(Head(c, width) for c in channels)

    def forward(self, features: list[Tensor]) -> Tensor:
        return torch.cat([head(f).flatten(1) for head, f in zip(self.heads, features, strict=True)], 1)


def logits(roles, path: Path, batch: Batch, x: Tensor, t: Tensor, window: int, name: str) -> Tensor:
    """Logits [b, n] of x (the papers' coordinates at t), noised anew to one of the `window` timesteps above t."""
    level = (t + 1 + batch.randint(LEVEL, window)).clamp(max=path.timesteps - 1)
    noised = path.renoise(path.from_paper(x, t), batch.fresh(f"judge-{name}"), t, level)
    return roles.discriminator_logits(noised, path.sigma(level), batch.cond)


def generator_loss(roles, path: Path, batch: Batch, fake: Tensor, t: Tensor, window: int, weight: float) -> tuple:
    """weight mean relu(1 - D(fake)), through the discriminator's features to the student; (0, no logs) at weight 0."""
    if not weight:
        return 0.0, {}
    loss = F.relu(1 - logits(roles, path, batch, fake, t, window, "fake")).mean()
    return weight * loss, {"generator_loss": loss.detach()}


def discriminate(roles, path: Path, batch: Batch, pair: Callable, window: int) -> tuple[Tensor, dict]:
    """The discriminator's turn: mean relu(1 - D(real)) + mean relu(1 + D(fake)).

    pair(roles, path, batch) -> (fake, real, t). The share it tells rightly goes into the log: near 1 it has won.
    """
    with torch.no_grad():
        fake, real, t = pair(roles, path, batch)
    on_real = logits(roles, path, batch, real, t, window, "real")
    on_fake = logits(roles, path, batch, fake, t, window, "fake")
    right = 0.5 * ((on_real > 0).float().mean() + (on_fake < 0).float().mean())
    loss = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
    return loss, {"discriminator": loss.detach(), "discriminator_accuracy": right.detach()}
