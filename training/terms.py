"""Terms: pure functions `(roles, path, batch, options) -> (loss, logs)`.

They see x0 and (alpha, sigma) only, so that eps, v and flow models share one line of mathematics.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..samplers.lcm import boundary_scalings
from ..samplers.schedule import expand
from .batch import Batch
from .config import require
from .path import Path


@dataclass(frozen=True, kw_only=True)
class LCMOptions:
    """Latent consistency distillation. Source: Luo et al. 2023 (LCM), algorithm 1; Luo et al. 2023 (LCM-LoRA)."""

    skip: int = 20  # timesteps between the two points of the trajectory (the paper's k)
    grid: int = 50  # points of the training grid, 50 = timesteps 19, 39, ..., 999
    solver_steps: int = 1  # DDIM steps of the teacher within one skip; more for long skips
    guidance_min: float = 8.5  # usual guidance scale (the papers' w + 1) baked into the student, drawn uniformly
    guidance_max: float = 8.5  # LCM-LoRA fixes w = 7.5; LCM draws w in 2..14
    loss: str = "huber"  # "huber" or "l2"
    huber_c: float = 0.001
    target: str = "student"  # "student" (stop-gradient, as LCM-LoRA) or "ema" (as LCM)
    boundary: bool = True  # c_skip, c_out of the paper

    def __post_init__(self):
        require(
            1 <= self.grid <= 1000 and 1000 % self.grid == 0,
            f"LCM: grid must divide 1000, got {self.grid}. 50 is usual.",
        )
        stride = 1000 // self.grid
        require(
            self.skip >= stride and self.skip % stride == 0,
            f"LCM: skip must be a multiple of {stride} (a step of the grid of {self.grid}), got {self.skip}.",
        )
        require(self.solver_steps >= 1, f"LCM: solver_steps must be at least 1, got {self.solver_steps}.")
        require(
            0 < self.guidance_min <= self.guidance_max,
            f"LCM: guidance needs 0 < min <= max, got {self.guidance_min}..{self.guidance_max}. 1 is no guidance.",
        )
        require(self.loss in ("huber", "l2"), f"LCM: loss must be huber or l2, got {self.loss!r}.")
        require(self.huber_c > 0, f"LCM: huber_c must be positive, got {self.huber_c}.")
        require(self.target in ("student", "ema"), f"LCM: target must be student or ema, got {self.target!r}.")


def distance(a: Tensor, b: Tensor, kind: str, c: float = 0.001) -> Tensor:
    """d(a, b): mean squared error, or pseudo-Huber mean(sqrt((a - b)^2 + c^2) - c), in fp32."""
    difference = a.float() - b.float()
    if kind == "l2":
        return difference.square().mean()
    return ((difference.square() + c**2).sqrt() - c).mean()


def join(first, second):
    """Two conditionings as one doubled batch: tensors are concatenated, dicts key by key."""
    if isinstance(first, dict):
        return {key: join(first[key], second[key]) for key in first}
    return torch.cat([first, second])


def guided(roles, role: str, y: Tensor, sigma: Tensor, cond, uncond, scale: Tensor) -> Tensor:
    """Classifier-free guidance x0_u + scale (x0_c - x0_u), both in one doubled batch. scale: [b]."""
    if bool((scale == 1).all()):
        return roles(role, y, sigma, cond)
    x0_c, x0_u = roles(role, torch.cat([y, y]), torch.cat([sigma, sigma]), join(cond, uncond)).chunk(2)
    return x0_u + expand(scale, y) * (x0_c - x0_u)


def solve(roles, path: Path, batch: Batch, y: Tensor, t: Tensor, s: Tensor, scale: Tensor, steps: int) -> Tensor:
    """The teacher's guided ODE from t to s in `steps` DDIM steps, evenly spaced in timesteps."""
    for step in range(steps):
        here = t + ((s - t) * step) // steps
        there = t + ((s - t) * (step + 1)) // steps
        y = path.move(y, guided(roles, "teacher", y, path.sigma(here), batch.cond, batch.uncond, scale), here, there)
    return y


def consistency_function(roles, role: str, path: Path, y: Tensor, t: Tensor, cond, boundary: bool) -> Tensor:
    """f(x_t, c, t) = c_skip(t) x_t + c_out(t) x0(x_t, c, t); x0 alone without the boundary condition."""
    x0 = roles(role, y, path.sigma(t), cond)
    if not boundary:
        return x0
    c_skip, c_out = boundary_scalings(t.float())
    return expand(c_skip, y) * path.paper_x(y, t) + expand(c_out, y) * x0


def consistency(roles, path: Path, batch: Batch, options: LCMOptions) -> tuple[Tensor, dict]:
    """d( f_student(x_t, t), sg f_target(Psi_teacher(x_t, t -> s), s) ) with s = t - skip on one ODE trajectory."""
    stride = path.timesteps // options.grid
    index = (batch.uniform[:, 0] * options.grid).long().clamp(max=options.grid - 1)
    t = (index + 1) * stride - 1
    s = (t - options.skip).clamp(min=0)
    scale = options.guidance_min + batch.uniform[:, 1] * (options.guidance_max - options.guidance_min)

    y_t = path.noise(batch.x0, batch.noise, t)
    with torch.no_grad():
        y_s = solve(roles, path, batch, y_t, t, s, scale, options.solver_steps)
        role = "target" if options.target == "ema" else "student"
        target = consistency_function(roles, role, path, y_s, s, batch.cond, options.boundary)
    predicted = consistency_function(roles, "student", path, y_t, t, batch.cond, options.boundary)
    loss = distance(predicted, target, options.loss, options.huber_c)
    return loss, {"consistency": loss.detach()}
