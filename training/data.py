"""Examples and batches. A sample's picture, noise and random numbers depend on (seed, its global index) alone, so that
resuming needs no generator state and the number of processes does not matter."""

from dataclasses import dataclass
from math import lcm

import torch
from torch import Tensor

from ..samplers.noise import generator_for
from .batch import Batch
from .config import require

UNIFORMS = 8  # random numbers in 0..1 that a term may use for each sample


@dataclass
class Examples:
    """latents: [n, c, h, w] clean and in the model's scale; prompts: [n] index into conds; uncond: the empty prompt.

    A cond is a dict of tensors [1, ...], the keywords of the denoiser; texts: the prompt of each cond. A run on prompts
    alone has no latents, only their shape (c, h, w).
    """

    latents: Tensor | None
    prompts: list[int]
    conds: list[dict[str, Tensor]]
    uncond: dict[str, Tensor]
    texts: list[str] | None = None
    shape: tuple[int, ...] | None = None

    def __post_init__(self):
        require(
            len(self.prompts) > 0, "There is nothing to train on: no latents. Give pictures, or prompts to make some."
        )
        if self.latents is None:
            require(self.shape is not None, "A run on prompts alone needs the shape of its latents.")
            return
        require(len(self.latents) == len(self.prompts), "Every latent needs a prompt.")
        require(
            bool(torch.isfinite(self.latents).all()), "The latents hold NaN or infinity. Check the VAE and pictures."
        )
        self.shape = tuple(self.latents.shape[1:])

    def __len__(self) -> int:
        return len(self.prompts)


def join_keyword(tensors: list[Tensor]) -> Tensor:
    """[1, ...] tensors as one batch; text of unequal length is repeated to a common one, as the host joins prompts."""
    if tensors[0].ndim == 3:
        length = lcm(*{tensor.shape[1] for tensor in tensors})
        tensors = [tensor.repeat(1, length // tensor.shape[1], 1) for tensor in tensors]
    return torch.cat(tensors)


def join_conds(conds: list[dict[str, Tensor]], device: torch.device) -> dict[str, Tensor]:
    """Keyword tensors of several prompts as one batch on the device."""
    return {name: join_keyword([cond[name] for cond in conds]).to(device) for name in conds[0]}


def order(seed: int, epoch: int, count: int) -> Tensor:
    """The permutation of the examples in one epoch."""
    return torch.randperm(count, generator=generator_for("order", seed, epoch))


def indices_of(seed: int, start: int, count: int, examples: int) -> list[int]:
    """Which examples the samples start .. start + count - 1 are; every epoch shows each example once."""
    first, last = start // examples, (start + count - 1) // examples
    epochs = {epoch: order(seed, epoch, examples) for epoch in range(first, last + 1)}
    return [int(epochs[n // examples][n % examples]) for n in range(start, start + count)]


def make_batch(
    examples: Examples, seed: int, start: int, count: int, device: torch.device, step: int = 0, stream: str = "sample"
) -> Batch:
    """The samples start .. start + count - 1 of the run. Each stream has random numbers of its own on the same data."""
    chosen = indices_of(seed, start, count, len(examples))
    conds = [examples.conds[examples.prompts[i]] for i in chosen]
    both = join_conds([*conds, *[examples.uncond] * count], device)

    def draw(name: str) -> Tensor:
        generators = [generator_for(name, stream, seed, n) for n in range(start, start + count)]
        return torch.stack([torch.randn(examples.shape, generator=g) for g in generators]).to(device)

    generators = [generator_for(stream, seed, n) for n in range(start, start + count)]
    return Batch(
        latents=None if examples.latents is None else examples.latents[chosen].to(device),
        noise=torch.stack([torch.randn(examples.shape, generator=g) for g in generators]).to(device),
        uniform=torch.stack([torch.rand(UNIFORMS, generator=g) for g in generators]).to(device),
        cond={name: value[:count] for name, value in both.items()},
        uncond={name: value[count:] for name, value in both.items()},
        prompts=examples.texts and [examples.texts[examples.prompts[i]] for i in chosen],
        step=step,
        draw=draw,
    )
