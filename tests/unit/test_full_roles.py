"""Roles with weights of their own: the losses of LoRA roles, exact resuming, and LCM's guidance embedding."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from fewstep.samplers.guidance_embedding import GuidedTimestep
from fewstep.tests.helpers.gaussian import Mixture, Student, examples
from fewstep.tests.helpers.trainers import CPU, PATH, Net, some_batch
from fewstep.training import methods
from fewstep.training.config import TrainConfig
from fewstep.training.consistency import consistency
from fewstep.training.data import make_batch
from fewstep.training.guidance_embedding import GuidanceEmbedding
from fewstep.training.loop import Trainer
from fewstep.training.options import ConsistencyOptions, DMDOptions, ReconstructionOptions, ScoreOptions
from fewstep.training.reconstruction import reconstruction
from fewstep.training.roles import LoraRoles, ModuleRoles, checkpoint_blocks, equal_adapters
from fewstep.training.score import denoising, distribution_matching
from fewstep.training.state import RunFolder
from fewstep.training.validation import HeldOut

TARGETS = ["first", "block.1", "block.3"]
FREE = {"guidance_min": 1.0, "guidance_max": 3.0}


def full_roles(wholes=("student", "target"), adapters=("critic",), checkpointed=False) -> LoraRoles:
    torch.manual_seed(0)
    net = Net()
    nets = {role: copy.deepcopy(net) for role in wholes}
    found = {role: (whole, whole.__call__) for role, whole in nets.items()}
    roles = LoraRoles(net, net.__call__, equal_adapters(TARGETS, 4, 4.0, adapters), wholes=found)
    if checkpointed:
        checkpoint_blocks(roles, [net.block, *(whole.block for whole in nets.values())])
    return roles


TERMS = {
    "LCM": partial(consistency, options=ConsistencyOptions(skip=200, target="ema", **FREE)),
    "TSCD": partial(consistency, options=ConsistencyOptions(segments=4, end="random", boundary=False, **FREE)),
    "Imagine Flash": partial(reconstruction, options=ReconstructionOptions()),
    "VSD": partial(distribution_matching, options=ScoreOptions(weight="vsd", critic_guidance=4.5, guidance=2.0)),
    "DMD": partial(distribution_matching, options=ScoreOptions(guidance=2.0)),
    "critic": partial(denoising, options=ScoreOptions()),
}


@pytest.mark.parametrize("wholes", [("student", "target"), ("student", "target", "critic")])
@pytest.mark.parametrize("name", TERMS)
def test_with_the_same_weights_the_loss_is_that_of_loras_at_zero(name, wholes):
    """A fresh copy and a fresh adapter are both the teacher, so every term gives one number for both."""
    torch.manual_seed(0)
    net = Net()
    loras = LoraRoles(net, net.__call__, equal_adapters(TARGETS, 4, 4.0, ("student", "target", "critic")))
    rest = tuple(role for role in ("critic",) if role not in wholes)
    losses = [
        TERMS[name](
            roles,
            PATH,
            some_batch(),
        )[0]
        for roles in (loras, full_roles(wholes, rest))
    ]
    assert torch.equal(*losses)


def test_each_role_has_the_gradient_of_its_own_weights_alone():
    roles, batch = full_roles(checkpointed=True), some_batch(4)
    sigma = torch.ones(4)
    loss = roles("student", batch.x0, sigma, None).square().mean()
    with torch.no_grad():  # another role between forward and backward
        roles("critic", batch.x0, sigma, None)
        roles("teacher", batch.x0, sigma, None)
    loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in roles.parameters("student").values())
    assert all(p.grad is None for role in ("target", "critic") for p in roles.parameters(role).values())
    assert all(p.grad is None for p in roles.net.parameters())
    assert not any(p.requires_grad for p in roles.parameters("target").values())
    plain = full_roles()
    plain("student", batch.x0, sigma, None).square().mean().backward()
    both = zip(plain.parameters("student").values(), roles.parameters("student").values())
    assert all(torch.allclose(a.grad, b.grad) for a, b in both)


def trainer(folder, steps: int, **hooks) -> Trainer:
    method = methods.dmd(DMDOptions(score=ScoreOptions(guidance=2.0), student_every=2))
    config = TrainConfig(steps=steps, batch_size=8, learning_rate=1e-3, save_every=3, ema_decay=0.9, train="full")
    return Trainer(config, method, full_roles(), PATH, examples(64), RunFolder(folder), CPU, **hooks)


def test_stop_and_resume_equals_never_having_stopped_and_the_teacher_stays(tmp_path):
    def stop(step, _):
        if step == 5:
            raise KeyboardInterrupt

    whole = trainer(tmp_path / "whole", 8)
    before = copy.deepcopy(whole.roles.net.state_dict())
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path / "cut", 8, on_step=stop).run()
    again = trainer(tmp_path / "cut", 8)
    again.run()
    for role in ("student", "target", "critic"):
        pairs = zip(whole.roles.parameters(role).values(), again.roles.parameters(role).values())
        assert all(torch.equal(a, b) for a, b in pairs)
    lora = ("lora_A", "lora_B")
    kept = {k: v for k, v in whole.roles.net.state_dict().items() if not any(side in k for side in lora)}
    assert kept and all(torch.equal(v, before[k]) for k, v in kept.items())


# --- the guidance embedding ------------------------------------------------------------------------------------------


def test_the_embedding_starts_at_nothing_and_sampling_hears_what_training_heard():
    """GuidedTimestep, what the loader puts on a MODEL, gives the same as the trained layer; each sample has its w."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(20, 8)
    embedding = GuidanceEmbedding(layer, lambda y, sigma, cond: layer(y), usual=3.0)
    y, plain = torch.randn(2, 20), copy.deepcopy(layer)
    plain._forward_pre_hooks.clear()
    assert torch.equal(embedding.told(y, torch.ones(2), {}), plain(y))
    torch.nn.init.normal_(embedding.cond_proj.weight)
    both = embedding.told(y, torch.ones(2), {"w": torch.tensor([1.0, 7.0])})
    for row, guidance in enumerate((2.0, 8.0)):
        heard = GuidedTimestep(plain, embedding.cond_proj.weight.detach(), guidance)
        assert torch.allclose(both[row], heard(y)[row], atol=1e-4)
    usual = embedding.told(y, torch.ones(2), {})
    assert torch.allclose(usual, GuidedTimestep(plain, embedding.cond_proj.weight.detach(), 4.0)(y), atol=1e-4)


