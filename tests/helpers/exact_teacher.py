"""Training on the exact teacher, and the error of what comes out: for tests of methods."""

import copy
from dataclasses import replace

import torch
from fewstep.samplers import schedule
from fewstep.samplers.ddim import sample_ddim
from fewstep.samplers.lcm import sample_lcm
from fewstep.tests.helpers.fake_host import DiscreteSampling, Model
from fewstep.tests.helpers.gaussian import Mixture, Student, examples, sd_sigmas, sliced_w2
from fewstep.training.config import TrainConfig
from fewstep.training.data import make_batch
from fewstep.training.loop import Trainer
from fewstep.training.path import Path
from fewstep.training.roles import ModuleRoles
from fewstep.training.state import RunFolder

CPU = torch.device("cpu")
PATH = Path(sd_sigmas())


def error(denoiser, sampler, timesteps: list[int], scale: float = 1.0, count: int = 2000) -> float:
    """Sliced W2 between the sampler's points and the data, mean of the two classes."""
    errors = []
    for label in (0, 1):
        labels = torch.full((count,), label)
        model = Model(denoiser, DiscreteSampling(), {"label": labels.view(-1, 1)})
        sigmas = schedule.sigmas_of(model.model_sampling, timesteps)
        noise = torch.randn((count, 2, 1, 1), generator=torch.Generator().manual_seed(label))
        with torch.no_grad():
            made = sampler(model, noise * (1 + sigmas[0] ** 2).sqrt(), sigmas, {"seed": 0})
        real = scale * Mixture().sample_data(labels, torch.Generator().manual_seed(9))
        errors.append(sliced_w2(made.flatten(1), real.flatten(1)))
    return sum(errors) / 2


def trained(method, folder, steps: int, data=None, kind=Student, **settings) -> Student:
    """A student that starts as the exact teacher, after some steps of a method."""
    torch.manual_seed(0)
    student = kind(Mixture(), PATH)
    names = [role for role in method.roles if role != "discriminator"]
    denoisers = {"teacher": Mixture(), **{role: copy.deepcopy(student) for role in names}}
    heads = discriminator() if "discriminator" in method.roles else None
    roles = ModuleRoles(denoisers, heads, method.discriminator_features)
    settings = {"batch_size": 128, "learning_rate": 4e-3, "decay": "cosine", "save_every": 10_000, **settings}
    config = TrainConfig(steps=steps, **settings)
    Trainer(config, method, roles, PATH, data or examples(), RunFolder(folder), CPU).run()
    return roles.denoisers["target" if config.ema_decay else "student"]


class AsPoints(torch.nn.Module):
    """A discriminator of points; the pack's heads are made for maps (their norms make 1 x 1 maps constant)."""

    def __init__(self):
        super().__init__()
        layers = [torch.nn.Linear(2, 64), torch.nn.SiLU(), torch.nn.Linear(64, 64), torch.nn.SiLU()]
        self.net = torch.nn.Sequential(*layers, torch.nn.Linear(64, 1))

    def forward(self, features, told):
        return [self.net(features[0].flatten(1))]


def discriminator() -> AsPoints:
    torch.manual_seed(1)
    return AsPoints()


def undistilled(timesteps: list[int]) -> float:
    return min(error(Mixture(), sampler, timesteps) for sampler in (sample_ddim, sample_lcm))


def some_batch(count: int = 64, **other):
    return replace(make_batch(examples(64), 0, 0, count, CPU), **other)


def awake(seed: int) -> Student:
    """A student with a correction of its own."""
    torch.manual_seed(seed)
    student = Student(Mixture(), PATH)
    torch.nn.init.normal_(student.net[-1].weight, std=0.3)
    return student
