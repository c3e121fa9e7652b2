"""Continuous-time consistency: sCM (Lu and Song 2024), in TrigFlow's angle, for any network that answers x0."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..samplers.schedule import expand
from .batch import TIME, Batch
from .options_continuous import ContinuousOptions
from .path import Path
from .teacher import guided


class Angle(NamedTuple):
    """TrigFlow's coordinates of timesteps: x = cos x0 + sin sigma_d z is y / scale, each [b, 1, 1, 1]."""

    cos: Tensor
    sin: Tensor
    scale: Tensor

    @classmethod
    def of(cls, path: Path, t: Tensor, sigma_data: float, like: Tensor) -> "Angle":
        """Of y = alpha x0 + sigma eps: tan(angle) = sigma / (sigma_d alpha), also at a flow's top, where alpha = 0."""
        alpha, noise = path.alpha(t), path.sigma(t) / sigma_data
        scale = (alpha**2 + noise**2).sqrt()
        return cls(*(expand(part, like) for part in (alpha / scale, noise / scale, scale)))

    @property
    def radians(self) -> Tensor:
        return torch.atan2(self.sin, self.cos)

    def velocity(self, y: Tensor, x0: Tensor) -> Tensor:
        """sigma_d F of f = cos x - sin sigma_d F, for f = x0; with the teacher's x0 it is dx/dt of its ODE."""
        return (self.cos * y / self.scale - x0) / self.sin


def tangent(x: Tensor, ours: Tensor, theirs: Tensor, slope: Tensor, angle: Angle, rise: float) -> Tensor:
    """cos(t) df/dt in two parts, the second of which grows with `rise`: -cos^2 (F - dx/dt) - r cos sin (x + dF/dt).

    sCM's tangent with tangent warm-up (Lu and Song 2024), F times sigma_d throughout.
    """
    return -(angle.cos**2) * (ours - theirs) - rise * angle.cos * angle.sin * (x + slope)


def normalised(g: Tensor, c: float) -> Tensor:
    """g / (|g| + c), |g| the root of the mean square of a sample, so that c does not depend on the picture's size."""
    return g / (g.square().mean(tuple(range(1, g.ndim)), keepdim=True).sqrt() + c)


def continuous_consistency(roles, path: Path, batch: Batch, options: ContinuousOptions) -> tuple[Tensor, dict]:
    """|| F - sg(F) - g ||^2 with g = cos(t) df/dt on the teacher's path, whose gradient is sCM's: -2 g dF.

    dF/dt is the difference of the student at t and at t - step, where the teacher's DDIM step from t leads.
    """
    t = options.step + batch.randint(TIME, path.timesteps - options.step)
    y = path.noise(batch.x0, batch.noise, t)
    at = Angle.of(path, t, options.sigma_data, y)
    ours = at.velocity(y, roles("student", y, path.sigma(t), batch.cond)).float()
    with torch.no_grad():
        x0, s = guided(roles, "teacher", y, path.sigma(t), batch, options.guidance), t - options.step
        before, y_s = Angle.of(path, s, options.sigma_data, y), path.move(y, x0, t, s)
        earlier = before.velocity(y_s, roles("student", y_s, path.sigma(s), batch.cond)).float()
        slope = (ours - earlier) / (at.radians - before.radians)
        rise = min(1.0, batch.step / max(options.warmup * batch.steps, 1e-6)) if options.warmup else 1.0
        g = tangent(y / at.scale, ours, at.velocity(y, x0), slope, at, rise)
        length = g.square().mean().sqrt()
        target = ours + (normalised(g, options.c) if options.normalise else g)
    return (ours - target).square().mean(), {"tangent": length}
