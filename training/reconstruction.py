"""Imagine Flash (Kohler et al. 2024): the shifted reconstruction loss on the student's own steps."""

import torch
from torch import Tensor

from .adversarial import generator_loss
from .batch import STEP, TIME, Batch
from .distances import distance
from .options import ReconstructionOptions
from .path import Path
from .rollout import own_noise, rollout, student_step
from .teacher import solve


def shifted(batch: Batch, t: Tensor, options: ReconstructionOptions) -> Tensor:
    """gamma(t) [b]: the level that the teacher starts from."""
    if options.shift == "none":
        return t
    if options.shift == "random":
        return batch.randint(STEP, 1000)
    return (options.gamma_max * (t.float() / 999) ** options.gamma_power).round().long().clamp(0, 999)


def reconstruction_pair(roles, path: Path, batch: Batch, options: ReconstructionOptions) -> tuple:
    """(student's x0, the teacher's x0 from the shifted point without gradient, t = -1)."""
    index, t = student_step(batch, options.timesteps, TIME)
    if options.start == "forward":
        y = path.noise(batch.x0, batch.noise, t)
    else:
        y = rollout(roles, path, batch, options.timesteps, index)  # x_T->t
    x0 = roles("student", y, path.sigma(t), batch.cond)  # x0s
    with torch.no_grad():
        gamma, chi = shifted(batch, t, options), y
        if options.shift != "none":
            eps = own_noise(path, batch.noise, y, x0, t) if options.noise == "own" else batch.fresh("shift")
            chi = path.noise(x0, eps, gamma)  # q(x0s, eps, gamma(t))
        target = solve(roles, path, batch, chi, gamma, batch.clean, options.guidance, options.teacher_steps)
    return x0, target, batch.clean


def reconstruction(roles, path: Path, batch: Batch, options: ReconstructionOptions) -> tuple[Tensor, dict]:
    """weight || sg teacher^k(q(x0s, eps, gamma(t))) - x0s ||^2 + weight adversarial."""
    x0, target, end = reconstruction_pair(roles, path, batch, options)
    loss = options.distance * distance(x0, target, options.loss)
    fooling, logs = generator_loss(roles, path, batch, x0, end, path.timesteps, options.adversarial)
    return loss + fooling, {"reconstruction": loss.detach(), **logs}
