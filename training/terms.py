"""Consistency terms: LCM, LCF, PCM, CTM, TCD and TSCD are one function with other options.

A term is a pure function `(roles, path, batch, options) -> (loss, logs)`. It sees x0 and (alpha, sigma) only, so that
eps, v and flow models share one line of mathematics.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..samplers.lcm import boundary_scalings
from ..samplers.schedule import expand, segment_floors
from .adversarial import generator_loss
from .batch import END, GUIDANCE, TIME, Batch
from .config import check_fields, require
from .path import Path


@dataclass(frozen=True, kw_only=True)
class ConsistencyOptions:
    """d( student's jump from t, target's jump from s ), both to `end`, with s = t - skip on the teacher's trajectory.

    | method | segments | end | source |
    | LCM, LCM-LoRA | 1 | clean, with boundary | Luo et al. 2023, algorithm 1 |
    | LCF | 1 | clean, solver data | Luo et al. 2023, section 4.4: no teacher, the picture's own trajectory |
    | PCM | k | floor | Wang et al. 2024 |
    | TCD, CTM | 1 | random | Zheng et al. 2024; Kim et al. 2023 |
    | TSCD | k = 8, 4, 2, 1 | random | Ren et al. 2024 (Hyper-SD), algorithm 1 |
    """

    skip: int = 20  # timesteps between the two points of the trajectory (the paper's k)
    grid: int = 50  # points of the training grid, 50 = timesteps 19, 39, ..., 999
    # Of the teacher's ODE; data: no teacher, s has the picture's own noise.
    solver: Literal["ddim", "dpmsolver", "dpmsolver++", "data"] = "ddim"
    solver_steps: int = 1  # steps of the solver within one skip; more for long skips
    guidance_min: float = 8.5  # usual guidance scale (the papers' w + 1) baked into the student, drawn uniformly
    guidance_max: float = 8.5  # LCM-LoRA fixes w = 7.5; LCM draws w in 2..14
    loss: Literal["huber", "l2"] = "huber"
    huber_c: float = 0.001
    target: Literal["student", "ema"] = "student"  # stop-gradient, as LCM-LoRA; or the moving average, as LCM
    boundary: bool = True  # c_skip, c_out of the paper; for jumps to the clean end only
    segments: int = 1  # k: jumps end inside the segment of t
    end: Literal["clean", "floor", "random"] = "clean"  # x0, the segment's floor, or between floor and s
    teacher: str = "teacher"  # or "previous": the student of the phase before
    perturbation: float = 0.0  # offset noise: eps + c randn(b, c, 1, 1); Hyper-SD gives no value, 0.05-0.1 is usual
    distance: float = 1.0  # weight of d
    adversarial: float = 0.0  # weight of the adversarial loss between the two jumps
    guidance_embedding: bool = False  # LCM: student and target are told w = guidance - 1; full weights only

    def __post_init__(self):
        grid, skip, low, high = self.grid, self.skip, self.guidance_min, self.guidance_max
        require(1 <= grid <= 1000 and 1000 % grid == 0, f"LCM: grid must divide 1000, got {grid}. 50 is usual.")
        stride = 1000 // grid
        whose = f"LCM: skip must be a multiple of {stride} (a step of the grid of {grid}), got {skip}."
        require(skip >= stride and skip % stride == 0, whose)
        require(0 < low <= high, f"LCM: guidance needs 0 < min <= max, got {low}..{high}. 1 is no guidance.")
        check_fields(self, "LCM: ", counts=("solver_steps",), positive=("huber_c",))
        inside = 1 <= self.segments <= grid
        require(inside, f"TSCD: segments must lie in 1..{grid} (the grid's points), got {self.segments}.")
        require(self.end != "clean" or self.segments == 1, "TSCD: only a single segment can end at the clean picture.")


def distance(a: Tensor, b: Tensor, kind: str, c: float = 0.001) -> Tensor:
    """d(a, b): mean squared error, or pseudo-Huber mean(sqrt((a - b)^2 + c^2) - c), in fp32."""
    difference = a.float() - b.float()
    if kind == "l2":
        return difference.square().mean()
    return ((difference.square() + c**2).sqrt() - c).mean()


def guided(roles, role: str, y: Tensor, sigma: Tensor, batch: Batch, scale: Tensor | float) -> Tensor:
    """Classifier-free guidance x0_u + scale (x0_c - x0_u), both in one doubled batch. scale: [b], or one for all."""
    scale = torch.as_tensor(scale, dtype=sigma.dtype, device=sigma.device)
    if bool((scale == 1).all()):
        return roles(role, y, sigma, batch.cond)
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

    DPM-Solver-2 (Lu et al. 2022) keeps the noise of the middle for the step, DPM-Solver++(2S) its x0.
    """
    middle = torch.minimum(torch.maximum(path.between(t, s), s), t)
    there = path.move(y, x0, t, middle)
    x0 = x0_at(there, middle)
    if solver == "dpmsolver++":
        return path.move(y, x0, t, s)
    eps = path.eps(there, x0, middle)
    clean = (y - expand(path.sigma(t), y) * eps) / expand(path.alpha(t).clamp(min=1e-6), y)
    return path.noise(clean, eps, s)


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


def consistency_pair(roles, path: Path, batch: Batch, options: ConsistencyOptions) -> tuple[Tensor, Tensor, Tensor]:
    """(student's jump, target's jump without gradient, end): both in the papers' coordinates at the timesteps end."""
    t, s, end = trajectory(path, batch, options)  # t_n, t_n-1 and t_end of Hyper-SD's algorithm 1
    scale = options.guidance_min + batch.uniform[:, GUIDANCE] * (options.guidance_max - options.guidance_min)
    cond = {**batch.cond, "w": scale - 1} if options.guidance_embedding else batch.cond
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
    found = distance(predicted, target, options.loss, options.huber_c)
    window = path.timesteps // options.segments
    fooling, logs = generator_loss(roles, path, batch, predicted, end, window, options.adversarial)
    return options.distance * found + fooling, {"consistency": found.detach(), **logs}
