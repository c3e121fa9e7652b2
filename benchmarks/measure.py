"""Runs that take turns, so that other work on the machine falls on all of them alike."""

import os
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

STATUS = Path("/proc/self/status")


@dataclass
class Runs:
    """What was measured of one of the things compared."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # of all threads
    memory: list[float] = field(default_factory=list)  # GB of anonymous memory at the most, above what there was before

    def ratio(self, other: "Runs", what: str = "seconds") -> float:
        """Median over the repeats of this one's by the other's of the same repeat."""
        return statistics.median(a / b for a, b in zip(getattr(self, what), getattr(other, what)))

    def median(self, what: str = "seconds") -> float:
        return statistics.median(getattr(self, what))


def anonymous() -> float:
    """GB of memory that no file stands behind; 0 where the system does not tell."""
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    return next((int(line.split()[1]) / 1e6 for line in lines if line.startswith("RssAnon")), 0.0)


def once(run: Callable[[], object], runs: Runs) -> None:
    before, most, ended = anonymous(), [anonymous()], threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            most.append(anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    clock, cpu = time.perf_counter(), time.process_time()
    try:
        run()
    finally:
        runs.seconds.append(time.perf_counter() - clock)
        runs.cpu.append(time.process_time() - cpu)
        ended.set()
        watcher.join()
    runs.memory.append(max(most) - before)


def in_turn(
    tasks: dict[str, Callable[[], object]], repeats: int, after: Callable[[], object] = lambda: None
) -> dict[str, Runs]:
    """Every task `repeats` times and once before to warm up, in an order that rotates; `after` each, unmeasured."""
    names, found = list(tasks), {name: Runs() for name in tasks}
    for repeat in range(-1, repeats):
        for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
            once(tasks[name], found[name] if repeat >= 0 else Runs())
            after()
    return found


def load() -> str:
    """How busy the machine is: the load of the last minute by its cores."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores" if hasattr(os, "getloadavg") else ""
