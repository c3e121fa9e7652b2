"""The processes that train one run together: each its part of every batch, their gradients and numbers averaged.

Every process holds the whole network and takes the same steps; the first alone reads and writes the run's folder. The
package accelerate is imported by `launched` alone, under a launcher that starts several processes.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby

import torch
from torch import Tensor, nn

from . import sharding
from .checks import require

BUCKET = 1 << 25  # numbers averaged at once: 128 MiB in fp32, of which the transfer holds a second copy
# The others wait while the first draws the data or a preview. A process that is lost is noticed by its launcher.
PATIENCE = timedelta(days=2)


@dataclass(frozen=True)
class Alone:
    """One process: nothing is sent, and nothing is changed."""

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.index == 0

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Each gradient becomes its mean over the processes, whose parts of the batch are equally large."""

    def average(self, numbers: dict[str, float]) -> dict[str, float]:
        """Each number's mean over the processes that have it."""
        return numbers

    def from_first(self, number: int, tensors: dict[str, Tensor]) -> tuple[int, dict[str, Tensor]]:
        """What the first process has, on the CPU; the others' own is not looked at."""
        return number, tensors

    def wait(self) -> None:
        """Until every process is here."""


@dataclass(frozen=True)
class Together(Alone):
    """device: whose memory the transfers go through (NCCL knows no other than its GPU's)."""

    device: torch.device = torch.device("cpu")

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        from accelerate.utils import reduce

        # In the same order everywhere. One that a process did not need (no picture of its part had a mask) is 0 there.
        for p in (parameters := list(parameters)):
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        # Those of parted weights are means already: FSDP2 averages while it parts them.
        for bucket in buckets([p.grad for p in parameters if not sharding.is_part(p)]):
            mean = reduce(torch.cat([gradient.flatten() for gradient in bucket]), "mean")
            parts = mean.split([gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts):
                gradient.copy_(part.view_as(gradient))

    def average(self, numbers: dict[str, float]) -> dict[str, float]:
        from accelerate.utils import gather_object

        everyone = gather_object([numbers])
        found = {name: [own[name] for own in everyone if name in own] for own in everyone for name in own}
        return {name: sum(values) / len(values) for name, values in found.items()}

    def from_first(self, number: int, tensors: dict[str, Tensor]) -> tuple[int, dict[str, Tensor]]:
        from accelerate.utils import broadcast, broadcast_object_list

        said = [(number, [(name, tensor.shape, tensor.dtype) for name, tensor in tensors.items()])]
        number, layout = broadcast_object_list(said)[0]
        found = {}
        for name, shape, dtype in layout:
            own = tensors[name] if self.first else torch.empty(shape, dtype=dtype)
            found[name] = broadcast(own.to(self.device).contiguous()).cpu()
        return number, found

    def wait(self) -> None:
        from accelerate.utils import wait_for_everyone

        wait_for_everyone()


ALONE = Alone()


def buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours of one dtype, together at most BUCKET numbers (or one larger tensor)."""
    for _, alike in groupby(tensors, key=lambda tensor: tensor.dtype):
        bucket, size = [], 0
        for tensor in alike:
            if bucket and size + tensor.numel() > BUCKET:
                yield bucket
                bucket, size = [], 0
            bucket.append(tensor)
            size += tensor.numel()
        yield bucket


def launched(cpu: bool = False) -> Alone:
    """This process's place among those of `accelerate launch` or torchrun, its GPU made current; else ALONE.

    To be called before model code is imported, which asks for the current device. Raises ValueError without accelerate.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return ALONE
    try:
        from accelerate import PartialState
        from accelerate.utils import parse_flag_from_env
    except ImportError as error:
        raise ValueError(
            "Several processes train together by the package accelerate, which is not installed here. Install it "
            "(pip install accelerate), or start one process."
        ) from error
    state = PartialState(cpu=cpu or bool(parse_flag_from_env("ACCELERATE_USE_CPU")), timeout=PATIENCE)
    expected = int(os.environ["WORLD_SIZE"])
    require(
        state.num_processes == expected,
        f"The launcher started {expected} processes, but accelerate sees {state.num_processes}. Each process needs a "
        "device of its own; for CPUs set ACCELERATE_USE_CPU=true.",
    )
    return Together(state.process_index, state.num_processes, state.device)
