"""The weights with the smallest held-out error, kept in the run folder while the run goes on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...training.data import Examples, make_batch
from ...training.path import Path
from ...training.roles import LoraRoles
from ...training.validation import HeldOut
from .job import Job

SAMPLES = 8  # of the held-out error


@dataclass(frozen=True)
class Best:
    """Looks at the kept role's weights when it is asked to."""

    job: Job
    roles: LoraRoles
    held_out: HeldOut

    @classmethod
    def of(cls, job: Job, roles: LoraRoles, path: Path, examples: Examples, device: torch.device) -> "Best":
        """On samples of noise that no batch has, at the student's own timesteps."""
        batch = make_batch(examples, job.config.seed, 0, SAMPLES, device, stream="held-out")
        return cls(job, roles, HeldOut(path, batch, job.timesteps, job.spec.teacher_cfg, 2 * job.spec.teacher_steps))

    def look(self, step: int) -> None:
        error = self.held_out.error(self.roles, self.job.kept_role)
        if error < self.job.folder.best_error():
            self.job.folder.save_best(step, error, self.roles.parameters(self.job.kept_role))

    def weights(self) -> dict[str, Tensor]:
        """The best ones, or those in memory when no step was measured (a finished run, queued again)."""
        if self.job.folder.best_error() == float("inf"):
            return self.roles.parameters(self.job.kept_role)
        return self.job.folder.load_best()[0]
