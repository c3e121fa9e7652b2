"""The noising path: two operations that every loss is made of, `noise` and `move`.

Coordinates are the host's (see samplers.schedule): y = alpha x0 + sigma eps, alpha = 1 (VP) or 1 - sigma (flow).
Timesteps are integers in 0..999; -1 is the clean end, where sigma = 0.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..samplers.schedule import expand


@dataclass(frozen=True)
class Path:
    """sigmas: [1000] fp32, rising with the timestep; flow: True where alpha = 1 - sigma."""

    sigmas: Tensor
    flow: bool = False

    @property
    def timesteps(self) -> int:
        return len(self.sigmas)

    @cached_property
    def table(self) -> Tensor:
        """[1001]: sigma at t = -1, 0, ..., 999."""
        return torch.cat([self.sigmas.new_zeros(1), self.sigmas])

    def sigma(self, t: Tensor) -> Tensor:
        """sigma_t [b] of the timesteps t [b]; 0 at t = -1."""
        return self.table.to(t.device)[t + 1]

    def alpha(self, t: Tensor) -> Tensor:
        """alpha_t [b]: what multiplies x0."""
        sigma = self.sigma(t)
        return 1 - sigma if self.flow else torch.ones_like(sigma)

    def noise(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """y_t = alpha_t x0 + sigma_t eps."""
        return expand(self.alpha(t), x0) * x0 + expand(self.sigma(t), x0) * eps

    def eps(self, y: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The noise that takes x0 to y at t: (y - alpha_t x0) / sigma_t."""
        return (y - expand(self.alpha(t), y) * x0) / expand(self.sigma(t), y)

    def move(self, y: Tensor, x0: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """One DDIM step from t to s: alpha_s x0 + sigma_s eps(y, x0, t). move(y, x0, t, t) = y."""
        return self.noise(x0, self.eps(y, x0, t), s)

    def paper_x(self, y: Tensor, t: Tensor) -> Tensor:
        """The papers' x_t of unit variance: y / sqrt(1 + sigma^2) for VP, y itself for flow."""
        return y if self.flow else y / expand((1 + self.sigma(t) ** 2).sqrt(), y)

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The papers' (a_t, s_t) [b] of x_t = a_t x0 + s_t eps: unit variance for VP, 1 - sigma and sigma for flow."""
        sigma = self.sigma(t)
        if self.flow:
            return 1 - sigma, sigma
        return 1 / (1 + sigma**2).sqrt(), sigma / (1 + sigma**2).sqrt()

    def from_paper(self, x: Tensor, t: Tensor) -> Tensor:
        """y from the papers' x_t. Of pure noise it is the input at t, also below the top (the unit start)."""
        return x if self.flow else x * expand((1 + self.sigma(t) ** 2).sqrt(), x)

    def renoise(self, y: Tensor, noise: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """From t up to s >= t with fresh noise: r y + sqrt(sigma_s^2 - (r sigma_t)^2) z with r = alpha_s / alpha_t."""
        scale = self.alpha(s) / self.alpha(t).clamp(min=1e-6)
        added = (self.sigma(s) ** 2 - (scale * self.sigma(t)) ** 2).clamp(min=0).sqrt()
        return expand(scale, y) * y + expand(added, y) * noise

    def between(self, t: Tensor, s: Tensor, even: bool = False) -> Tensor:
        """The timestep [b] nearest to halfway in log SNR, sigma = sqrt(sigma_t sigma_s) (VP); even: in sigma itself."""
        middle = (self.sigma(t) + self.sigma(s)) / 2 if even else (self.sigma(t) * self.sigma(s)).sqrt()
        table = self.sigmas.to(middle.device)
        return (table[None] - middle[:, None]).abs().argmin(1)
