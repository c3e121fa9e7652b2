"""Regression on noise-image pairs: DMD's second term, InstaFlow's reflow, and what one-step students start from."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

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


def perceptual(
    roles, path: Path, batch: Batch, options: PairsOptions, features: Callable, decode: Callable
) -> tuple[Tensor, dict]:
    """mean over maps of || u(f(student's image)) - u(f(teacher's)) ||^2, u: unit length over channels.

    LPIPS' form (Zhang et al. 2018) with equal weights. features(images [b, 3, h, w] in 0..1) -> maps [b, c, h, w].
    """
    x0, target = regression_pair(roles, path, batch, options)
    with torch.no_grad():
        wanted = [F.normalize(of_map, dim=1) for of_map in features(decode(target))]
    ours = [F.normalize(of_map, dim=1) for of_map in features(decode(x0))]
    loss = torch.stack([(a - b).square().sum(1).mean() for a, b in zip(ours, wanted)]).mean()
    return loss, {"perceptual": loss.detach()}
