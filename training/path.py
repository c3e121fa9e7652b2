"""The noising path: two operations that every loss is made of, `noise` and `move`.

Coordinates are the host's (see samplers.schedule): y = alpha x0 + sigma eps, alpha = 1 (VP) or 1 - sigma (flow).
Timesteps are integers in 0..999; -1 is the clean end, where sigma = 0.
"""

from dataclasses import dataclass

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

    def sigma(self, t: Tensor) -> Tensor:
        """sigma_t [b] of the timesteps t [b]; 0 at t = -1."""
        table = torch.cat([self.sigmas.new_zeros(1), self.sigmas])
        return table.to(t.device)[t + 1]

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
