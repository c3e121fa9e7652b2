"""Which examples a batch is made of: a pure function of (seed, global sample index), with or without buckets."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..samplers.noise import generator_for
from .checks import require


@lru_cache(maxsize=4)  # three million prompts take a third of a second to shuffle, and every batch asks
def order(seed: int, epoch: int, count: int, *key) -> Tensor:
    """The permutation of the examples in one epoch."""
    return torch.randperm(count, generator=generator_for("order", seed, epoch, *key))


def indices_of(seed: int, start: int, count: int, examples: int, *key) -> list[int]:
    """Which examples the samples start .. start + count - 1 are; every epoch shows each example once."""
    first, last = start // examples, (start + count - 1) // examples
    epochs = {epoch: order(seed, epoch, examples, *key) for epoch in range(first, last + 1)}
    return [int(epochs[n // examples][n % examples]) for n in range(start, start + count)]


@dataclass(frozen=True)
class Buckets:
    """Examples by the shape [c, h, w] of their latents: every batch is of one bucket, and every batch is full.

    A bucket goes through its examples in epochs of its own, each in a new order; what its last batch lacks comes from
    its next epoch. So every picture is seen once in each epoch of its bucket, and after e epochs of the whole data
    bucket b has had floor(e n_b / batch) batches: no bucket is ever ahead by a batch.
    """

    groups: Sequence[Sequence[int]]
    shapes: Sequence[tuple[int, ...]]

    def pick(self, seed: int, start: int, count: int, batch: int) -> tuple[tuple[int, ...], list[int]]:
        """(shape, examples) of the samples start .. start + count - 1, a batch or a process's part of it."""
        if len(self.groups) == 1:
            return self.shapes[0], [self.groups[0][i] for i in indices_of(seed, start, count, len(self.groups[0]))]
        require(start % batch + count <= batch, f"The samples {start} .. {start + count - 1} are of several batches.")
        bucket, turn = self.turn(seed, start // batch, batch)
        group, first = self.groups[bucket], turn * batch + start % batch
        return self.shapes[bucket], [group[i] for i in indices_of(seed, first, count, len(group), bucket)]

    def turn(self, seed: int, number: int, batch: int) -> tuple[int, int]:
        """(bucket, how many batches it had before) of a run's batch `number`."""
        epoch = number * batch // sum(map(len, self.groups))
        while sum(self.had(epoch + 1, batch)) <= number:
            epoch += 1
        before, after = self.had(epoch, batch), self.had(epoch + 1, batch)
        labels = torch.repeat_interleave(torch.tensor([b - a for a, b in zip(before, after)]))
        labels = labels[order(seed, epoch, len(labels), "buckets")]
        place = number - sum(before)
        bucket = int(labels[place])
        return bucket, before[bucket] + int((labels[:place] == bucket).sum())

    def had(self, epoch: int, batch: int) -> list[int]:
        """Batches of each bucket before an epoch."""
        return [epoch * len(group) // batch for group in self.groups]
