"""Trainers of small networks, without a host."""

import torch
from fewstep.tests.helpers.gaussian import examples, sd_sigmas
from fewstep.training.batch import Batch
from fewstep.training.config import TrainConfig
from fewstep.training.data import make_batch
from fewstep.training.loop import Trainer
from fewstep.training.methods import lcm
from fewstep.training.options import ConsistencyOptions
from fewstep.training.path import Path
from fewstep.training.roles import LoraRoles, checkpoint_blocks, equal_adapters
from fewstep.training.state import RunFolder
from torch import nn

CPU = torch.device("cpu")
PATH = Path(sd_sigmas())
OPTIONS = {"guidance_min": 1.0, "guidance_max": 1.0}


def some_batch(count: int = 16, seed: int = 0, device=CPU) -> Batch:
    return make_batch(examples(64), seed, 0, count, device)


class Net(nn.Module):
    """A small convolutional denoiser with a host-like block to checkpoint."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 8, 1)
        self.block = nn.Sequential(nn.SiLU(), nn.Conv2d(8, 8, 1), nn.SiLU(), nn.Linear(1, 1))
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, y, sigma, cond):
        return self.last(self.block(self.first(y / (1 + sigma.view(-1, 1, 1, 1)))))


def lora_roles(names=("student", "target"), checkpointed=False, device=CPU) -> LoraRoles:
    torch.manual_seed(0)
    net = Net().to(device)
    roles = LoraRoles(net, net.__call__, equal_adapters(["first", "block.1", "block.3"], 4, 4.0, names))
    if checkpointed:
        checkpoint_blocks(roles, [net.block])
    return roles


def trainer(folder, steps: int, seed: int = 0, device=CPU, **options) -> Trainer:
    roles = lora_roles(options.pop("names", ("student", "target")), device=device)
    hooks = {key: options.pop(key) for key in ("on_micro", "on_step") if key in options}
    method = options.pop("method", lcm(ConsistencyOptions(skip=100, **OPTIONS)))
    settings = {"batch_size": 8, "rank": 4, "alpha": 4.0, "learning_rate": 1e-2, "save_every": 4, "ema_decay": 0.9}
    config = TrainConfig(steps=steps, seed=seed, **{**settings, **options})
    return Trainer(config, method, roles, PATH, examples(64), RunFolder(folder), device, **hooks)


def weights_of(run: Trainer) -> list[torch.Tensor]:
    return [p.detach().clone() for role in ("student", "target") for p in run.roles.parameters(role).values()]
