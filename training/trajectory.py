"""Trajectory distribution matching: TDM (Luo et al. 2025). The student's every step against the teacher's levels there.

The student's deterministic trajectory stands at t; its answer x0 takes it to s, where its next step begins. Noise on
top takes that to a level tau between s and t, where teacher and critic are asked.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..samplers.schedule import expand
from .batch import END, STEP, TIME, Batch
from .options_trajectory import TrajectoryOptions
from .path import Path
from .rollout import rollout
from .score import score_weight
from .teacher import guided


class Place(NamedTuple):
    """Where a sample's trajectory stands: its steps run from t to s [b]; y [b, c, h, w] is the student's input at t."""

    t: Tensor
    s: Tensor
    y: Tensor


class Level(NamedTuple):
    """The trajectory's point at s under noise: y at tau [b], and the unit noise that was added."""

    tau: Tensor
    y: Tensor
    noise: Tensor


def place(roles, path: Path, batch: Batch, options: TrajectoryOptions) -> Place:
    """One step of the student's trajectory, for a number of steps that each sample draws for itself."""
    device, longest = batch.noise.device, options.steps[-1]
    padded = [options.timesteps(count) + (-1,) * (longest + 1 - count) for count in options.steps]
    kind = batch.randint(END, len(options.steps))
    grid = torch.tensor(padded, device=device)[kind]  # [b, longest + 1], -1 after the last step
    index = batch.randint(STEP, torch.tensor(options.steps, device=device)[kind])
    y = rollout(roles, path, batch, grid, index, "ddim")
    here, there = (grid.gather(1, (index + n)[:, None])[:, 0] for n in (0, 1))
    return Place(here, there, y)


def level(path: Path, batch: Batch, at: Place, x0: Tensor, options: TrajectoryOptions, name: str) -> Level:
    """tau is uniform in max(t_min, s + 1) .. t - margin, or, where steps share levels, up to top - 1 - margin.

    y_tau = r y_s + sqrt(sigma_tau^2 - (r sigma_s)^2) z, r = alpha_tau / alpha_s, y_s the DDIM step to s.
    """
    low = (at.s + 1).clamp(min=options.t_min)
    high = (at.t if options.levels == "segment" else at.t * 0 + options.top - 1) - options.margin
    tau, z = low + batch.randint(TIME, high - low), batch.fresh(name)
    return Level(tau, path.renoise(path.move(at.y, x0, at.t, at.s), z, at.s, tau), z)


def trajectory_matching(roles, path: Path, batch: Batch, options: TrajectoryOptions) -> tuple[Tensor, dict]:
    """w d(x0, sg(x0 + x0_real - x0_fake)) of the student's x0 at t, both scores at tau; w = 1 / mean |x0 - x0_real|.

    d: pseudo-Huber, or 0.5 of the square, whose gradient is DMD's.
    """
    at = place(roles, path, batch, options)
    x0 = roles("student", at.y, path.sigma(at.t), batch.cond)
    with torch.no_grad():
        noised = level(path, batch, at, x0.detach(), options, "score")
        sigma = path.sigma(noised.tau)
        real = guided(roles, "teacher", noised.y, sigma, batch, options.guidance)
        fake = roles("critic", noised.y, sigma, batch.cond)
        weight = score_weight(path, x0.detach(), real, noised.tau, options.weight)
        target = x0.float() + (real.float() - fake.float())
    square, c = (x0.float() - target).square(), options.huber_c
    distance = (square + c**2).sqrt() - c if options.loss == "huber" else 0.5 * square
    logs = {"score": square.detach().mean().sqrt(), "generated_std": x0.detach().std()}
    return (weight * distance).mean(), logs


def trajectory_denoising(roles, path: Path, batch: Batch, options: TrajectoryOptions) -> tuple[Tensor, dict]:
    """The critic learns the student's x0 from its trajectory's levels: i min(a^2 / s^2, most) || x0 - x0_critic ||^2.

    i = exp(mean z^2 / 2 - mean e^2 / 2): the noise e that y_tau holds beside x0 is the student's own mixed with z, and
    counts by how likely it is as noise.
    """
    with torch.no_grad():
        at = place(roles, path, batch, options)
        x0 = roles("student", at.y, path.sigma(at.t), batch.cond)
        noised = level(path, batch, at, x0, options, "denoise")
        weight = weight_of(path, noised, x0, options)
    error = (roles("critic", noised.y, path.sigma(noised.tau), batch.cond) - x0).float().square()
    loss = (expand(weight, error) * error).mean()
    return loss, {"critic": loss.detach()}


def weight_of(path: Path, noised: Level, x0: Tensor, options: TrajectoryOptions) -> Tensor:
    """What a sample counts in the critic's loss, [b]."""
    a, s = path.coefficients(noised.tau)
    snr = (a / s).square().clamp(max=options.snr_most)
    if not options.importance:
        return snr
    held = path.eps(noised.y, x0, noised.tau)
    added, mixed = (noise.float().square().flatten(1).mean(1) for noise in (noised.noise, held))
    return snr * (0.5 * (added - mixed)).exp()
