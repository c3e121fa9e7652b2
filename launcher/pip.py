"""Run pip with a progress line a person can follow. Standard library only: nothing is installed yet."""

import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

COLLECTING = re.compile(r"^(?:Collecting|Processing) (?:\S*[/\\])?([A-Za-z0-9._]+(?:-[A-Za-z]+)*)")
FETCHING = re.compile(r"^\s*(Downloading|Using cached) (?:\S*/)?([^\s/]+?)-\S*(?<!\.metadata) \(([\d.]+ [kMG]?B)\)")
BYTES = re.compile(r"^Progress (\d+) of (\d+)")
UNPACKING = "Installing collected packages: "
WIDTH = 28


class InstallError(RuntimeError):
    """The installation did not end well; the message says what to do."""


def install(python: Path, arguments: Sequence[str], log: Path) -> None:
    """Run `pip install` in `python`'s environment; all output goes to the log, a progress line to the terminal."""
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *arguments]
    view, last = Progress(python), deque(maxlen=12)
    with log.open("a", encoding="utf-8") as record:
        record.write(f"$ {' '.join(command)}\n")
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        try:
            for line in process.stdout:
                if not BYTES.match(line):
                    record.write(line)
                    last.append(line.rstrip())
                view.feed(line)
            code = process.wait()
        finally:
            view.close()
            if process.poll() is None:  # Ctrl-C: pip got it too, and needs a moment to drop what is half done
                process.wait()
    if code:
        raise InstallError(
            f"pip ended with exit code {code}. Its last lines:\n\n" + "\n".join(last) + f"\n\nThe whole output: {log}\n"
            "Run the same command again to go on: what is downloaded or installed already is kept."
        )


class Progress:
    """Turns pip's lines into one line that moves (on a terminal), or into a line a package (in a log)."""

    def __init__(self, python: Path, stream: TextIO | None = None):
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self.site = python.parent.parent
        self.seen = self.fetched = 0
        self.package = ""
        self.watcher: Unpacking | None = None

    def feed(self, line: str) -> None:
        """Show what one line of pip's output tells."""
        if match := COLLECTING.match(line):
            self.seen += 1
            self.show(f"[{self.seen}] looking up {match[1]}", settled=False)
        elif match := FETCHING.match(line):
            self.fetched += 1
            self.package = f"{match[2]} ({match[3]})"
            number = f"[{self.fetched}/{max(self.seen, self.fetched)}]"
            self.show(f"{number} fetching {self.package}", settled=match[1] == "Downloading")
        elif match := BYTES.match(line):
            self.show(f"{bar(int(match[1]), int(match[2]))} {self.package}", settled=False)
        elif line.startswith(UNPACKING):
            self.watcher = Unpacking(self, line[len(UNPACKING) :].strip().split(", "))
            self.watcher.start()

    def show(self, text: str, settled: bool = True) -> None:
        """Write over the line on a terminal; in a log write only what stays true (`settled`)."""
        if self.live:
            self.stream.write(f"\r{text[:100]:<100}")
        elif settled:
            self.stream.write(f"{text}\n")
        self.stream.flush()

    def close(self) -> None:
        """End the moving line."""
        if self.watcher is not None:
            self.watcher.stop()
        if self.live and self.seen:
            self.stream.write("\r" + " " * 100 + "\r")
            self.stream.flush()


class Unpacking(threading.Thread):
    """Counts packages while pip silently unpacks them: each one ends with its `.dist-info` folder."""

    def __init__(self, view: Progress, names: list[str]):
        super().__init__(daemon=True)
        self.view, self.names = view, names
        self.before, self.shown = self.count(), -1
        self.done = threading.Event()

    def count(self) -> int:
        """Count the packages in the environment."""
        return sum(
            len(list(self.view.site.glob(place)))
            for place in ("lib/python*/site-packages/*.dist-info", "Lib/*/*.dist-info")
        )

    def run(self) -> None:
        """Show a line for each package until told to stop."""
        while not self.done.wait(0.5):
            number = min(self.count() - self.before, len(self.names) - 1)
            if number > self.shown:  # an upgrade takes a package away before it puts the new one down
                self.shown = number
                self.view.show(f"{bar(number, len(self.names))} unpacking {self.names[number]}")

    def stop(self) -> None:
        """End the thread and say how many there are."""
        self.done.set()
        self.join()


def bar(done: int, total: int) -> str:
    """Draw `[####....] 3/60`, in MB when the numbers are bytes."""
    filled = WIDTH * done // max(total, 1)
    figures = f"{done / 1e6:.0f}/{total / 1e6:.0f} MB" if total > 10_000 else f"{done}/{total}"
    return f"[{'#' * filled}{'.' * (WIDTH - filled)}] {figures}"
