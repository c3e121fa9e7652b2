"""safetensors in and out: metadata strings, atomic writes, sentences for broken files."""

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

BLOCK = 1 << 20  # bytes


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside `path` that takes its name when the block ends well: a full disk or a kill leaves the old one.

    Raises OSError with the path when the disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        readable_by = temporary.stat().st_mode  # as the user's umask says; the library writes for the owner alone
        yield temporary
        temporary.chmod(readable_by)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        busy = isinstance(error, PermissionError)
        remedy = "close what uses the file, or take another name" if busy else "free some disk and try again"
        raise OSError(f"{path} could not be written: {error}. Nothing was changed; {remedy}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def save(tensors: dict[str, Tensor], path: str | os.PathLike, metadata: dict[str, str]) -> None:
    """Write a file whole or not at all. Raises OSError with the path when the disk refuses."""
    with replacing(Path(path)) as temporary:
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, temporary, metadata=metadata)
        settle(temporary)


def settle(path: Path) -> None:
    """Sort the metadata in the header: the library orders them at random, and equal content should have equal hashes.

    A run tells by its start file's hash whether it is still the same run.
    """
    with open(path, "r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        packed = packed_header(header)
        if len(packed) == 8 + size:  # the same words in another order; else the file stays as the library wrote it
            file.seek(0)
            file.write(packed)


def packed_header(header: dict) -> bytes:
    """What a safetensors file begins with, as the library writes it: 8 bytes of length, JSON, spaces up to 8 bytes."""
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def load(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors, metadata) of a safetensors file, read without a memory map left behind.

    Raises ValueError with a sentence when the file is not a whole safetensors file, or the system does not open it.
    """
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 (not a dict)
            return tensors, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(
            f'"{Path(path).name}" cannot be read as a safetensors file ({error}). '
            "It may be cut short or of another kind: download it again."
        ) from error
    except OSError as error:
        raise ValueError(f'"{Path(path).name}" {unopened(error)}') from error


def unopened(error: OSError) -> str:
    """Why the system does not open a file that may well be whole, and what to do."""
    return (
        f"cannot be opened ({error}). Check that it is there and that nothing else holds it; on Windows, error 1455 "
        "wants a larger paging file."
    )


def load_tensor(path: str | os.PathLike, name: str) -> Tensor:
    """One tensor of a safetensors file; the others are not read. Raises ValueError when it cannot be had."""
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            return file.get_tensor(name).clone()
    except (SafetensorError, OSError) as error:
        raise ValueError(f'"{Path(path).name}" has no tensor {name} that can be read ({error}). Delete it.') from error


def names(path: str | os.PathLike) -> list[str]:
    """The keys of a safetensors file, from its header alone."""
    with safe_open(str(path), framework="pt", device="cpu") as file:
        return list(file.keys())


def sha256(path: str | os.PathLike, stopped: Callable[[], bool] = lambda: False) -> str:
    """A file's hash, read block by block until `stopped()`."""
    state, block = hashlib.sha256(), memoryview(bytearray(BLOCK))
    with open(path, "rb", buffering=0) as file:
        while (count := file.readinto(block)) and not stopped():
            state.update(block[:count])
    return state.hexdigest()
