"""Consistency terms: LCM, LCF, PCM, CTM, TCD and TSCD are one function with other options.

A term is a pure function `(roles, path, batch, options) -> (loss, logs)`. It sees x0 and (alpha, sigma) only, so that
eps, v and flow models share one line of mathematics.
"""

import torch
from torch import Tensor

from ..samplers.lcm import boundary_scalings
from ..samplers.schedule import expand, segment_floors
from .adversarial import generator_loss
from .batch import END, GUIDANCE, TIME, Batch
from .distances import distance
from .options import ConsistencyOptions
from .path import Path
from .teacher import solve


def floor_of(t: Tensor, options: ConsistencyOptions) -> Tensor:
    """t_b: the lower boundary of the segment that holds t [b], the largest one below t."""
    starts = torch.tensor(segment_floors(options.segments, options.grid), device=t.device)
    return starts[(torch.searchsorted(starts, t) - 1).clamp(min=0)]


def trajectory(path: Path, batch: Batch, options: ConsistencyOptions) -> tuple[Tensor, Tensor, Tensor]:
    """(t, s, end) [b] of each sample: t_n on the grid, s = t_n - skip not below its segment, t_end in [t_b, s]."""
    t = (batch.randint(TIME, options.grid) + 1) * (path.timesteps // options.grid) - 1
    floor = floor_of(t, options)
    s = torch.maximum(t - options.skip, floor)
    if options.end == "clean":
        return t, s, batch.clean
    return t, s, floor if options.end == "floor" else floor + batch.randint(END, s - floor + 1)


def jump(roles, role: str, path: Path, y: Tensor, t: Tensor, end: Tensor, cond, options: ConsistencyOptions) -> Tensor:
    """From t to end in one step of that role: the DDIM jump Psi(x_t, x0(x_t, c, t), end), which at the clean end is x0.

    With the boundary condition of LCM: f(x_t, c, t) = c_skip(t) x_t + c_out(t) x0(x_t, c, t).
    """
    x0 = roles(role, y, path.sigma(t), cond)
    if options.end != "clean":
        return path.paper_x(path.move(y, x0, t, end), end)
    if not options.boundary:
        return x0
    c_skip, c_out = (expand(scaling, y) for scaling in boundary_scalings(t.float()))
    return c_skip * path.paper_x(y, t) + c_out * x0


def perturbed(batch: Batch, strength: float) -> Tensor:
    """Offset noise: eps + c z with one unit z per channel. Source: Hyper-SD, section 3.1."""
    if not strength:
        return batch.noise
    z = batch.fresh("offset").mean((-1, -2), keepdim=True) * batch.noise[0, 0].numel() ** 0.5
    return batch.noise + strength * z


def guidance_of(batch: Batch, options: ConsistencyOptions) -> Tensor | float:
    """The teacher's guidance scale: drawn for each sample [b], or the one number where the span has no width."""
    low, high = options.guidance_min, options.guidance_max
    return low if low == high else low + batch.uniform[:, GUIDANCE] * (high - low)


def consistency_pair(roles, path: Path, batch: Batch, options: ConsistencyOptions) -> tuple[Tensor, Tensor, Tensor]:
    """(student's jump, target's jump without gradient, end): both in the papers' coordinates at the timesteps end."""
    t, s, end = trajectory(path, batch, options)  # t_n, t_n-1 and t_end of Hyper-SD's algorithm 1
    scale = guidance_of(batch, options)
    told = torch.as_tensor(scale, dtype=batch.noise.dtype, device=batch.noise.device).expand(len(batch)) - 1
    cond = {**batch.cond, "w": told} if options.guidance_embedding else batch.cond
    noise = perturbed(batch, options.perturbation)
    y_t = path.noise(batch.x0, noise, t)  # x_tn
    with torch.no_grad():
        if options.solver == "data":
            y_s = path.noise(batch.x0, noise, s)
        else:
            how = (options.solver_steps, options.teacher, options.solver)
            y_s = solve(roles, path, batch, y_t, t, s, scale, *how)  # Psi(x_tn, f_tea, t_n-1)
        role = "target" if options.target == "ema" else "student"
        target = jump(roles, role, path, y_s, s, end, cond, options)  # Psi(x_tn-1, f-, t_end)
    return jump(roles, "student", path, y_t, t, end, cond, options), target, end


def consistency(roles, path: Path, batch: Batch, options: ConsistencyOptions) -> tuple[Tensor, dict]:
    """weight d(student's jump, target's jump) + weight adversarial."""
    predicted, target, end = consistency_pair(roles, path, batch, options)
    apart = distance(predicted, target, options.loss, options.huber_c)
    window = path.timesteps // options.segments
    adversarial, logs = generator_loss(roles, path, batch, predicted, end, options, window)
    return options.distance * apart + adversarial, {"consistency": apart.detach(), **logs}
