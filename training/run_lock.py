"""One host trains a run at a time.

The lock is the operating system's on an open file, so that it ends with its process however that dies; what the file
says (process, computer, time) is for people.
"""

import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..weights import io

NAME = "lock"
BEHIND = 1 << 20  # Windows locks bytes: one far behind the text, which others may read
log = logging.getLogger(__name__)


class Held(ValueError):
    """Another host trains this run."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The run is this process's alone. Raises Held, with who has it, when it is another's."""
    with opened(folder) as file:
        if not taken(file):
            raise Held(
                f"The run {folder.name!r} is being trained by {owner(file)}. Wait until it ends or stop it there, or "
                "choose another run name."
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}".encode())
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def opened(folder: Path) -> BinaryIO:
    """The lock's file. Raises OSError with a sentence when the disk refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return open(folder / NAME, "a+b")  # noqa: SIM115 (closed by held)
    except OSError as error:
        raise io.unwritten(folder / NAME, error) from error


def taken(file: BinaryIO) -> bool:
    """Take the lock; False when another process has it. On a disk without locks there is none, and the log says so."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(BEHIND)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        log.warning("%s: this disk has no locks (%s). Let no other host train the same run.", file.name, error)
    return True


def owner(file: BinaryIO) -> str:
    file.seek(0)
    return file.read(300).decode("utf-8", "replace").strip() or "another process"
