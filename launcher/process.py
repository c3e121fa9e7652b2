"""Start and stop a host's process, and read the end of its log."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

GRACE = 5.0  # seconds between asking to stop and killing

COLOURS = re.compile(r"\x1b\[[0-9;]*m")

# No telemetry and no downloads: the host must work without a network, and is not to talk to one unasked.
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "OTEL_SDK_DISABLED": "true",
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONUTF8": "1",
}

# Two threads of a small model wait for each other all the time. Spinning while they wait halves the speed, or worse, as
# soon as another program uses the same cores; sleeping costs little on idle ones.
POLITE = {"OMP_WAIT_POLICY": "PASSIVE"}


def start(
    command: Sequence[str | Path], cwd: Path, log: Path, env: Mapping[str, str] | None = None
) -> subprocess.Popen:
    """Start the host in a process group of its own (Ctrl-C reaches us alone), its output going to the log."""
    windows = os.name == "nt"
    with log.open("wb") as stream:
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env={**POLITE, **os.environ, **QUIET, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=not windows,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP if windows else 0,
        )


def stop(process: subprocess.Popen) -> None:
    """Ask the process and its children to stop, kill what is left, and return when all are gone."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    if process.poll() is None:
        process.terminate()
    for child in family:
        signal_process(child, "terminate")
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(family, timeout=GRACE)
    for child in alive:
        signal_process(child, "kill")


def signal_process(process: psutil.Process, action: str) -> None:
    """Terminate or kill a process that may have ended by itself a moment ago."""
    try:
        getattr(process, action)()
    except psutil.NoSuchProcess:
        return


def tail(log: Path, lines: int = 25) -> str:
    """Return the last lines of a log."""
    if not log.is_file():
        return "(no log was written)"
    text = COLOURS.sub("", log.read_text(encoding="utf-8", errors="replace"))
    return "\n".join(text.splitlines()[-lines:])
