"""The student's own few steps from pure noise, as at sampling time, without gradient."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..samplers.schedule import expand
from .batch import STEP, Batch
from .path import Path


def student_step(batch: Batch, timesteps: Sequence[int], column: int = STEP) -> tuple[Tensor, Tensor]:
    """(which of the student's timesteps each sample stands on, that timestep), both [b]."""
    index = batch.randint(column, len(timesteps))
    return index, torch.tensor(timesteps, device=index.device)[index]


@torch.no_grad()
def rollout(
    roles,
    path: Path,
    batch: Batch,
    timesteps: Sequence[int] | Tensor,
    index: Tensor,
    how: str = "corrected",
    role: str = "student",
    start: Tensor | None = None,
) -> Tensor:
    """y at timesteps[index] of each sample, reached by the student from noise, or from `start` at the first of them.
    index 0 is the start: nothing is run. timesteps: one list, or one for each sample, [b, n].

    how: "corrected": deterministic DDIM steps, the first noise-corrected (Imagine Flash, section 3.3); "ddim": without
    correction; "fresh": new noise after every step (consistency sampling; DMD2's backward simulation). Only the
    samples that go on are computed.
    """
    grid = torch.as_tensor(timesteps, device=index.device).expand(len(index), -1)  # [b, n]
    y = path.from_paper(batch.noise, grid[:, 0]) if start is None else start
    for step in range(batch.longest(int(index.max()))):
        going = torch.nonzero(index > step).flatten()
        if not len(going):  # a pass for the other processes, which need this one's part of the network
            roles(role, y[:1], path.sigma(grid[:1, 0]), {name: value[:1] for name, value in batch.cond.items()})
            continue
        t, s = (grid[going, n] for n in (step, step + 1))
        x0 = roles(role, y[going], path.sigma(t), {name: value[going] for name, value in batch.cond.items()})
        if how == "fresh":
            eps = batch.fresh(f"rollout-{step}")[going]
        elif how == "corrected":
            eps = own_noise(path, batch.noise[going], y[going], x0, t)
        else:
            eps = path.eps(y[going], x0, t)
        y = y.index_copy(0, going, path.noise(x0, eps, s))
    return y


def own_noise(path: Path, noise: Tensor, y: Tensor, x0: Tensor, t: Tensor) -> Tensor:
    """The trajectory's own noise: the drawn one at the top (noise correction), below it eps(y, x0, t)."""
    return torch.where(expand(t == path.timesteps - 1, y), noise, path.eps(y, x0, t))
