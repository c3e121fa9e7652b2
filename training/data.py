"""Examples and batches. A sample's picture, noise and random numbers depend on (seed, its global index) alone, so that
resuming needs no generator state and the number of processes does not matter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import lcm

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..samplers.noise import generator_for
from .batch import Batch
from .checks import require
from .order import Buckets

UNIFORMS = 8  # random numbers in 0..1 that a term may use for each sample


class Lazy(Sequence):
    """A sequence whose items are made, or read from a disk, when they are asked for."""

    def __init__(self, count: int, make: Callable[[int], object]):
        self.count, self.make = count, make

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int):
        if not 0 <= index < self.count:
            raise IndexError(index)
        return self.make(index)


@dataclass
class Examples:
    """latents: clean ones [c, h, w] in the model's scale, by example; prompts: [n] index into conds.

    A cond is a dict of tensors [1, ...], the keywords of the denoiser; uncond: the empty prompt's, or one for each cond
    where sizes are part of it. texts: the prompt of each cond. A run on prompts alone has no latents, only their shape
    (c, h, w). buckets: where latents have several shapes; shape is then the largest. instances(index, h, w): the masks
    of a picture at that size. noises: what the teacher drew each latent from, where it did.
    """

    latents: Sequence[Tensor] | Tensor | None
    prompts: Sequence[int]
    conds: Sequence[dict[str, Tensor]]
    uncond: dict[str, Tensor] | Sequence[dict[str, Tensor]]
    texts: Sequence[str] | None = None
    shape: tuple[int, ...] | None = None
    buckets: Buckets | None = None
    instances: Callable[[int, int, int], object] | None = None
    noises: Sequence[Tensor] | None = None

    def __post_init__(self):
        require(
            len(self.prompts) > 0, "There is nothing to train on: no latents. Give pictures, or prompts to make some."
        )
        if self.latents is None:
            require(self.shape is not None, "A run on prompts alone needs the shape of its latents.")
        else:
            require(len(self.latents) == len(self.prompts), "Every latent needs a prompt.")
        if isinstance(self.latents, Tensor):
            finite = bool(torch.isfinite(self.latents).all())
            require(finite, "The latents hold NaN or infinity. Check the VAE and pictures.")
            self.shape = tuple(self.latents.shape[1:])
        if self.buckets is None:
            self.buckets = Buckets((range(len(self)),), (self.shape,))
        self.shape = max(self.buckets.shapes, key=lambda shape: torch.Size(shape).numel())

    def __len__(self) -> int:
        return len(self.prompts)

    def empty(self, index: int) -> dict[str, Tensor]:
        """The empty prompt's cond for one example."""
        return self.uncond if isinstance(self.uncond, dict) else self.uncond[self.prompts[index]]


def repeated(texts: list[Tensor]) -> list[Tensor]:
    """Texts [1, n, c] of unequal length repeated to a common one, as the host joins prompts."""
    length = lcm(*{text.shape[1] for text in texts})
    return [text if text.shape[1] == length else text.repeat(1, length // text.shape[1], 1) for text in texts]


def padded(texts: list[Tensor]) -> list[Tensor]:
    """Texts [1, n, ...] of unequal length with zeros behind; their own lengths are in the cond (`tokens`)."""
    length = max(text.shape[1] for text in texts)
    return [pad(text, (*(0, 0) * (text.ndim - 2), 0, length - text.shape[1])) for text in texts]


def join_conds(conds: list[dict[str, Tensor]], device: torch.device) -> dict[str, Tensor]:
    """Keyword tensors of several prompts as one batch on the device."""
    level = padded if "tokens" in conds[0] else repeated
    columns = {name: [cond[name] for cond in conds] for name in conds[0]}
    return {name: torch.cat(level(some) if some[0].ndim > 1 else some).to(device) for name, some in columns.items()}


def make_batch(
    examples: Examples,
    seed: int,
    start: int,
    count: int,
    device: torch.device,
    step: int = 0,
    stream: str = "sample",
    whole: int | None = None,
    steps: int = 0,
) -> Batch:
    """The samples start .. start + count - 1 of the run. Each stream has random numbers of its own on the same data.

    whole: samples in the batch that these are a process's part of, when they are a part. step, steps: of the run.
    """
    shape, chosen = examples.buckets.pick(seed, start, count, whole or count)
    conds = [examples.conds[examples.prompts[i]] for i in chosen]
    both = join_conds([*conds, *map(examples.empty, chosen)], device)

    def fresh(name: str) -> Tensor:
        generators = [generator_for(name, stream, seed, n) for n in range(start, start + count)]
        return torch.stack([torch.randn(shape, generator=g) for g in generators]).to(device)

    generators = [generator_for(stream, seed, n) for n in range(start, start + count)]
    drawn_from = None if examples.latents is None else examples.noises
    return Batch(
        latents=None if examples.latents is None else torch.stack([examples.latents[i] for i in chosen]).to(device),
        noise=torch.stack([torch.randn(shape, generator=g) for g in generators]).to(device),
        uniform=torch.stack([torch.rand(UNIFORMS, generator=g) for g in generators]).to(device),
        cond={name: value[:count] for name, value in both.items()},
        uncond={name: value[count:] for name, value in both.items()},
        fresh=fresh,
        prompts=examples.texts and [examples.texts[examples.prompts[i]] for i in chosen],
        step=step,
        steps=steps,
        image_noise=None if drawn_from is None else torch.stack([drawn_from[i] for i in chosen]).to(device),
        instances=examples.instances and (lambda h, w: [examples.instances(i, h, w) for i in chosen]),
    )
