"""A run is a folder: config.json, state-N.safetensors (adapters, optimizer, average, step), metrics.jsonl.

The rename of the state file is the commit point. Metrics written after it are cut away on resume.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..weights import io
from .checks import require

BEST = "best.safetensors"


@dataclass
class RunFolder:
    """The files of one run. Reading a folder that is not a run raises ValueError."""

    path: Path

    def write_config(self, config: dict) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / "config.json", json.dumps(config, indent=1, sort_keys=True))

    def read_config(self) -> dict | None:
        """The run's settings, or None for a folder with no run in it."""
        file = self.path / "config.json"
        if not file.exists():
            return None
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{file} is not the settings of a FewStep run ({error}). Choose another run name."
            ) from error
        require(isinstance(found, dict), f"{file} is not the settings of a FewStep run. Choose another run name.")
        return found

    def states(self) -> list[Path]:
        """The state files, oldest first."""
        return sorted(self.path.glob("state-*.safetensors"), key=step_of)

    def save(self, step: int, tensors: dict[str, Tensor], keep_last: int) -> Path:
        """Commit a state, then drop the oldest beyond keep_last; one that is held stays till the next time."""
        target = self.path / f"state-{step}.safetensors"
        io.save(tensors, target, {"step": str(step)})
        for old in self.states()[:-keep_last]:
            try:
                old.unlink()
            except PermissionError:  # Windows: a virus scanner or a copy reads it; the next save drops it
                continue
        return target

    def load(self) -> tuple[int, dict[str, Tensor]]:
        """(step, tensors) of the newest state; metrics beyond it are cut. (0, {}) when there is none."""
        states = self.states()
        if not states:
            self.cut_metrics(0)
            return 0, {}
        try:
            tensors, _ = io.load(states[-1])
        except ValueError as error:
            before = f"the state of step {step_of(states[-2])}" if len(states) > 1 else "the start"
            raise ValueError(f"{states[-1]} is damaged. Delete it, and the run goes on from {before}.") from error
        step = step_of(states[-1])
        self.cut_metrics(step)
        return step, tensors

    def best_error(self) -> float:
        """The held-out error of the best state so far; infinite when there is none."""
        file = self.path / BEST
        return float(io.load(file)[1]["error"]) if file.is_file() else float("inf")

    def save_best(self, step: int, error: float, parameters: dict[str, Tensor]) -> None:
        tensors = {name: p.detach().cpu() for name, p in parameters.items()}
        io.save(tensors, self.path / BEST, {"step": str(step), "error": repr(error)})

    def load_best(self) -> tuple[dict[str, Tensor], int, float]:
        """(weights of the kept role, step, held-out error)."""
        tensors, metadata = io.load(self.path / BEST)
        return tensors, int(metadata["step"]), float(metadata["error"])

    def log(self, record: dict) -> None:
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def metrics(self) -> list[dict]:
        """One record per finished step; a last line cut off in the writing (a kill, a full disk) does not count."""
        file = self.path / "metrics.jsonl"
        found = []
        for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return found

    def cut_metrics(self, step: int) -> None:
        file = self.path / "metrics.jsonl"
        if file.exists():
            kept = [record for record in self.metrics() if record["step"] <= step]
            write_text(file, "".join(json.dumps(record) + "\n" for record in kept))


def step_of(file: Path) -> int:
    """state-120.safetensors -> 120."""
    return int(file.stem.split("-")[-1])


def write_text(path: Path, text: str) -> None:
    """Write beside, then rename."""
    temporary = path.with_suffix(path.suffix + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def pack(parameters: dict[str, dict[str, Tensor]], optimizers: dict[str, torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Roles' weights and their optimizers' moments as one flat dict of tensors."""
    packed = {f"role.{role}.{name}": p.detach() for role, ps in parameters.items() for name, p in ps.items()}
    for role, optimizer in optimizers.items():
        for name, parameter in parameters[role].items():
            for key, value in optimizer.state.get(parameter, {}).items():
                packed[f"optimizer.{role}.{name}.{key}"] = torch.as_tensor(value)
    return {name: tensor.cpu() for name, tensor in packed.items()}


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
            parameter.copy_(saved)
    moments: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        owner, _, moment = key.rpartition(".")
        moments.setdefault(owner, {})[moment] = value
    for role, optimizer in optimizers.items():
        for name, parameter in parameters[role].items():
            found = moments.get(f"optimizer.{role}.{name}")
            if found:
                optimizer.state[parameter] = {k: restored(k, v, parameter.device) for k, v in found.items()}


def restored(key: str, saved: Tensor, device: torch.device):
    """A moment in its own dtype (8-bit ones with their tables) on the device; the count as its optimizer has it."""
    if key != "step":
        return saved.to(device)
    return saved if saved.is_floating_point() else int(saved)
