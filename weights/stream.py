"""Two checkpoint files interpolated tensor by tensor, in a few megabytes of memory.

A safetensors file is 8 bytes with the header's length, the header as JSON, then the tensors one after another. So the
header of the result is written first and the tensors are filled in, a chunk at a time.
"""

import json
import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

CHUNK = 1 << 20  # numbers at a time: 4 MB in fp32
LARGEST_HEADER = 100 << 20  # bytes; the library's own limit
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


@dataclass(frozen=True)
class Header:
    """Where every tensor lies: {name: (dtype, shape, first byte, last byte)}, bytes counted from the file's start."""

    path: Path
    entries: dict[str, tuple[str, list[int], int, int]]


def read_header(path: Path) -> Header:
    """Raises ValueError with a sentence for anything that is not a whole safetensors file."""
    size = path.stat().st_size
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(LARGEST_HEADER, size):
                raise ValueError(f"its header claims {length} bytes")
            found = json.loads(file.read(length))
        found.pop("__metadata__", None)
        start = 8 + length
        entries = {
            name: (e["dtype"], e["shape"], start + e["data_offsets"][0], start + e["data_offsets"][1])
            for name, e in found.items()
        }
        if entries and max(end for *_, end in entries.values()) > size:
            raise ValueError("it is cut short")
        for name, (dtype, shape, first, last) in entries.items():
            if dtype in DTYPES and last - first != math.prod(shape) * DTYPES[dtype].itemsize:
                raise ValueError(f"{name} has {last - first} bytes, not those of {shape} in {dtype}")
    except (struct.error, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f'"{path.name}" cannot be read as a safetensors file ({error}). Get the file again.'
        ) from error
    return Header(path, entries)


def check_pair(a: Header, b: Header, keep: bool) -> None:
    """Refuse files that do not belong together. keep: weights in one file alone are allowed, and kept as they are."""
    lone = sorted(set(a.entries) ^ set(b.entries))
    both = sorted(set(a.entries) & set(b.entries))
    other = [name for name in both if a.entries[name][1] != b.entries[name][1]]
    if not both or other:
        example = (
            f"{other[0]} is {a.entries[other[0]][1]} and {b.entries[other[0]][1]}" if other else "no name in common"
        )
        raise ValueError(
            f'"{a.path.name}" and "{b.path.name}" are of different architectures: {example}. Only files of one '
            "architecture can be interpolated."
        )
    strange = sorted({e[0] for h in (a, b) for e in h.entries.values() if e[0][0] == "F" and e[0] not in DTYPES})
    if strange:
        raise ValueError(f"{', '.join(strange)} weights cannot be interpolated. Convert the files to fp16 or bf16.")
    if lone and not keep:
        raise ValueError(
            f'{len(lone)} weights are in only one of "{a.path.name}" and "{b.path.name}", such as {lone[0]}. '
            "Turn keep_others on to take them over as they are."
        )


def interpolate_files(
    a: Path,
    b: Path,
    weight: float,
    target: Path,
    metadata: dict[str, str],
    *,
    keep: bool = False,
    on_bytes: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write lambda A + (1 - lambda) B beside its name, then rename. Every tensor keeps A's precision.

    on_bytes(done, total) is called after every chunk and may raise to cancel. Returns the number of tensors. Raises
    ValueError when the files do not fit, OSError when the disk refuses.
    """
    first, second = read_header(a), read_header(b)
    check_pair(first, second, keep)
    entries = {**second.entries, **first.entries}
    sizes = {name: end - start for name, (_, _, start, end) in entries.items()}
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(a, "rb") as file_a, open(b, "rb") as file_b, open(temporary, "wb") as out:
            out.write(packed_header(entries, sizes, metadata))
            done, total = 0, sum(sizes.values())
            for name in entries:
                for written in chunks(name, first, second, file_a, file_b, weight):
                    out.write(written)
                    done += len(written)
                    on_bytes(done, total)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise OSError(f"{target} could not be written: {error}. Nothing was changed; free some disk.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return len(entries)


def packed_header(entries: dict, sizes: dict[str, int], metadata: dict[str, str]) -> bytes:
    """The header of a file whose tensors follow in the order of `entries`, padded to 8 bytes."""
    header, offset = {"__metadata__": metadata}, 0
    for name, (dtype, shape, _, _) in entries.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + sizes[name]]}
        offset += sizes[name]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def chunks(name: str, first: Header, second: Header, file_a, file_b, weight: float):
    """The bytes of one tensor of the result. Whole numbers (positions, counters) are A's."""
    one, two = first.entries.get(name), second.entries.get(name)
    if one is None or two is None or one[0] not in DTYPES or two[0] not in DTYPES:
        yield from plain(file_a if one else file_b, one or two)
        return
    kinds = DTYPES[one[0]], DTYPES[two[0]]
    widths = [kind.itemsize for kind in kinds]
    count = (one[3] - one[2]) // widths[0]
    for start in range(0, count, CHUNK):
        some = min(CHUNK, count - start)
        x, y = (
            numbers(file, entry[2] + start * width, some, kind)
            for file, entry, width, kind in zip((file_a, file_b), (one, two), widths, kinds)
        )
        mixed = torch.lerp(y, x, weight).to(kinds[0])
        yield mixed.view(torch.uint8).numpy().tobytes()


def numbers(file, position: int, count: int, kind: torch.dtype) -> Tensor:
    """`count` numbers of a file, at least in fp32."""
    file.seek(position)
    found = torch.frombuffer(bytearray(file.read(count * kind.itemsize)), dtype=kind)
    return found.double() if kind == torch.float64 else found.float()


def plain(file, entry: tuple):
    """The bytes of a tensor as they are."""
    _, _, position, end = entry
    while position < end:
        file.seek(position)
        piece = file.read(min(CHUNK * 4, end - position))
        position += len(piece)
        yield piece
