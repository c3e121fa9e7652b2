"""The loop: turns, terms, backward per term, one optimizer step per turn. It knows no method and no host."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from statistics import fmean

import torch
from torch import Tensor

from . import optimizers
from . import state as states
from .checks import require
from .config import TrainConfig, check_resume
from .data import Examples, make_batch
from .method import Method, Turn
from .path import Path
from .processes import ALONE, Alone
from .roles import update_average
from .watchdog import RATES, DeadRun, Watch, way_back


class NonFiniteLoss(RuntimeError):
    """The loss became NaN or infinite; the last good state is on disk."""


@dataclass
class Trainer:
    """One run. on_start(step) is called when it is known where the run goes on; on_micro() before every micro-batch
    of a step whose first turn has not moved its weights yet, and may raise to cancel; on_step(step, record) after every
    step. Whatever ends the run, the last completed step is saved and can be resumed.

    processes: those that train it together, each with batch_size samples in a micro-batch. The first alone reads and
    writes the folder, watches the numbers and calls on_start and on_step.
    """

    config: TrainConfig
    method: Method
    roles: object
    path: Path
    examples: Examples
    folder: states.RunFolder
    device: torch.device
    source: dict = field(default_factory=dict)  # what else identifies the run: model, data
    on_micro: Callable[[], None] = lambda: None
    on_step: Callable[[int, dict], None] = lambda step, record: None
    on_start: Callable[[int], None] = lambda step: None
    processes: Alone = ALONE

    def __post_init__(self):
        self.parameters = {role: self.roles.parameters(role) for role in sorted(self.method.trained)}
        self.averaged = self.roles.parameters("target") if self.config.ema_decay else {}
        self.training = {role: self.method.training(role, self.config) for role in self.parameters}
        self.optimizers = {
            role: optimizers.make(self.config.optimizer, ps.values(), own.rate, own.betas)
            for (role, ps), own in zip(self.parameters.items(), self.training.values())
        }
        self.scaler = make_scaler(self.config.precision, self.device)
        self.step = 0
        self.begun = False  # whether a turn of this step has moved its weights: what is saved now is no whole step
        self.ahead = 0  # micro-batches that the numbering skips, after a part of the run on other processes

    def follow(self) -> None:
        """Take the same steps as the first process, which alone keeps and shows what comes of them."""
        while self.step < self.config.steps:
            self.train_step()
            self.step += 1

    def run(self) -> None:
        """Train from the folder's newest state (or from nothing) to config.steps."""
        self.resume()
        if not self.processes.first:
            return self.follow()
        self.on_start(self.step)
        saved, every, watch = self.step, self.config.save_every, Watch.of(self.folder.metrics())
        took: deque[float] = deque(maxlen=51)  # seconds of the recent steps, which tell the time left
        try:
            while self.step < self.config.steps:
                record = self.train_step()
                self.step += 1
                took.append(record["seconds"])
                recent = list(took)[1:] or took  # the oldest is in a short run the first, which warms up
                record["left_s"] = round(fmean(recent) * (self.config.steps - self.step), 1)
                self.folder.log(record)
                watch.see(record)
                self.on_step(self.step, record)
                if self.step // every > saved // every and not watch.worried:
                    saved = self.save(watch.protected)
        except NonFiniteLoss as error:
            watch.shaken = True
            raise NonFiniteLoss(f"{error} {way_back(self.folder.steps(), watch.sound)}") from None
        except DeadRun as error:
            kept, saved = f"The state of step {saved} is kept" if saved else "No state was due before it", self.step
            raise DeadRun(f"{error} {kept}: set these and resume, or choose another run name.") from None
        finally:
            if self.step > saved and self.folder.path.is_dir():  # a deleted run's does not come back as half of one
                self.save(watch.protected)

    def resume(self) -> None:
        step, tensors = self.read() if self.processes.first else (0, {})
        self.step, tensors = self.processes.from_first(step, tensors)
        if tensors:
            samples, size = int(tensors.pop("samples", 0)), self.config.batch_size * self.processes.count
            if not samples:  # all of it in one process
                samples = self.step * self.config.accumulate * self.config.batch_size
            self.ahead = -(-samples // size) - self.step * self.config.accumulate
            states.unpack(tensors, self.kept(), self.optimizers)
            scaler = self.scaler.state_dict()
            found = {name: type(value)(tensors.get(f"scaler.{name}", value)) for name, value in scaler.items()}
            self.scaler.load_state_dict(found)

    def read(self) -> tuple[int, dict[str, Tensor]]:
        """(step, tensors) of the folder's state, which gets the settings of this part of the run."""
        settings = {**self.source, **self.method.recipe(), **asdict(self.config)}
        before = self.folder.read_config()
        if before is not None:
            check_resume(before, settings, f"The run {self.folder.path.name!r}")
        found = self.folder.load()
        self.folder.write_config(settings)
        return found

    def kept(self) -> dict[str, dict[str, Tensor]]:
        """The roles that a state holds: the trained ones, the moving average and the student of the phase before."""
        average = {"target": self.averaged} if self.averaged else {}
        previous = {"previous": self.roles.parameters("previous")} if self.method.handovers else {}
        return {**self.parameters, **average, **previous}

    def save(self, protected: int = 0) -> int:
        self.folder.save(self.step, dict(self.packed()), self.config.keep_last, protected)
        return self.step

    def packed(self) -> Iterator[tuple[str, Tensor]]:
        """(name, tensor on the CPU) of all that a state holds, one after the other."""
        yield from states.packed(self.kept(), self.optimizers)
        for name, value in self.scaler.state_dict().items():
            yield f"scaler.{name}", torch.tensor(value)
        if self.ahead or self.processes.count > 1:  # so that another number of processes goes on behind these samples
            micros = self.step * self.config.accumulate + self.ahead
            yield "samples", torch.tensor(micros * self.config.batch_size * self.processes.count)

    def train_step(self) -> dict:
        """All turns that are due, then the moving average. A turn that is not due costs nothing."""
        started, record, self.begun = time.perf_counter(), {"step": self.step + 1}, False
        if self.step in self.method.handovers:
            self.roles.copy("target" if self.averaged else "student", "previous")
        for number, turn in enumerate(self.method.turns):
            if turn.due(self.step):
                logs = self.take(turn, "sample" if number == 0 else turn.role)
                loss = logs.pop("loss")
                record.update(logs, **{"loss" if turn.role == "student" else f"{turn.role}_loss": loss})
        if self.averaged:
            update_average(self.averaged, self.roles.parameters("student"), self.decay())
        return {**record, "seconds": round(time.perf_counter() - started, 4)}

    def decay(self) -> float:
        """mu of the moving average, min(mu, (1 + n) / (10 + n)) in the n-th step of a phase: young, it forgets quickly
        the weights that it began with."""
        n = self.step - max(first for first in (0, *self.method.phases) if first <= self.step)
        return min(self.config.ema_decay, (1 + n) / (10 + n))

    def take(self, turn: Turn, stream: str) -> dict:
        """Forward and backward of every term on every micro-batch, then one optimizer step for the turn's role.

        Losses and logs come off the device once, before the weights are touched.
        """
        optimizer, size = self.optimizers[turn.role], self.config.batch_size
        whole = size * self.processes.count
        logs: dict[str, Tensor] = {}
        training = self.training[turn.role]
        rate = self.config.rate(self.step, training.rate, training.warmup, self.method.begins(turn.role))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        for micro in range(self.config.accumulate):
            if not self.begun:
                self.on_micro()
            first = (self.step * self.config.accumulate + micro + self.ahead) * whole + self.processes.index * size
            steps = {"step": self.step, "stream": stream, "steps": self.config.steps, "whole": whole}
            batch = make_batch(self.examples, self.config.seed, first, size, self.device, **steps)
            for name, value in self.accumulate(turn, batch).items():
                logs[name] = logs.get(name, 0.0) + value / self.config.accumulate
        self.processes.average_gradients(self.parameters[turn.role].values())
        self.scaler.unscale_(optimizer)
        norm = self.clip(list(self.parameters[turn.role].values()))
        numbers = self.processes.average(on_cpu({**logs, f"{turn.role}_gradient": norm}))
        self.require_finite(turn.role, "loss", numbers["loss"])
        if self.scaler.get_scale() <= 1:  # above, the scaler answers an overflow by itself; 1 is also that of none
            self.require_finite(turn.role, "gradient norm", numbers[f"{turn.role}_gradient"])
        self.scaler.step(optimizer)
        self.begun = True
        self.scaler.update()
        optimizer.zero_grad(set_to_none=True)
        return {**numbers, **({"learning_rate": rate} if turn.role == "student" else {})}

    def clip(self, parameters: list[Tensor]) -> Tensor:
        """Scale the gradients to the largest norm that is allowed; the norm before it."""
        return torch.nn.utils.clip_grad_norm_(parameters, self.config.clip)

    def accumulate(self, turn: Turn, batch) -> dict[str, Tensor]:
        """Backward term by term, so that one graph is alive at a time. The logs stay on the device."""
        logs, total = {}, torch.zeros((), device=self.device)
        for term in turn.terms:
            with self.autocast():
                loss, of_term = term(self.roles, self.path, batch)
            self.scaler.scale(loss * (term.weight / self.config.accumulate)).backward()
            total = total + term.weight * loss.detach().float()
            logs.update(of_term)
        return {**logs, "loss": total}

    def require_finite(self, role: str, what: str, value: float) -> None:
        """Stop before the weights are touched, so that the state of the last step stays good."""
        if not math.isfinite(value):
            whose = "" if role == "student" else f"{role}'s "
            rate = "the learning rate" if role == "student" else RATES.get(role, "its rate")
            raise NonFiniteLoss(
                f"The {whose}{what} became {value} at step {self.step + 1}. The state of step {self.step} is kept: "
                f"lower {rate}, or use bf16 or fp32, and resume."
            )

    def autocast(self):
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.config.precision)
        # Without its cache: older torch keeps casts made under no_grad (the target's), and the student loses its graph.
        return torch.autocast(self.device.type, dtype=kind, cache_enabled=False) if kind else nullcontext()


def on_cpu(logs: dict[str, Tensor]) -> dict[str, float]:
    """All numbers in one transfer: each float() of its own would wait for the device."""
    return dict(zip(logs, torch.stack([value.detach().float() for value in logs.values()]).tolist()))


def make_scaler(precision: str, device: torch.device):
    """Loss scaling for fp16, whose gradients would vanish; for other precisions one that does nothing."""
    half = precision == "fp16"
    require(not half or device.type == "cuda", "fp16 training needs a CUDA device. Take bf16 or fp32.")
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler("cuda", enabled=half)
    return torch.cuda.amp.GradScaler(enabled=half)  # before torch 2.3