def test_the_teacher_is_never_told_and_student_and_target_hear_their_guidance():
    heard = {}

    def listening(role):
        def denoise(y, sigma, cond):
            heard.setdefault(role, []).append(cond.get("w"))
            return Mixture()(y, sigma, cond)

        return denoise

    roles = ModuleRoles({role: listening(role) for role in ("teacher", "student", "target")})
    batch = some_batch()
    options = ConsistencyOptions(guidance_min=2.0, guidance_max=5.0, target="ema", guidance_embedding=True)
    consistency(roles, PATH, batch, options)
    drawn = 2 + batch.uniform[:, 1] * 3
    assert heard["teacher"] == [None]
    assert torch.equal(heard["student"][0], drawn - 1) and torch.equal(heard["target"][0], drawn - 1)
    heard.clear()
    consistency(roles, PATH, batch, replace(options, guidance_embedding=False))
    assert heard["student"] == heard["target"] == [None]


class Pull:
    """The exact denoiser of N(m, 0.3^2), m = 0.5 or -0.5 by label and 0 without: guidance g takes a picture to g m."""

    def __call__(self, y, sigma, cond):
        label, variance = cond["label"].view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1) ** 2
        mean = torch.where(label < 0, 0.0, label - 0.5)
        return (0.09 * y + variance * mean) / (0.09 + variance)


class Hearing(Student):
    """The toy student with the embedding on its first layer."""

    def __init__(self):
        super().__init__(Pull(), PATH)
        self.time_embedding = GuidanceEmbedding(self.net[0], super().forward, 0.0)

    def forward(self, y, sigma, cond):
        return self.time_embedding.told(y, sigma, cond)


def test_one_student_learns_the_guided_teacher_at_every_guidance(tmp_path):
    """Told 1 or 4, the student ends near that teacher's trajectories; told the other one, far from them."""
    torch.manual_seed(0)
    student = Hearing()
    roles = ModuleRoles({"teacher": Pull(), "student": student, "target": copy.deepcopy(student)})
    config = TrainConfig(steps=120, batch_size=128, learning_rate=4e-3, decay="cosine", ema_decay=0.9, save_every=1000)
    span = {"guidance_min": 1.0, "guidance_max": 4.0}
    options = ConsistencyOptions(skip=500, solver_steps=5, loss="l2", target="ema", guidance_embedding=True, **span)
    batch = make_batch(examples(), 0, 0, 256, CPU, stream="held-out")

    def error(truth: float, told: float) -> float:
        roles.denoisers["target"].time_embedding.usual = told - 1
        return HeldOut(PATH, batch, [999, 499], truth, 50).error(roles, "target")

    before = error(4.0, 4.0)
    Trainer(config, methods.lcm(options), roles, PATH, examples(), RunFolder(tmp_path), CPU).run()
    for scale, other in ((1.0, 4.0), (4.0, 1.0)):
        assert error(scale, scale) < 0.1 * min(before, error(scale, other))
