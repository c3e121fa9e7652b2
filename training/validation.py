"""How far a student's few steps end from the teacher's many, from noise that is in no batch."""

import torch
from torch import Tensor

from .batch import Batch
from .path import Path
from .rollout import rollout
from .teacher import solve


class HeldOut:
    """Trajectory error: mean ||x0_student - x0_teacher||^2 from the same noise, for methods that keep the teacher's
    trajectories (LCM, TSCD, Imagine Flash; score matching keeps the distribution alone).

    batch: drawn from a stream of its own; timesteps: the student's; the teacher takes `steps` guided DDIM steps.
    """

    def __init__(self, path: Path, batch: Batch, timesteps: list[int], guidance: float, steps: int):
        self.path, self.batch, self.timesteps = path, batch, timesteps
        self.guidance, self.steps, self.truth = guidance, steps, None

    @torch.no_grad()
    def error(self, roles, role: str) -> float:
        """Of one role's weights as they are now."""
        if self.truth is None:
            self.truth = self.teacher(roles)
        last = torch.full_like(self.batch.clean, len(self.timesteps) - 1)
        y = rollout(roles, self.path, self.batch, self.timesteps, last, "ddim", role)
        t = torch.full_like(last, self.timesteps[-1])
        x0 = roles(role, y, self.path.sigma(t), self.batch.cond)
        return float((x0 - self.truth).square().mean())

    def teacher(self, roles) -> Tensor:
        top = torch.full_like(self.batch.clean, self.path.timesteps - 1)
        start = self.path.from_paper(self.batch.noise, top)
        return solve(roles, self.path, self.batch, start, top, self.batch.clean, self.guidance, self.steps)
