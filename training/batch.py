"""One micro-batch of a run: what a term may look at."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .config import require


@dataclass
class Batch:
    """noise: [b, c, h, w], unit variance; cond, uncond: what the denoiser takes; uniform: [b, n] in 0..1.

    latents: clean pictures [b, c, h, w] in the model's scale, or None in a run on prompts alone; prompts: their texts,
    for terms that read them. step: optimizer steps done, for schedules. draw(name): more unit noise like `noise`.
    instances(h, w): the masks of each picture at that size, where the data has pictures.
    Every random number of a sample depends on (seed, its global index, a name) alone.
    """

    latents: Tensor | None
    noise: Tensor
    cond: object
    uncond: object
    uniform: Tensor
    prompts: list[str] | None = None
    step: int = 0
    draw: Callable[[str], Tensor] | None = None
    instances: Callable[[int, int], list] | None = None

    @property
    def x0(self) -> Tensor:
        """The pictures. Raises ValueError in a run that has none."""
        require(
            self.latents is not None,
            "This method trains on pictures, but the data has prompts alone. Give FewStepDataset a folder or a count.",
        )
        return self.latents

    def fresh(self, name: str) -> Tensor:
        """Unit noise like `noise`, another for every name."""
        return self.draw(name) if self.draw else torch.randn_like(self.noise)

    def __len__(self) -> int:
        return len(self.noise)
