"""A run is a folder: config.json, state-N.safetensors (adapters, optimizer, average, step), metrics.jsonl, notes.txt.

The rename of the state file is the commit point. Metrics written after it are cut away on resume. A state that is
damaged, or that the user goes back behind, is moved to set-aside/ and never loaded or deleted by itself.
"""

import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..weights import io, plain_json, sealed
from . import records, run_lock, sharding
from .checks import require

BEST = "best.safetensors"
NOTES = "notes.txt"
SET_ASIDE = "set-aside"
STATE = re.compile(r"state-(\d{1,15})\.safetensors")
log = logging.getLogger(__name__)


@dataclass
class RunFolder:
    """The files of one run. Reading a folder that is not a run raises ValueError."""

    path: Path

    def held(self) -> AbstractContextManager[None]:
        """This process alone trains the run meanwhile. Raises run_lock.Held when another does."""
        return run_lock.held(self.path)

    def write_config(self, config: dict) -> None:
        io.write_text(self.path / "config.json", json.dumps(config, indent=1, sort_keys=True))

    def read_config(self) -> dict | None:
        """The run's settings, or None for a folder with no run in it."""
        file = self.path / "config.json"
        if not file.is_file():
            return None
        problem = "config.json in the run {!r} is not the settings of a FewStep run{}. Choose another run name."
        try:
            found = plain_json.parse(file.read_bytes())
        except ValueError as error:
            raise ValueError(problem.format(self.path.name, f" ({error})")) from error
        require(isinstance(found, dict), problem.format(self.path.name, ""))
        return found

    def states(self) -> list[Path]:
        """The state files, oldest first; copies under other names do not count."""
        found = (path for path in self.path.glob("state-*.safetensors") if STATE.fullmatch(path.name))
        return sorted((path for path in found if path.is_file()), key=step_of)

    def steps(self) -> list[int]:
        """The saved steps, oldest first."""
        return [step_of(file) for file in self.states()]

    def save(self, step: int, tensors: dict[str, Tensor], keep_last: int, protected: int = 0) -> Path:
        """Commit a state, then drop the oldest beyond keep_last; one that is held stays till the next time.

        protected: the newest state up to this step is kept in any case.
        """
        if (self.path / "metrics.jsonl").is_file():
            io.sync(self.path / "metrics.jsonl")  # a state on the disk has its metrics there too
        target = self.path / f"state-{step}.safetensors"
        sealed.save(tensors, target, {"step": str(step)})
        good = max((saved for saved in self.steps() if saved <= protected), default=0)
        for old in self.states()[:-keep_last]:
            try:
                if step_of(old) != good:
                    old.unlink()
            except PermissionError:  # Windows: a virus scanner or a copy reads it; the next save drops it
                continue
        return target

    def load(self) -> tuple[int, dict[str, Tensor]]:
        """(step, tensors) of the newest sound state; metrics beyond it are cut. (0, {}) when there is none."""
        damaged, step, tensors = [], 0, {}
        for file in reversed(self.states()):
            try:
                step, tensors = step_of(file), read_state(file)
                break
            except sealed.Damaged as error:
                damaged.append(str(error))
                step = 0
                self.set_aside(file)
        if damaged:
            start = f"from the state of step {step}" if step else "from the start, as no saved state is sound"
            self.note(f"{'; '.join(damaged)}. The run goes on {start}; the file is kept in {SET_ASIDE}/.")
        self.cut_metrics(step)
        return step, tensors

    def go_back(self, step: int) -> None:
        """Let the run go on from a saved step instead of from the newest (0: from its start).

        What was made after it is kept in set-aside/. Raises ValueError when that step is not saved or not sound.
        """
        saved = self.steps()
        require(
            step == 0 or step in saved,
            f"The run {self.path.name!r} has no saved step {step}. It has: {', '.join(map(str, [0, *saved]))}.",
        )
        if step:
            read_state(self.path / f"state-{step}.safetensors")
        later = [file for file in self.states() if step_of(file) > step]
        best = self.path / BEST
        for file in [*later, *([best] if self.load_best()[1] > step else [])]:
            self.set_aside(file)
        if later:
            self.note(f"Went back to step {step}; the states after it are kept in {SET_ASIDE}/.")

    def set_aside(self, file: Path) -> None:
        try:
            (self.path / SET_ASIDE).mkdir(exist_ok=True)
            os.replace(file, self.path / SET_ASIDE / file.name)
        except OSError as error:
            raise io.unwritten(self.path / SET_ASIDE / file.name, error) from error

    def best_error(self) -> float:
        """The held-out error of the best state so far; infinite when there is none."""
        return self.load_best()[2]

    def load_best(self) -> tuple[dict[str, Tensor], int, float]:
        """(weights of the kept role, step, held-out error) of the best state; ({}, 0, inf) when there is none."""
        file = self.path / BEST
        if not file.is_file():
            return {}, 0, float("inf")
        try:
            tensors, metadata = sealed.load(file)
            return tensors, int(metadata["step"]), float(metadata["error"])
        except (sealed.Damaged, KeyError) as error:
            self.set_aside(file)
            self.note(f"{error}: the best weights so far are lost and are looked for anew from here on.")
            return {}, 0, float("inf")

    def save_best(self, step: int, error: float, parameters: dict[str, Tensor]) -> None:
        tensors = {name: p.detach().cpu() for name, p in parameters.items()}
        sealed.save(tensors, self.path / BEST, {"step": str(step), "error": repr(error)})

    def note(self, text: str) -> None:
        """Something the user should know of this run: in the log, and for every later report."""
        log.warning("%s: %s", self.path.name, text)
        io.append(self.path / NOTES, f"{time.strftime('%Y-%m-%d %H:%M')} {text}\n")

    def notes(self) -> list[str]:
        """What was noted, oldest first."""
        file = self.path / NOTES
        return file.read_text(encoding="utf-8", errors="replace").splitlines()[-100:] if file.is_file() else []

    def log(self, record: dict) -> None:
        """Note a finished step. Raises ValueError when the folder is gone."""
        require(
            self.path.is_dir(),
            f"The folder of the run {self.path.name!r} was deleted or moved away while it was trained. Put it back and "
            "queue again to go on from its last saved step; without it, the run starts anew.",
        )
        io.append(self.path / "metrics.jsonl", json.dumps(record) + "\n")

    def metrics(self) -> list[dict]:
        """One record per finished step."""
        return records.read(self.path / "metrics.jsonl")

    def cut_metrics(self, step: int) -> None:
        file = self.path / "metrics.jsonl"
        if file.is_file():
            kept = [record for record in self.metrics() if record["step"] <= step]
            io.write_text(file, "".join(json.dumps(record) + "\n" for record in kept))


