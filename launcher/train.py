"""`python run.py train RUN`: a run folder that FewStep Distill wrote is trained in this process, without a server.

Under `accelerate launch` or torchrun each process does this, and takes its GPU before the host's code asks which one
there is. Nothing is installed. A graph instead of a folder is run by a host, as `run.py api` does it.

The command line reads this file in a bare Python: what needs a package is imported where it is used.
"""

import argparse
import logging
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

from . import install, upstream
from .folders import FOLDERS, ROOT
from .pip import InstallError

WORKDIR = ROOT / ".host"


def is_run(args: argparse.Namespace) -> bool:
    """Whether the command names a run folder."""
    return args.command == "train" and Path(args.file).is_dir()


def launched() -> bool:
    """Whether a launcher has started this process as one of several, in the Python that they all run."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def python_of(args: argparse.Namespace) -> Path:
    """Return the Python that trains a run folder: the one named, the embedded host's, or this one."""
    if args.comfyui == upstream.LATEST:
        raise InstallError("A run folder is trained where everything is installed already: give --comfyui DIR.")
    ready = install.venv_python(Path(os.environ.get("FEWSTEP_VENV") or ROOT / ".venv"))
    if args.python:
        python = Path(args.python).expanduser()
    elif launched():
        python = Path(sys.executable)
    elif args.comfyui:
        python = upstream.find_python(upstream.checkout(args.comfyui))
    else:
        python = ready if ready.exists() else Path(sys.executable)
    install.check_packages(python, install.HOST)
    return python


def train(args: argparse.Namespace) -> int:
    """Train a run folder, or run a graph; 143 when it was stopped and can go on."""
    if not is_run(args):
        return import_module(".headless", __package__).api(args)
    quiet = logging.INFO if int(os.environ.get("RANK", "0")) == 0 else logging.WARNING
    logging.basicConfig(level=quiet, format="%(message)s")
    processes = import_module("fewstep.training.processes").launched(cpu=args.device == "cpu")
    start_host(args, processes)
    run_folder = import_module("fewstep.nodes.run_folder")
    stop_by_signals(processes.first)
    done, said = run_folder.train(Path(args.file).resolve(), processes)
    if said:
        print(said, flush=True)
    return 0 if done else 143


def start_host(args: argparse.Namespace, processes) -> None:
    """Import the host: the named checkout in its own folders, or the embedded one in .host."""
    checkout = upstream.checkout(args.comfyui) if args.comfyui else None
    process = import_module(".process", __package__)
    os.environ.update({**process.POLITE, **os.environ, **process.QUIET})
    if checkout is None:
        for name in FOLDERS:
            (WORKDIR / name).mkdir(parents=True, exist_ok=True)
    host = import_module("fewstep.host.headless")
    try:
        host.start(device_of(args, processes), checkout, checkout or WORKDIR)
    except ModuleNotFoundError as error:
        raise InstallError(
            f"This Python ({sys.executable}) has no ComfyUI ({error}). Name one: --comfyui DIR --python ITS_PYTHON."
        ) from error
    if args.folders:
        host.use_folders(Path(args.folders))
    elif checkout:
        host.use_extra_paths(checkout)


def device_of(args: argparse.Namespace, processes) -> str:
    """Return cpu or auto: what the launcher gave the processes, what the user said, or what there is."""
    import torch

    mps = getattr(torch.backends, "mps", None)
    found = torch.cuda.is_available() or (mps is not None and mps.is_available())
    given = getattr(processes, "device", None)
    return "cpu" if args.device == "cpu" or not found or (given is not None and given.type == "cpu") else "auto"


def stop_by_signals(first: bool) -> None:
    """Ctrl-C and a stop signal end the run after its micro-batch, saved. The first process decides for all."""
    progress = import_module("fewstep.host.progress")
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), (lambda *_: progress.cancel()) if first else signal.SIG_IGN)
