"""safetensors files read and written a few megabytes at a time.

Such a file is 8 bytes with the header's length, the header as JSON, then the tensors one after another. So the header
of a new file is written first and the tensors are filled in, a chunk at a time.
"""

import math
import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from . import io, plain_json
from .threads import one_thread

CHUNK = 1 << 20  # numbers at a time
WIDEST = 8  # bytes of a number
LARGEST_HEADER = 25 << 20  # bytes; published files stay below 2 MB
MOST_TENSORS = 20_000  # published LoRAs have up to 7,000
LONGEST_KEY = 400  # letters
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
INTEGERS = {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8}


@dataclass(frozen=True)
class Stored:
    """A tensor that lies in a file: bytes start..end, counted from the file's start."""

    kind: str  # dtype as the header writes it
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def dtype(self) -> torch.dtype | None:
        """None for whole numbers and what cannot be calculated with."""
        return DTYPES.get(self.kind)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def numel(self) -> int:
        return math.prod(self.shape)

    def is_floating_point(self) -> bool:
        return self.dtype is not None


@dataclass(frozen=True)
class Header:
    """What a file holds, unread."""

    path: Path
    entries: dict[str, Stored]
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """Raises ValueError with a sentence for anything that is not a whole safetensors file."""
    if not path.is_file():  # a pipe would be waited for
        raise ValueError(f'"{path.name}" is no file. Get the file again.')
    size = path.stat().st_size
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(LARGEST_HEADER, size):
                raise ValueError(f"its header claims {length} bytes")
            found = plain_json.parse(file.read(length))
        metadata = found.pop("__metadata__", None) or {}
        if not isinstance(metadata, dict):
            raise ValueError("its metadata is no table")
        if len(found) > MOST_TENSORS or max(map(len, found), default=0) > LONGEST_KEY:
            raise ValueError(f"it has {len(found):,} tensors, or names of more than {LONGEST_KEY} letters")
        entries = {name: stored(name, entry, 8 + length, size) for name, entry in found.items()}
    except (struct.error, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f'"{path.name}" cannot be read as a safetensors file ({str(error)[:200]}). Get the file again.'
        ) from error
    return Header(path, entries, metadata)


def stored(name: str, entry: dict, start: int, size: int) -> Stored:
    """One row of a header; ValueError where it does not fit the file or itself."""
    first, last = entry["data_offsets"]
    found = Stored(entry["dtype"], tuple(entry["shape"]), start + first, start + last)
    if not all(type(number) is int and number >= 0 for number in (first, last, *found.shape)) or first > last:
        raise ValueError(f"{name} claims shape {entry['shape']} at bytes {first} to {last}")
    if found.end > size:
        raise ValueError("it is cut short")
    known = found.dtype or INTEGERS.get(found.kind)
    if known and last - first != found.numel() * known.itemsize:
        raise ValueError(f"{name} has {last - first} bytes, not those of {list(found.shape)} in {found.kind}")
    return found


class Reader:
    """A file read into one buffer, over and over: what `read` gives is good until the next call."""

    def __init__(self, header: Header):
        self.path, self.buffer = header.path, torch.empty(0, dtype=torch.uint8)
        self.file = open(header.path, "rb", buffering=0)  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_) -> None:
        self.file.close()

    def read(self, entry: Stored, first: int = 0, count: int | None = None) -> Tensor:
        """`count` numbers from number `first` on, [count]; raw bytes [count] where they are no numbers to calculate."""
        width = entry.dtype.itemsize if entry.dtype else 1
        count = (entry.end - entry.start) // width - first if count is None else count
        if count * width > len(self.buffer):
            self.buffer = torch.empty(max(count * width, CHUNK * WIDEST), dtype=torch.uint8)
        self.file.seek(entry.start + first * width)
        found, room = 0, memoryview(self.buffer.numpy())[: count * width]
        while found < len(room):
            got = self.file.readinto(room[found:])
            if not got:
                raise ValueError(f'"{self.path.name}" became shorter while it was read. Get the file again.')
            found += got
        raw = self.buffer[: count * width]
        return raw.view(entry.dtype) if entry.dtype else raw

    def chunks(self, entry: Stored) -> Iterator[Tensor]:
        """The whole tensor, CHUNK numbers at a time."""
        total = (entry.end - entry.start) // (entry.dtype.itemsize if entry.dtype else 1)
        for first in range(0, total, CHUNK):
            yield self.read(entry, first, min(CHUNK, total - first))


def closing(pieces: Iterable[Tensor], *readers: Reader) -> Iterator[Tensor]:
    """The pieces; then the files are closed, so that the result may take the name of one of them (Windows)."""
    yield from pieces
    for reader in readers:
        reader.file.close()


def write(
    target: Path,
    tensors: dict[str, tuple[str, tuple[int, ...], int]],
    pieces: Iterable[Tensor],
    parents: list[Path],
    metadata: Callable[..., dict[str, str]],
    on_bytes: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write a file beside its name, then rename.

    tensors: {name: (dtype, shape, bytes)}; pieces: their numbers one after another, in that order. metadata(*hashes) is
    asked with the parents' SHA-256, which are taken meanwhile. on_bytes(done, total) is called after every piece and
    may raise to cancel. Raises OSError when the disk refuses; whatever is raised, `target` stays as it was.
    """
    cancelled, done, total = threading.Event(), 0, sum(size for *_, size in tensors.values())
    with io.replacing(target) as temporary, one_thread(), ThreadPoolExecutor(len(parents) or 1) as pool:
        try:
            hashes = [pool.submit(io.sha256, path, cancelled.is_set) for path in parents]
            with open(temporary, "wb") as out:
                out.write(io.packed_header(header_of(tensors, metadata(*("0" * 64 for _ in parents)))))
                for piece in pieces:
                    done += out.write(piece.flatten().view(torch.uint8).numpy())
                    on_bytes(done, total)
                sync(out)
                out.seek(0)
                out.write(io.packed_header(header_of(tensors, metadata(*(found.result() for found in hashes)))))
                sync(out)
        finally:
            cancelled.set()


def sync(out) -> None:
    out.flush()
    os.fsync(out.fileno())


def header_of(tensors: dict[str, tuple[str, tuple[int, ...], int]], metadata: dict[str, str]) -> dict:
    """The header of a file whose tensors follow in the order of `tensors`."""
    header, offset = {"__metadata__": metadata}, 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    return header
