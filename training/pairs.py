"""Regression on noise-image pairs: DMD's second term, InstaFlow's reflow, and what one-step students start from."""

import torch
from torch import Tensor

from .batch import Batch
from .distances import distance
from .options import PairsOptions
from .path import Path
from .teacher import solve


def regression_pair(roles, path: Path, batch: Batch, options: PairsOptions) -> tuple[Tensor, Tensor]:
    """(the student's x0 of a noise, the teacher's image of the same noise), both [b, c, h, w].

    The student is asked at options.timestep with noise of unit variance; the teacher's way begins at the top.
    """
    t = torch.full_like(batch.clean, options.timestep)
    noise = batch.noise if batch.image_noise is None else batch.image_noise
    x0 = roles("student", path.from_paper(noise, t), path.sigma(t), batch.cond)
    if batch.image_noise is not None:
        return x0, batch.x0
    with torch.no_grad():
        top = torch.full_like(t, path.timesteps - 1)
        start = path.from_paper(noise, top)
        target = solve(roles, path, batch, start, top, batch.clean, options.guidance, options.teacher_steps)
    return x0, target


def regression(roles, path: Path, batch: Batch, options: PairsOptions) -> tuple[Tensor, dict]:
    """d(x0_student(z), x0_teacher(z))."""
    x0, target = regression_pair(roles, path, batch, options)
    loss = distance(x0, target, options.loss, options.huber_c)
    return loss, {"regression": loss.detach()}
