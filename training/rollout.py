"""The student's own few steps from pure noise, as at sampling time, without gradient."""

import torch
from torch import Tensor

from .batch import Batch
from .path import Path


def rows(value, keep: Tensor):
    """Some samples of a conditioning."""
    return {key: rows(inner, keep) for key, inner in value.items()} if isinstance(value, dict) else value[keep]


def grid_index(batch: Batch, count: int, column: int = 0) -> Tensor:
    """Which of `count` student timesteps each sample stands on, [b]."""
    return (batch.uniform[:, column] * count).long().clamp(max=count - 1)


@torch.no_grad()
def rollout(
    roles,
    path: Path,
    batch: Batch,
    timesteps: list[int],
    index: Tensor,
    how: str = "corrected",
    role: str = "student",
) -> Tensor:
    """y at timesteps[index] of each sample, reached from noise by the student. index 0 is the start: nothing is run.

    how: "corrected": deterministic DDIM steps, the first noise-corrected (Imagine Flash, section 3.3); "ddim": without
    correction; "fresh": new noise after every step (consistency sampling; DMD2's backward simulation). Only the
    samples that go on are computed.
    """
    grid = torch.tensor(timesteps, device=index.device)
    y = path.start(batch.noise, grid[:1].expand(len(index)))
    for step in range(int(index.max())):
        going = torch.nonzero(index > step).flatten()
        t, s = grid[step].expand(len(going)), grid[step + 1].expand(len(going))
        x0 = roles(role, y[going], path.sigma(t), rows(batch.cond, going))
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
    top = (t == path.timesteps - 1).view(-1, *[1] * (y.ndim - 1))
    return torch.where(top, noise, path.eps(y, x0, t))
