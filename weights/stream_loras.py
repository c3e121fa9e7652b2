"""Two LoRA files interpolated exactly, from file to file: ranks side by side, module by module.

    lambda a B_a A_a + (1 - lambda) b B_b A_b = s [f_a B_a, f_b B_b] [A_a; A_b],  s = max(|lambda a|, |(1 - lambda) b|)

with a, b = alpha / r of the files. s goes into the new alpha; so the downs, and the up of the larger part (|f| = 1),
are copied as they are, and only the other up is multiplied and rounded.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor

from . import checks, keys, merge, peft_alpha, stream
from .merge import Delta
from .stream import Header, Reader, Stored

EXACT_IN = {torch.float8_e4m3fn: torch.float16, torch.float8_e5m2: torch.float16}


@dataclass(frozen=True)
class Factor(Stored):
    """One factor of a file, unread."""

    reader: Reader

    def rows(self, first: int, count: int) -> Tensor:
        """[count, numbers in a row]"""
        width = math.prod(self.shape[1:])
        return self.reader.read(self, first * width, count * width).view(count, width)


@dataclass(frozen=True)
class Merged:
    """One module of the result."""

    name: str
    parts: list[Delta]
    dtype: torch.dtype

    @property
    def rank(self) -> int:
        return sum(part.rank for part in self.parts)


def interpolate(
    a: Path,
    b: Path,
    weight: float,
    target: Path,
    metadata: Callable[[str, str], dict[str, str]],
    *,
    dtype: torch.dtype | None = None,
    on_bytes: Callable[[int, int], None] = lambda done, total: None,
) -> list[Merged]:
    """Write lambda A + (1 - lambda) B in kohya's keys, whatever the formats; lambda may lie beyond 0..1.

    dtype None: the narrowest that holds both files' factors exactly. metadata and on_bytes: as `stream.write` has them.
    Raises ValueError, naming the file, for what cannot be merged; OSError when the disk refuses.
    """
    first, second = stream.read_header(a), stream.read_header(b)
    with Reader(first) as x, Reader(second) as y:
        parts = [(unread(x, first), weight), (unread(y, second), 1 - weight)]
        modules = [Merged(name, found, dtype or storage(found)) for name, found in merge.pieces(parts).items()]
        written = dict(sorted(contents(modules), key=lambda item: -item[1][0].itemsize))  # aligned, as readers like it
        tensors = {
            name: (stream.NAMES[kind], shape, math.prod(shape) * kind.itemsize)
            for name, (kind, shape, _) in written.items()
        }
        numbers = (checked(piece, name) for name, (_, _, made) in written.items() for piece in made)
        stream.write(target, tensors, stream.closing(numbers, x, y), [a, b], metadata, on_bytes)
    return modules


def unread(reader: Reader, header: Header) -> dict[str, Delta]:
    """{module: its delta}, of which only alpha is read."""
    try:
        given = keys.to_kohya(peft_alpha.with_alphas(header.entries, header.metadata))
        tensors = {name: unread_factor(name, reader, entry) for name, entry in given.items()}
        checks.check_parts(tensors)
    except ValueError as error:
        raise ValueError(f'"{header.path.name}": {error}') from error
    return merge.deltas(tensors, header.path.name)


def unread_factor(name: str, reader: Reader, entry: Stored | Tensor) -> Factor | Tensor:
    """An alpha as the number it is (PEFT's stand in the header and are known already), everything else unread."""
    if isinstance(entry, Tensor):
        return entry
    if not name.endswith(".alpha"):
        return Factor(**vars(entry), reader=reader)
    kind = entry.dtype or stream.INTEGERS.get(entry.kind)
    if entry.numel() != 1 or kind is None:
        raise ValueError(f"{name} is {list(entry.shape)} in {entry.kind}, which is no scale. Get the file again.")
    return reader.read(entry).clone().view(kind)


def storage(parts: list[Delta]) -> torch.dtype:
    """The narrowest precision that holds the factors exactly: fp8 as fp16, fp16 beside bf16 as fp32."""
    return reduce(torch.promote_types, (EXACT_IN.get(f.dtype, f.dtype) for part in parts for f in (part.up, part.down)))


def contents(modules: list[Merged]) -> Iterator[tuple[str, tuple[torch.dtype, tuple, Iterator[Tensor]]]]:
    """{key: (dtype, shape, its numbers, made when asked for)}"""
    for module in modules:
        up, down, scale = module.parts[0].up, module.parts[0].down, merge.common_scale(module.parts)
        yield f"{module.name}.alpha", (torch.float32, (), iter([torch.tensor(scale * module.rank)]))
        shape = (up.shape[0], module.rank, *up.shape[2:])
        yield f"{module.name}.lora_up.weight", (module.dtype, shape, ups(module, scale))
        yield f"{module.name}.lora_down.weight", (module.dtype, (module.rank, *down.shape[1:]), downs(module))


def ups(module: Merged, scale: float) -> Iterator[Tensor]:
    """[f_a B_a, f_b B_b], some rows at a time."""
    count = module.parts[0].up.shape[0]
    some = max(1, stream.CHUNK // sum(math.prod(part.up.shape[1:]) for part in module.parts))
    for first in range(0, count, some):
        rows = [(part.up.rows(first, min(some, count - first)), part.scale / scale) for part in module.parts]
        yield torch.cat([converted(numbers, factor, module.dtype) for numbers, factor in rows], dim=1)


def downs(module: Merged) -> Iterator[Tensor]:
    """[A_a; A_b]"""
    for part in module.parts:
        for numbers in part.down.reader.chunks(part.down):
            yield converted(numbers, 1.0, module.dtype)


def converted(numbers: Tensor, factor: float, dtype: torch.dtype) -> Tensor:
    """factor x numbers, calculated in fp32 and rounded once; untouched where there is nothing to do."""
    if numbers.dtype == dtype:
        return numbers if factor == 1 else numbers * factor
    return (numbers.float() * factor).to(dtype)


def checked(numbers: Tensor, name: str) -> Tensor:
    if not checks.finite(numbers):
        kind = str(numbers.dtype).removeprefix("torch.")
        raise ValueError(
            f"{name} holds NaN or infinite numbers, or numbers too large for {kind}. "
            "Get the files again, or choose fp32."
        )
    return numbers
