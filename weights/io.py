"""Files written whole or not at all, and safetensors in and out with sentences for broken ones."""

import errno
import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        readable_by = temporary.stat().st_mode  # as the user's umask says; the library writes for the owner alone
        yield temporary
        temporary.chmod(readable_by)
        sync(temporary)  # before the rename: after a power cut there is the old file or the new one, never half of it
        os.replace(temporary, path)
        sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        raise unwritten(path, error) from error
    finally:
        with suppress(OSError):  # what is wrong with the disk was said above; the next start sweeps
            temporary.unlink(missing_ok=True)


def unwritten(path: Path, error: Exception) -> OSError:
    """Why a file could not be written, and what to do. It names no folder above the file's own: workflows show it."""
    why = getattr(error, "strerror", None) or str(error)
    remedy = {
        errno.EACCES: "close what uses the file, allow writing there, or take another name",
        errno.EROFS: "its disk is read-only: choose another output folder for the host",
        errno.ENAMETOOLONG: "take a shorter name",
    }.get(getattr(error, "errno", None), "free some disk and try again")
    return OSError(f"{path.parent.name}/{path.name} could not be written: {why}. Nothing was changed; {remedy}.")


def append(path: Path, text: str) -> None:
    """Add to a text file. Raises OSError with its name when the disk refuses."""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise unwritten(path, error) from error


def sync(path: Path) -> None:
    """Until the disk has the file's bytes."""
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Until the disk has the folder's names. Windows cannot; some network disks refuse, and do it by themselves."""
    if os.name == "nt":
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(place)
    finally:
        os.close(place)


def sweep(folder: Path, name: str = "") -> list[str]:
    """Remove what killed processes left of files they were writing: of `name` alone, or of all. Gives their names.

    For whoever alone writes such files now: the holder of a run's lock.
    """
    found = [path for path in folder.glob("*.tmp") if path.name.startswith(name) and path.is_file()]
    for path in found:
        path.unlink(missing_ok=True)
    return [path.name for path in found]


def write_text(path: Path, text: str) -> None:
    """A text file, whole or not at all. Raises OSError with the path when the disk refuses."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
    why = error.strerror or str(error).split(': "')[0]  # without the way to the file: workflows show it
    return (
        f"cannot be opened ({why}). Check that it is there and that nothing else holds it; on Windows, error 1455 "
        "wants a larger paging file."
    )


def load_tensor(path: str | os.PathLike, name: str) -> Tensor:
    """One tensor of a safetensors file; the others are not read. Raises ValueError when it cannot be had."""
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            return file.get_tensor(name).clone()
    except (SafetensorError, OSError) as error:
        why = str(error).split(': "')[0]
        raise ValueError(f'"{Path(path).name}" has no tensor {name} that can be read ({why}). Delete it.') from error


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
