"""The adversarial loss in latent space: heads on features of the frozen teacher, or of the critic (DMD2), hinge.

Hyper-SD names SDXL-Lightning's discriminator without giving weights; this one follows PCM's published form: frozen
features of every block, a small residual head on each, both images noised anew to a random level first. The heads are
told that level and the prompt, as Lightning's network is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .batch import LEVEL, Batch
from .options import DiscriminatorOptions
from .path import Path


class Head(nn.Module):
    """[b, c, h, w] features and what it is told [b, k] -> [b, 1, h, w] logits."""

    def __init__(self, channels: int, told: int, width: int):
        super().__init__()

        def layer() -> nn.Sequential:
            norm = nn.GroupNorm(gcd(32, width), width)
            return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), norm, nn.LeakyReLU(0.2))

        self.enter, self.tell = nn.Conv2d(channels, width, 1), nn.Linear(told, 2 * width)
        nn.init.zeros_(self.tell.weight)  # it begins as a head that is told nothing
        nn.init.zeros_(self.tell.bias)
        self.first, self.second, self.leave = layer(), layer(), nn.Conv2d(width, 1, 1)

    def forward(self, features: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.tell(told)[..., None, None].chunk(2, 1)
        x = self.first(self.enter(as_map(features).float()) * (1 + scale) + shift)
        return self.leave(self.second(x) + x)


def as_map(features: Tensor) -> Tensor:
    """Any features as a map: [b, c] and tokens [b, n, c] get dimensions of size 1; [b, t, h, w, c] are tokens."""
    if features.ndim == 5:
        features = features.flatten(1, 3)
    if features.ndim == 2:
        return features[:, :, None, None]
    return features.transpose(1, 2)[..., None] if features.ndim == 3 else features


class Discriminator(nn.Module):
    """One head per feature map. The maps differ in size, so their logits stay apart: a list of [b, n]."""

    def __init__(self, channels: list[int], told: int, width: int = 64):
        super().__init__()
        self.heads = nn.ModuleList(Head(c, told, width) for c in channels)

    def forward(self, features: list[Tensor], told: Tensor) -> list[Tensor]:
        return [head(f, told).flatten(1) for head, f in zip(self.heads, features, strict=True)]


ANGLES = 16  # sin and cos at eight frequencies of log sigma


def conditions(sigma: Tensor, cond: dict) -> Tensor:
    """What heads are told, [b, k]: sin and cos of log sigma at eight frequencies, and the prompt's mean embedding."""
    angles = sigma.float().clamp(min=1e-3).log()[:, None] * 2.0 ** torch.arange(-3, 5, device=sigma.device)
    numbers = [value.float() for _, value in sorted(cond.items()) if value.is_floating_point() and value.ndim in (2, 3)]
    pooled = [value.mean(1) if value.ndim == 3 else value for value in numbers]
    return torch.cat([angles.sin(), angles.cos(), *(F.layer_norm(value, value.shape[1:]) for value in pooled)], 1)


@dataclass(frozen=True)
class FakeAndReal:
    """What a discriminator's turn is about: pair(roles, path, batch, options) -> (fake, real, t), and the levels."""

    pair: Callable
    options: object
    window: int = 1000


def level_above(batch: Batch, t: Tensor, window: int, options: DiscriminatorOptions) -> Tensor:
    """A timestep [b] in (t, min(t + window, level_max)], and not below level_min."""
    low = (t + 1).clamp(min=options.level_min)
    high = torch.maximum((t + window).clamp(max=options.level_max), low)
    return low + batch.randint(LEVEL, high - low + 1)


def logits_of(
    roles, path: Path, batch: Batch, x: Tensor, t: Tensor, window: int, options: DiscriminatorOptions, name: str
) -> list[Tensor]:
    """Each head's logits [b, n] of x (the papers' coordinates at t), noised anew to a level above t."""
    level = level_above(batch, t, window, options)
    noised = path.renoise(path.from_paper(x, t), batch.fresh(f"discriminator-{name}"), t, level)
    return roles.discriminator_logits(noised, path.sigma(level), batch.cond)


def hinge(logits: list[Tensor], sign: float) -> Tensor:
    """mean over heads of mean relu(1 - sign D): a large map has no more to say than a small one."""
    return torch.stack([F.relu(1 - sign * head).mean() for head in logits]).mean()


def generator_loss(roles, path: Path, batch: Batch, fake: Tensor, t: Tensor, options, window: int = 1000) -> tuple:
    """adversarial relu(1 - D(fake)), through the features to the student.

    options: of the term, with `adversarial`, `adversarial_from` and `discriminator`. (0, no logs) at weight 0 and
    during the discriminator's head start.
    """
    if not options.adversarial or batch.step < options.adversarial_from:
        return 0.0, {}
    loss = hinge(logits_of(roles, path, batch, fake, t, window, options.discriminator, "fake"), 1)
    return options.adversarial * loss, {"generator_loss": loss.detach()}


def discriminator_loss(
    roles, path: Path, batch: Batch, fake: Tensor, real: Tensor, t: Tensor, options, window: int = 1000
) -> tuple[Tensor, dict]:
    """relu(1 - D(real)) + relu(1 + D(fake)). The share told rightly goes into the log: near 1 it has won."""
    on_real = logits_of(roles, path, batch, real, t, window, options.discriminator, "real")
    on_fake = logits_of(roles, path, batch, fake, t, window, options.discriminator, "fake")
    shares = [0.5 * ((r > 0).float().mean() + (f < 0).float().mean()) for r, f in zip(on_real, on_fake)]
    loss = hinge(on_real, 1) + hinge(on_fake, -1)
    return loss, {"discriminator": loss.detach(), "discriminator_accuracy": torch.stack(shares).mean().detach()}


def discriminate(roles, path: Path, batch: Batch, options: FakeAndReal) -> tuple[Tensor, dict]:
    """The discriminator's turn."""
    with torch.no_grad():
        fake, real, t = options.pair(roles, path, batch, options.options)
    return discriminator_loss(roles, path, batch, fake, real, t, options.options, options.window)
