"""What is asked of the teacher: guided predictions, and its ODE solved over a stretch."""

import torch
from torch import Tensor

from ..samplers.schedule import expand
from .batch import Batch
from .path import Path


def guided(roles, role: str, y: Tensor, sigma: Tensor, batch: Batch, scale: Tensor | float) -> Tensor:
    """Classifier-free guidance x0_u + scale (x0_c - x0_u), both in one doubled batch. scale: [b], or one for all.

    A plain 1 costs one pass. Whether a tensor holds ones only is not asked: the answer would wait for the device.
    """
    if isinstance(scale, int | float):
        if scale == 1:
            return roles(role, y, sigma, batch.cond)
        scale = torch.full_like(sigma, scale)
    both = {name: torch.cat([value, batch.uncond[name]]) for name, value in batch.cond.items()}
    x0_c, x0_u = roles(role, torch.cat([y, y]), torch.cat([sigma, sigma]), both).chunk(2)
    return x0_u + expand(scale, y) * (x0_c - x0_u)


def solve(
    roles, path: Path, batch: Batch, y: Tensor, t: Tensor, s: Tensor, scale, steps: int, role="teacher", solver="ddim"
) -> Tensor:
    """The teacher's guided ODE from t to s in `steps` solver steps, evenly spaced in timesteps; s = -1 ends on x0."""

    def x0_at(y: Tensor, t: Tensor) -> Tensor:
        return guided(roles, role, y, path.sigma(t), batch, scale)

    for step in range(steps):
        here, there = (t + (s - t) * n // steps for n in (step, step + 1))
        x0 = x0_at(y, here)
        y = path.move(y, x0, here, there) if solver == "ddim" else midpoint(path, y, x0, x0_at, here, there, solver)
    return y


def midpoint(path: Path, y: Tensor, x0: Tensor, x0_at, t: Tensor, s: Tensor, solver: str) -> Tensor:
    """One second-order step: the network is asked again halfway in log SNR.

    DPM-Solver-2 (Lu et al. 2022) keeps the noise of the middle for the step, DPM-Solver++(2S) its x0. A flow model's
    alpha is 0 at the top, where the first has nothing to divide by: it keeps the velocity halfway in sigma instead.
    """
    middle = torch.minimum(torch.maximum(path.between(t, s, even=path.flow and solver == "dpmsolver"), s), t)
    there = path.move(y, x0, t, middle)
    x0 = x0_at(there, middle)
    if solver == "dpmsolver++":
        return path.move(y, x0, t, s)
    if path.flow:
        velocity = (there - x0) / expand(path.sigma(middle).clamp(min=1e-6), y)
        return y + expand(path.sigma(s) - path.sigma(t), y) * velocity
    eps = path.eps(there, x0, middle)
    clean = y - expand(path.sigma(t), y) * eps
    return path.noise(clean, eps, s)
