"""Small runs in fp64, in this process or in several: `python together.py FOLDER METHODS STEPS BATCH DIES_AT`.

A method with PARTS behind its name has networks that lie in parts on the processes.
"""

import copy
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from bootstrap import register

    register()

import torch
from fewstep.tests.helpers.gaussian import Mixture, Student, examples, sd_sigmas
from fewstep.training import methods, options, processes, sharding
from fewstep.training.config import TrainConfig
from fewstep.training.loop import Trainer
from fewstep.training.options_trajectory import TrajectoryOptions
from fewstep.training.path import Path as NoisePath
from fewstep.training.roles import ModuleRoles
from fewstep.training.sharded_loop import ShardedTrainer
from fewstep.training.state import RunFolder
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CPU, PARTS = torch.device("cpu"), "+parts"
FREE = {"guidance_min": 1.0, "guidance_max": 7.0}
HEADS = options.DiscriminatorOptions(rate=1e-3, head_start=0)
SCORE = {"guidance": 2.0, "critic_guidance": 1.0}


def tscd():
    jump = options.ConsistencyOptions(boundary=False, end="random", skip=100, target="ema", **FREE)
    shape = {"segments": (2, 1), "phase_steps": (2, 2), "distance": (1.0, 1.0), "adversarial": (0.1, 0.1)}
    return methods.tscd(options.TSCDOptions(**shape, previous_teacher=True, discriminator=HEADS, consistency=jump))


METHODS = {
    "lcm": lambda: methods.lcm(options.ConsistencyOptions(skip=100, **FREE)),
    "tscd": tscd,
    "imagine-flash": lambda: methods.imagine_flash(options.ReconstructionOptions(guidance=2.0)),
    "swiftbrush": lambda: methods.swiftbrush(options.SwiftBrushOptions()),
    "dmd": lambda: methods.dmd(options.DMDOptions(score=options.ScoreOptions(**SCORE), student_every=2)),
    "tdm": lambda: methods.tdm(TrajectoryOptions(steps=(1, 3), guidance=2.0)),
}


class Points(nn.Module):
    """A discriminator of points [b, 2, 1, 1]."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 1))

    def forward(self, features, told):
        return [self.net(features[0].flatten(1))]


@dataclass
class Run:
    """One trainer; gradients: {"step.role.name": of every optimizer step}, as the optimizer saw them."""

    trainer: Trainer
    gradients: dict[str, Tensor] = field(default_factory=dict)
    shares: list[float] = field(default_factory=list)  # how much of each gradient this process had

    def __post_init__(self):
        for role, optimizer in self.trainer.optimizers.items():
            optimizer.register_step_pre_hook(lambda *_, role=role: self.keep(role))

    def keep(self, role: str) -> None:
        for name, parameter in self.trainer.parameters[role].items():
            self.gradients[f"{self.trainer.step}.{role}.{name}"] = sharding.whole(parameter.grad).clone()
            self.shares.append(share(parameter.grad))

    def results(self) -> dict[str, Tensor]:
        """After the run: all gradients, and the weights of every role that a state holds."""
        self.trainer.run()
        kept = self.trainer.kept().items()
        weights = {f"weight.{r}.{name}": sharding.whole(p.detach()).clone() for r, ps in kept for name, p in ps.items()}
        return {**self.gradients, **weights}

    def held(self) -> dict[str, list[float]]:
        """The shares of the trained networks' gradients and moments that this process had."""
        optimizer = self.trainer.optimizers["student"]
        moments = [share(state[name]) for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
        return {"gradients": self.shares, "moments": moments}


def share(tensor: Tensor) -> float:
    return sharding.own(tensor).numel() / tensor.numel()


def run(folder: Path, name: str, steps: int, batch: int, together=processes.ALONE, dies_at: int = -1) -> Run:
    """dies_at: this process is killed in that step."""
    name, parts, _ = name.partition(PARTS)
    method, path = METHODS[name](), NoisePath(sd_sigmas().double())
    torch.manual_seed(0)
    student = Student(Mixture(), path, width=8).double()
    nn.init.normal_(student.net[-1].weight, std=0.1)
    names = [role for role in method.roles if role != "discriminator"]
    denoisers = {"teacher": Mixture(), **{role: copy.deepcopy(student) for role in names}}
    heads = Points().double() if "discriminator" in method.roles else None
    for role in names if parts else ():
        sharding.shard(denoisers[role], denoisers[role].net[:3], CPU, together.count)  # the rest by the root
    roles = ModuleRoles(denoisers, heads, method.discriminator_features)
    settings = {"learning_rate": 1e-3, "accumulate": 2, "clip": 1e9, "save_every": 100, "ema_decay": 0.9}
    config = TrainConfig(steps=steps, batch_size=batch, **settings)

    def on_micro():
        if trainer.step == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    trainer = (ShardedTrainer if parts else Trainer)(
        config, method, roles, path, examples(64), RunFolder(folder), CPU, on_micro=on_micro, processes=together
    )
    return Run(trainer)


def start(index: int, port: int, *arguments) -> subprocess.Popen:
    """One of two processes, with the environment that `accelerate launch` and torchrun give theirs."""
    place = {"RANK": index, "LOCAL_RANK": index, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1, "ACCELERATE_USE_CPU": "true"}
    env = os.environ | {name: str(value) for name, value in place.items()}
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def pair(folder: Path, names: str, steps: int, batch: int, dies_at: int = -1) -> tuple[list[int], str]:
    """(exit codes, what they printed) of two processes; dies_at: the second is killed in that step."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    both = [start(index, port, folder, names, steps, batch, index * (dies_at + 1) - 1) for index in (0, 1)]
    try:
        said = [process.communicate(timeout=200)[0] for process in both]
    finally:
        for process in both:
            process.kill()
    return [process.returncode for process in both], "\n".join(said)


def results_of(folder: Path, name: str) -> dict[str, Tensor]:
    return load_file(folder / f"{name}.results.safetensors")


def main(folder: str, names: str, steps: str, batch: str, dies_at: str) -> None:
    together, root = processes.launched(), Path(folder)
    for name in names.split(","):
        # The second has a folder of its own, as on another machine, and must leave it untouched.
        own = root / name if together.first else root / "second" / name
        training = run(own, name, int(steps), int(batch), together, int(dies_at))
        results = training.results()
        (root / f"{name}.held-{together.index}.json").write_text(json.dumps(training.held()))
        if together.first:
            save_file(results, root / f"{name}.results.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
