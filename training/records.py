"""metrics.jsonl: a line of numbers for every finished step. Lines that are none (a kill, a power cut) do not count."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

LONGEST = 1 << 16  # bytes of a line; ours have a few hundred


def read(file: Path) -> list[dict]:
    """One record a step, in their order; of two with the same step (two writers) the later."""
    found = {record["step"]: record for record in map(parsed, lines(file)) if record} if file.is_file() else {}
    return [found[step] for step in sorted(found)]


def lines(file: Path) -> Iterator[bytes]:
    """The lines that are not too long, none of the others held in memory."""
    with open(file, "rb") as data:
        whole = True
        while line := data.readline(LONGEST):
            if whole and line.endswith(b"\n"):
                yield line
            whole = line.endswith(b"\n")


def parsed(line: bytes) -> dict | None:
    """A record: an object of finite numbers with a step. None for anything else."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not all(is_number(value) for value in found.values()):
        return None
    return found if type(found.get("step")) is int and found["step"] > 0 else None


def is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)
