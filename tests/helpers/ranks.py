"""`run.py train RUN` in one process or in several, as users start it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
from fewstep.launcher.server import Host
from fewstep.tests.helpers import hosts
from fewstep.tests.helpers.server_runs import ROOT


def folders_of(host: Host, tmp_path: Path) -> Path:
    """The file that tells a training where that server looks for files."""
    models = {kind: [str(host.workdir / "models" / kind)] for kind in ("checkpoints", "loras", "diffusion_models")}
    told = {"models": models, "input": str(host.workdir / "input"), "output": str(host.output)}
    file = tmp_path / "folders.json"
    file.write_text(json.dumps(told), encoding="utf-8")
    return file


def start(run: Path, folders: Path, count: int = 1) -> subprocess.Popen:
    """Train a run folder in `count` processes; what they say goes into said.txt beside `folders`."""
    options = hosts.options()
    python = options.get("python") or sys.executable
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"] if count > 1 else []
    host = ["--comfyui", options["comfyui"], "--python", python] if "comfyui" in options else []
    command = [python, *launcher, str(ROOT / "run.py"), "train", str(run), "--device", "cpu", *host]
    env = os.environ | {"FEWSTEP_VENV": sys.prefix, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    with (folders.parent / "said.txt").open("ab") as said:
        return subprocess.Popen([*command, "--folders", str(folders)], env=env, stdout=said, stderr=said)


def train(run: Path, folders: Path, count: int = 1) -> str:
    """Train to the end; what was said."""
    return finish(start(run, folders, count), folders)


def finish(process: subprocess.Popen, folders: Path) -> str:
    """Wait for the end of a started training; what was said."""
    try:
        code = process.wait(300)
    finally:
        end(process)
    said = (folders.parent / "said.txt").read_text(encoding="utf-8", errors="replace")
    assert code == 0, said
    return said


def end(process: subprocess.Popen) -> None:
    """Nothing of it is left."""
    if process.poll() is None:
        family = psutil.Process(process.pid).children(recursive=True)
        for one in (*family, process):
            one.kill()
        process.wait()


def rank(process: subprocess.Popen, index: int) -> psutil.Process:
    """The training process of that place."""
    family = psutil.Process(process.pid).children(recursive=True)
    return next(one for one in family if one.environ().get("RANK") == str(index))


def wait_for_steps(run: Path, process: subprocess.Popen, count: int) -> None:
    """Until the run has logged so many steps."""
    metrics = run / "metrics.jsonl"
    while not metrics.is_file() or metrics.read_text().count("\n") < count:
        assert process.poll() is None, (run, process.returncode)
        time.sleep(0.02)
