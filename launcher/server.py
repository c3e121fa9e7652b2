"""Start a ComfyUI host, wait until it answers, and always stop it."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import process
from .folders import ROOT, checkout_models, new_log, prepare_workdir, write_model_paths

WORKDIR = ROOT / ".host"
START_LIMIT = 300.0  # seconds; a cold disk and a slow machine need a minute
DEVICES = ("auto", "cpu", "cuda", "mps")
PROBE = """
import torch
mps = getattr(torch.backends, "mps", None)
print("cuda" if torch.cuda.is_available() else "mps" if mps is not None and mps.is_available() else "cpu")
"""
# A proxy from the environment must not stand between us and this machine.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class HostError(RuntimeError):
    """The host did not start, or died; the message carries the end of its log."""


@dataclass(frozen=True)
class Host:
    """A running host."""

    url: str
    port: int
    log: Path
    device: str
    workdir: Path
    process: subprocess.Popen

    def client(self):
        """Return a client of the host's HTTP API."""
        from .api import Client

        return Client(self.url, self.log, alive=lambda: self.process.poll() is None)

    @property
    def output(self) -> Path:
        """Return the folder where SaveImage writes."""
        return self.workdir / "output"


@contextmanager
def host(
    device: str = "cpu",
    comfyui: Path | str | None = None,
    python: Path | str | None = None,
    port: int | None = None,
    workdir: Path | str | None = None,
    log: Path | str | None = None,
    *,
    models: Mapping[str, list[Path]] | None = None,
    pack: Path = ROOT,
) -> Iterator[Host]:
    """Run a host for the length of a `with` block: the embedded one, or the checkout `comfyui`.

    `python` runs it (default: this one). `models` names further model folders by kind ("checkpoints", "loras"),
    `pack` another copy of the pack than this repository.
    """
    python, port = str(python or sys.executable), port or free_port()
    check_port(port)
    folder = prepare_workdir(Path(workdir or WORKDIR).resolve(), pack)
    log = Path(log) if log else new_log(folder, port)
    device = pick_device(device, python)
    command = [python, *host_command(Path(comfyui).resolve() if comfyui else None, folder, port)]
    # Exact attention: the host's choice on a CPU works in pieces, to save memory that small latents do not need.
    command += ["--cpu", "--use-pytorch-cross-attention"] if device == "cpu" else []
    command += model_flags(folder / f"models-{port}.json", models, comfyui)
    child = process.start(command, folder, log, host_env(folder))
    try:
        wait_ready(child, f"http://127.0.0.1:{port}", log)
        yield Host(f"http://127.0.0.1:{port}", port, log, device, folder, child)
    finally:
        process.stop(child)
        (folder / f"models-{port}.json").unlink(missing_ok=True)


def host_command(comfyui: Path | None, folder: Path, port: int) -> list[str]:
    """Return the arguments after the Python: which host, where it works, where it listens."""
    listen = ["--listen", "127.0.0.1", "--port", str(port)]
    if comfyui is None:
        return ["-m", "comfy.cmd.main", *listen, "--cwd", str(folder), "--disable-known-models"]
    if not (comfyui / "main.py").is_file():
        raise HostError(f"Launcher: {comfyui} is no ComfyUI folder (it has no main.py). Give --comfyui its path.")
    # Its own database and settings stay untouched: another copy of the same ComfyUI may be running.
    user = folder / f"user-{comfyui.name}"
    user.mkdir(exist_ok=True)
    apart = ["--base-directory", str(folder), "--user-directory", str(user), "--database-url", "sqlite:///:memory:"]
    return [str(comfyui / "main.py"), *listen, *apart, "--disable-api-nodes", "--disable-auto-launch"]


def host_env(folder: Path) -> dict[str, str]:
    """Give the host an empty download cache where the user has named none: the embedded one lists it at every start."""
    if "HF_HOME" in os.environ or "HF_HUB_CACHE" in os.environ:
        return {}
    return {"HF_HUB_CACHE": str(folder / "huggingface")}


def model_flags(file: Path, models: Mapping[str, list[Path]] | None, comfyui: Path | str | None) -> list[str]:
    """Make further model folders visible without copying: the caller's, and those of an existing ComfyUI."""
    folders = checkout_models(Path(comfyui).resolve()) if comfyui else {}
    for kind, paths in (models or {}).items():
        folders[kind] = [*map(Path, paths), *folders.get(kind, [])]
    return ["--extra-model-paths-config", str(write_model_paths(file, folders))] if folders else []


def pick_device(wanted: str, python: str) -> str:
    """Return cpu, cuda or mps, asking the host's own PyTorch what there is."""
    if wanted not in DEVICES:
        raise ValueError(f"Launcher: --device is one of {', '.join(DEVICES)}, got {wanted!r}.")
    if wanted == "cpu":
        return wanted
    answer = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, errors="replace", check=False)
    if answer.returncode:
        raise HostError(f"Launcher: PyTorch does not import in {python}. It says:\n{answer.stderr.strip()[-2000:]}")
    found = answer.stdout.split()[-1]
    if wanted not in ("auto", found):
        raise HostError(f"Launcher: --device {wanted}, but PyTorch in {python} offers {found}. Use --device {found}.")
    return found


def free_port() -> int:
    """Return a loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check_port(port: int) -> None:
    """Refuse a port on which somebody answers already: we would talk to the wrong host."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise HostError(f"Launcher: port {port} is taken by another program. Give another --port, or none.")


def wait_ready(child: subprocess.Popen, url: str, log: Path, limit: float = START_LIMIT) -> None:
    """Wait until the host answers /system_stats; an early end or silence raises with the end of the log."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise HostError(failure(f"The host stopped during its start (exit code {child.returncode}).", log))
        if answers(url):
            return
        time.sleep(0.2)
    raise HostError(failure(f"The host did not answer within {limit:.0f} s.", log))


def answers(url: str) -> bool:
    """Tell whether a host answers at this address."""
    try:
        with DIRECT.open(f"{url}/system_stats", timeout=5) as reply:
            return "system" in json.load(reply)
    except (urllib.error.URLError, ConnectionError, TimeoutError):  # not listening yet
        return False


def failure(what: str, log: Path) -> str:
    """Word an error around the end of the host's log."""
    return f"{what} The last lines of its log:\n\n{process.tail(log)}\n\nThe whole log: {log}"