def step_of(file: Path) -> int:
    """state-120.safetensors -> 120."""
    return int(STATE.fullmatch(file.name)[1])


def read_state(file: Path) -> dict[str, Tensor]:
    """A state's tensors. Raises Damaged when it is not as it was saved, of another step, or could not be resumed."""
    tensors, metadata = sealed.load(file)
    if metadata.get("step") != str(step_of(file)):
        raise sealed.Damaged(f"{file.name} holds the state of step {metadata.get('step')}")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise sealed.Damaged(f"{file.name} holds NaN or infinity in {name}")
    return tensors


def packed(
    parameters: dict[str, dict[str, Tensor]], optimizers: dict[str, torch.optim.Optimizer]
) -> Iterator[tuple[str, Tensor]]:
    """(name, whole tensor on the CPU) of the roles' weights and their optimizers' moments, one after the other."""
    for role, ps in parameters.items():
        for name, p in ps.items():
            yield f"role.{role}.{name}", sharding.whole(p.detach()).cpu()
    for role, optimizer in optimizers.items():
        for name, parameter in parameters[role].items():
            for key, value in optimizer.state.get(parameter, {}).items():
                yield f"optimizer.{role}.{name}.{key}", sharding.whole(torch.as_tensor(value)).cpu()


@torch.no_grad()
def unpack(tensors: dict[str, Tensor], parameters: dict, optimizers: dict) -> None:
    """Put a packed state back. Raises ValueError when it belongs to a model of another shape."""
    for role, ps in parameters.items():
        for name, parameter in ps.items():
            saved = tensors.get(f"role.{role}.{name}")
            if saved is None or saved.shape != parameter.shape:
                raise ValueError(
                    f"The saved run has no fitting weights for {role}.{name}: it was made from another model or rank. "
                    "Connect that model, or choose another run name."
                )
            sharding.own(parameter).copy_(sharding.own(sharding.part_of(saved.to(parameter.device), parameter)))
    moments: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        owner, _, moment = key.rpartition(".")
        moments.setdefault(owner, {})[moment] = value
    for role, optimizer in optimizers.items():
        for name, parameter in parameters[role].items():
            found = moments.get(f"optimizer.{role}.{name}")
            if found:
                optimizer.state[parameter] = {k: restored(k, v, parameter) for k, v in found.items()}


def restored(key: str, saved: Tensor, parameter: Tensor):
    """A moment in its own dtype (8-bit ones with their tables) on the device; the count as its optimizer has it."""
    if key != "step":
        return sharding.part_of(saved.to(parameter.device), parameter)
    return saved if saved.is_floating_point() else int(saved)
