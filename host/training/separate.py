"""A training in a process of its own, `run.py train FOLDER`: the server stays free, and hears how far the run is."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from comfy import model_management
from PIL import Image

from ...training.checks import require
from ...weights import plain_json
from .. import folders
from ..pictures import beside
from ..routes import tell_of_new_files
from ..spot import Cancel, Spot
from .after_step import line
from .curve import curve
from .job import NODE, Job

COMMAND = Path(__file__).resolve().parents[2] / "run.py"
LOG = "train.log"
PICTURES = re.compile(r"step-(\d{1,15})\.jpg")
PAUSE = 0.3  # seconds between two looks at the run folder
STOPPED = 143  # its exit code after a cancel
RUNS: dict[Path, "Separate"] = {}  # the processes of this server by run folder


class Separate(threading.Thread):
    """One process, watched until it ends. told: the file with the folders, which goes with it."""

    def __init__(self, job: Job, child: subprocess.Popen, told: Path, spot: Spot | None):
        super().__init__(daemon=True, name=f"training {job.run_name}")
        self.folder, self.steps, self.child, self.told, self.spot = job.folder, job.config.steps, child, told, spot
        self.seen, self.drawn = -1, self.pictured()

    def run(self) -> None:
        if self.spot:
            threading.Thread(target=self.listen, daemon=True, name=f"cancel of {self.name}").start()
        while self.running:
            self.show()
            try:
                self.child.wait(PAUSE)
            except subprocess.TimeoutExpired:
                continue
        self.told.unlink(missing_ok=True)
        self.show()
        if self.spot:
            self.spot.text(self.words())
        tell_of_new_files()

    def listen(self) -> None:
        """Stop it when the user cancels: beside drawing, whose seconds would let a press pass for the last graph's."""
        cancel = Cancel(self.spot)
        while self.running:
            if cancel.pressed():
                stop(self.child)
            time.sleep(PAUSE)

    @property
    def running(self) -> bool:
        return self.child.poll() is None

    def show(self) -> None:
        """The newest step and the newest pictures on the node, where they have not been shown yet."""
        record = newest(self.folder.path / "metrics.jsonl")
        if not self.spot or record is None or "left_s" not in record:
            return
        if record["step"] != self.seen:
            self.seen = record["step"]
            self.spot.text(line(self.seen, self.steps, record))
            self.spot.bar(self.seen, self.steps)
        if (step := self.pictured()) > self.drawn:  # a moment after the step's record
            self.drawn = step
            pictures = Image.open(self.folder.path / "previews" / f"step-{step}.jpg")
            self.spot.picture(beside(curve(self.folder.metrics()), pictures))

    def pictured(self) -> int:
        """The newest step of which there are pictures; 0 for none."""
        found = (PICTURES.fullmatch(file.name) for file in (self.folder.path / "previews").glob("step-*.jpg"))
        return max((int(one[1]) for one in found if one), default=0)

    def words(self) -> str:
        """How it is, or how it ended."""
        step = (newest(self.folder.path / "metrics.jsonl") or {"step": 0})["step"]
        if self.running:
            return (
                f"trains in process {self.child.pid}, step {step} of {self.steps}. Cancel stops it while no graph runs."
            )
        if self.child.returncode == 0:
            return f"step {step} of {self.steps}: it is done. Queue again for the student."
        if self.child.returncode == STOPPED:
            return f"stopped after step {step}, which is saved. Queue again to go on."
        return f"the process ended with {self.child.returncode}: {last_words(self.folder.path / LOG)}"


def start(job: Job) -> Separate:
    """Train the run folder, whose graph is written. The models of the server leave the GPU to it."""
    require(
        COMMAND.is_file(),
        f"{NODE}: where separate process needs run.py, which an installation from the registry leaves out. Clone the "
        "repository in its place, or train in this process.",
    )
    model_management.unload_all_models()
    model_management.soft_empty_cache()
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False, encoding="utf-8") as told:
        json.dump(own_folders(), told)
    command = [sys.executable, str(COMMAND), "train", str(job.folder.path), "--folders", told.name]
    command += ["--device", "cpu"] if job.model.load_device.type == "cpu" else []
    command += ["--comfyui", str(root)] if (root := host_root()) else []
    group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {}
    env = {name: value for name, value in os.environ.items() if name not in ("WORLD_SIZE", "COMFYUI_DIR")}
    with (job.folder.path / LOG).open("wb") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env | {"FEWSTEP_INSIDE": "1"}, **group
        )
    RUNS[job.folder.path] = found = Separate(job, child, Path(told.name), Spot.here())
    found.start()
    return found


def of(job: Job) -> Separate | None:
    """The run's process while it runs. Raises ValueError once when it has failed."""
    found = RUNS.get(job.folder.path)
    if found is None or found.running:
        return found
    del RUNS[job.folder.path]
    require(found.child.returncode in (0, STOPPED), f"{NODE}: {found.words()}")
    return None


def ready(job: Job) -> bool:
    """Whether the process has ended and every step of the run is saved."""
    return of(job) is None and max(job.folder.steps(), default=0) >= job.config.steps


def stop(child: subprocess.Popen) -> None:
    """Let it end its micro-batch and save."""
    child.send_signal(signal.CTRL_BREAK_EVENT if os.name == "nt" else signal.SIGTERM)


def own_folders() -> dict:
    """Where this host looks for files, as headless.use_folders reads it."""
    paths = folders.folder_paths
    kinds = [kind for kind in paths.folder_names_and_paths if kind not in ("custom_nodes", "configs")]
    models = {kind: list(map(str, paths.get_folder_paths(kind))) for kind in kinds}
    return {"models": models, "input": str(folders.input_folder()), "output": str(folders.output_folder())}


def host_root() -> Path | None:
    """The folder of an upstream ComfyUI; None for the PyPI host, which every Python here finds."""
    root = Path(model_management.__file__).resolve().parent.parent
    return root if (root / "main.py").is_file() else None


def newest(file: Path) -> dict | None:
    """The last whole record of a file of lines."""
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        stream.seek(max(file.stat().st_size - 8192, 0))
        lines = stream.read().splitlines(keepends=True)
    whole = [one for one in lines if one.endswith(b"\n")]
    record = plain_json.parse(whole[-1]) if whole else None
    return record if isinstance(record, dict) and isinstance(record.get("step"), int) else None


def last_words(file: Path) -> str:
    """The last line of a log that is not empty."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    return next((one.strip() for one in reversed(lines) if one.strip()), "it said nothing")[:500]
