"""Two checkpoint files interpolated tensor by tensor, in a few megabytes of memory."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from . import checks, stream
from .stream import Header, Reader

SCALES = ("scaled_fp8", ".scale_weight", ".weight_scale", ".comfy_quant")


def check_pair(a: Header, b: Header, keep: bool) -> None:
    """Refuse files that do not belong together. keep: weights in one file alone are allowed, and kept as they are."""
    lone = sorted(set(a.entries) ^ set(b.entries))
    both = sorted(set(a.entries) & set(b.entries))
    other = [name for name in both if a.entries[name].shape != b.entries[name].shape]
    if not both or other:
        example = (
            f"{other[0]} is {list(a.entries[other[0]].shape)} and {list(b.entries[other[0]].shape)}"
            if other
            else "no name in common"
        )
        raise ValueError(
            f'"{a.path.name}" and "{b.path.name}" are of different architectures: {example}. Only files of one '
            "architecture can be interpolated."
        )
    strange = sorted({e.kind for h in (a, b) for e in h.entries.values() if e.kind[0] == "F" and not e.dtype})
    if strange:
        raise ValueError(f"{', '.join(strange)} weights cannot be interpolated. Convert the files to fp16 or bf16.")
    if lone and not keep:
        raise ValueError(
            f'{len(lone)} weights are in only one of "{a.path.name}" and "{b.path.name}", such as {lone[0]}. '
            "Turn keep_others on to take them over as they are."
        )


def interpolate(
    a: Path,
    b: Path,
    weight: float,
    target: Path,
    metadata: Callable[[str, str], dict[str, str]],
    *,
    keep: bool = False,
    on_bytes: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write lambda A + (1 - lambda) B, every tensor in A's precision; returns the number of tensors.

    metadata and on_bytes: as `stream.write` has them. Raises ValueError when the files do not fit, OSError when the
    disk refuses.
    """
    first, second = stream.read_header(a), stream.read_header(b)
    check_pair(first, second, keep)
    entries = {**first.entries, **{name: e for name, e in second.entries.items() if name not in first.entries}}
    tensors = {name: (e.kind, e.shape, e.end - e.start) for name, e in entries.items()}
    with Reader(first) as x, Reader(second) as y:
        mixed = (piece for name in entries for piece in mixture(name, first, second, x, y, weight))
        stream.write(target, tensors, stream.closing(mixed, x, y), [a, b], metadata, on_bytes)
    return len(entries)


def mixture(name: str, first: Header, second: Header, x: Reader, y: Reader, weight: float) -> Iterator[Tensor]:
    """The numbers of one tensor of the result. Whole numbers (positions, counters) are A's."""
    one, two = first.entries.get(name), second.entries.get(name)
    if one is None or two is None or not (one.dtype and two.dtype):
        yield from x.chunks(one) if one else y.chunks(two)
        return
    for start in range(0, one.numel(), stream.CHUNK):
        count = min(stream.CHUNK, one.numel() - start)
        mixed = lerp(y.read(two, start, count), x.read(one, start, count), weight)
        if torch.isnan(torch.aminmax(mixed if mixed.element_size() > 1 else mixed.float())[0]):
            raise ValueError(f"{name} holds NaN or infinite numbers in one of the files. Get it again.")
        yield mixed


def lerp(y: Tensor, x: Tensor, weight: float) -> Tensor:
    """weight x + (1 - weight) y in x's precision, calculated in fp32 and rounded once.

    torch's own kernel does so for two tensors of one 16-bit kind, many times faster than a way over fp32 copies.
    """
    if x.dtype == y.dtype and x.element_size() > 1:
        return torch.lerp(y, x, weight)
    return torch.lerp(y.float(), x.float(), weight).to(x.dtype)


def rewrite(source: Path, target: Path, prefix: str = "", dtype: torch.dtype | None = None) -> None:
    """The same weights under names without `prefix` and in another precision, a chunk at a time.

    Raises ValueError for quantised files, whose numbers mean nothing without their scales, and for too large numbers.
    """
    header = stream.read_header(source)
    scaled = [name for name in header.entries if name.endswith(SCALES)]
    if dtype and scaled:
        raise ValueError(f"the weights are quantised ({scaled[0]}): they can only be saved as loaded.")
    kinds = {name: dtype if dtype and e.dtype else e.dtype for name, e in header.entries.items()}
    tensors = {
        name.removeprefix(prefix): (stream.NAMES[kinds[name]], e.shape, e.numel() * kinds[name].itemsize)
        if kinds[name]
        else (e.kind, e.shape, e.end - e.start)
        for name, e in header.entries.items()
    }
    with Reader(header) as reader:
        pieces = (
            cast(piece, kinds[name], name) for name, entry in header.entries.items() for piece in reader.chunks(entry)
        )
        stream.write(target, tensors, pieces, [], lambda: header.metadata)


def cast(numbers: Tensor, dtype: torch.dtype | None, name: str) -> Tensor:
    if dtype is None or numbers.dtype == dtype:
        return numbers
    made = numbers.to(dtype)
    if not checks.finite(made) and checks.finite(numbers):
        kind = str(dtype).removeprefix("torch.")
        raise ValueError(f"{name} holds numbers too large for {kind}. Choose bf16 or fp32.")
    return made
