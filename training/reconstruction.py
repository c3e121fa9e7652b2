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


def student_start(roles, path: Path, batch: Batch, options: ReconstructionOptions) -> tuple[Tensor, Tensor]:
    """(y, t): where the student's step begins, by its own rollout x_T->t or on the noised image."""
    index, t = student_step(batch, options.timesteps, TIME)
    if options.start == "forward":
        return path.noise(batch.x0, batch.noise, t), t
    return rollout(roles, path, batch, options.timesteps, index), t


def student_and_teacher(roles, path: Path, batch: Batch, options: ReconstructionOptions) -> tuple[Tensor, Tensor]:
    """(student's x0, the teacher's x0 from the shifted point, without gradient), both [b, c, h, w]."""
    y, t = student_start(roles, path, batch, options)
    x0 = roles("student", y, path.sigma(t), batch.cond)  # x0s
    with torch.no_grad():
        gamma, chi = shifted(batch, t, options), y
        if options.shift != "none":
            eps = own_noise(path, batch.noise, y, x0, t) if options.noise == "own" else batch.fresh("shift")
            chi = path.noise(x0, eps, gamma)  # q(x0s, eps, gamma(t))
        target = solve(roles, path, batch, chi, gamma, batch.clean, options.guidance, options.teacher_steps)
    return x0, target


def reconstruction_pair(roles, path: Path, batch: Batch, options: ReconstructionOptions) -> tuple:
    """(student's x0, what is real, t = -1), for the discriminator.

    Real are the data's images. The teacher's x0 is a retouch of the student's own: telling the two apart says little of
    what the student lacks.
    """
    if options.real == "teacher":
        return (*student_and_teacher(roles, path, batch, options), batch.clean)
    y, t = student_start(roles, path, batch, options)
    return roles("student", y, path.sigma(t), batch.cond), batch.x0, batch.clean


def reconstruction(roles, path: Path, batch: Batch, options: ReconstructionOptions) -> tuple[Tensor, dict]:
    """weight || sg teacher^k(q(x0s, eps, gamma(t))) - x0s ||^2 + weight adversarial."""
    x0, target = student_and_teacher(roles, path, batch, options)
    loss = options.distance * distance(x0, target, options.loss, options.huber_c)
    adversarial, logs = generator_loss(roles, path, batch, x0, batch.clean, options, path.timesteps)
    return loss + adversarial, {"reconstruction": loss.detach(), **logs}
