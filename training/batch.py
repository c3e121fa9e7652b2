"""One micro-batch of a run: what a term may look at."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .checks import require

# Which of a sample's random numbers says what. STEP, one of the student's own, is for terms that draw no guidance.
TIME, GUIDANCE, END, LEVEL, DROP, CHANCE = range(6)
STEP = GUIDANCE


@dataclass
class Batch:
    """noise: [b, c, h, w], unit variance; cond, uncond: what the denoiser takes; uniform: [b, n] in 0..1.

    latents: clean images [b, c, h, w] in the model's scale, or None in a run on prompts alone; image_noise: the noise
    that the teacher drew each from, where it did; prompts: their texts, for terms that read them. fresh(name): unit
    noise like `noise`, another for every name. step of steps: optimizer steps done, and in all, for schedules.
    instances(h, w): the masks of each image at that size, where the data has images.
    longest(passes): the most that any process takes, where each needs the others' parts of the network (FSDP2).
    Every random number of a sample depends on (seed, its global index, a name) alone.
    """

    latents: Tensor | None
    noise: Tensor
    cond: dict[str, Tensor]
    uncond: dict[str, Tensor]
    uniform: Tensor
    fresh: Callable[[str], Tensor]
    prompts: list[str] | None = None
    step: int = 0
    instances: Callable[[int, int], list] | None = None
    image_noise: Tensor | None = None
    steps: int = 0
    longest: Callable[[int], int] = int

    @property
    def x0(self) -> Tensor:
        """The pictures. Raises ValueError in a run that has none."""
        require(
            self.latents is not None,
            "This method trains on pictures, but the data has prompts alone. Give FewStepDataset a folder or a count.",
        )
        return self.latents

    @property
    def clean(self) -> Tensor:
        """t = -1 for every sample: the clean end."""
        return torch.full((len(self),), -1, device=self.noise.device)

    def randint(self, column: int, count: Tensor | int) -> Tensor:
        """One of 0 .. count - 1 for each sample, [b]: u is at most 1 - 2^-24, so that fp32 never rounds u n up to n."""
        return (self.uniform[:, column] * count).long()

    def __len__(self) -> int:
        return len(self.noise)
