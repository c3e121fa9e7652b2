"""8-bit AdamW: made where its package is, refused with a sentence where it is not, resumed to the bit.

The package is optional and not among the tests' requirements, so a stand-in of the same form (8-bit moments with a
scale, an integer count) takes its place; where bitsandbytes is installed the same tests run on the real one too.
"""

import importlib.util
import sys

import pytest
import torch
from fewstep.tests.helpers.trainers import trainer, weights_of
from fewstep.training import optimizers
from fewstep.training.config import TrainConfig
from fewstep.training.state import RunFolder
from torch import nn


class StandIn(torch.optim.Optimizer):
    """Adam with its moments in uint8 and a scale, its count a Python int: the form of bitsandbytes' state."""

    def __init__(self, params, lr, betas=(0.9, 0.999), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in (p for p in group["params"] if p.grad is not None):
                state = self.state[p]
                if not state:
                    zeros = torch.zeros(p.shape, dtype=torch.uint8, device=p.device)
                    state.update(step=0, state1=zeros + 128, state2=zeros.clone(), absmax1=p.new_zeros(1))
                    state["absmax2"] = p.new_zeros(1)
                state["step"] += 1
                assert state["state1"].dtype == torch.uint8 and isinstance(state["step"], int)
                m = 0.9 * (state["state1"].float() - 128) / 127 * state["absmax1"] + 0.1 * p.grad
                v = 0.99 * state["state2"].float() / 255 * state["absmax2"] + 0.01 * p.grad**2
                p -= group["lr"] * m / (1 - 0.9 ** state["step"]) / ((v / (1 - 0.99 ** state["step"])).sqrt() + 1e-8)
                state["absmax1"], state["absmax2"] = m.abs().max().view(1), v.max().view(1)
                state["state1"] = (m / state["absmax1"].clamp(min=1e-30) * 127 + 128).round().to(torch.uint8)
                state["state2"] = (v / state["absmax2"].clamp(min=1e-30) * 255).round().to(torch.uint8)


INSTALLED = importlib.util.find_spec("bitsandbytes") is not None


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.skipif(not INSTALLED, reason="optional"))])
def package(request, monkeypatch):
    if request.param == "stand-in":
        monkeypatch.setattr(optimizers, "eight_bit", lambda: StandIn)
    return request.param


def absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)


def test_stop_and_resume_in_8_bits_equals_never_having_stopped(package, tmp_path):
    whole = trainer(tmp_path / "whole", 10, optimizer="adamw8bit")
    whole.run()
    trainer(tmp_path / "cut", 6, optimizer="adamw8bit").run()
    second = trainer(tmp_path / "cut", 10, optimizer="adamw8bit")
    second.run()
    assert all(torch.equal(a, b) for a, b in zip(weights_of(whole), weights_of(second)))
    assert not torch.equal(weights_of(whole)[1], torch.zeros_like(weights_of(whole)[1]))


def test_large_moments_are_8_bit_in_the_state_file_and_after_it(package):
    """bitsandbytes keeps weights below 4,096 elements in fp32; from there on a moment is a byte."""
    from fewstep.training import state as states

    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(64, 128))

    def steps(optimizer, parameter, count):
        for n in range(count):
            parameter.grad = torch.sin(parameter.detach() * (n + 1))
            optimizer.step()

    first = optimizers.make("adamw8bit", [weight], 1e-2)
    steps(first, weight, 3)
    packed = {key: t.clone() for key, t in states.packed({"student": {"w": weight}}, {"student": first})}
    assert sum(t.dtype == torch.uint8 and t.numel() == weight.numel() for t in packed.values()) == 2
    again = nn.Parameter(torch.zeros(64, 128))
    second = optimizers.make("adamw8bit", [again], 1e-2)
    states.unpack(packed, {"student": {"w": again}}, {"student": second})
    steps(first, weight, 3)
    steps(second, again, 3)
    assert torch.equal(weight, again)


def test_without_its_package_it_is_refused_in_words(monkeypatch, tmp_path):
    absent(monkeypatch)
    optimizers.check("adamw")
    for refuse in (lambda: optimizers.check("adamw8bit"), lambda: trainer(tmp_path, 2, optimizer="adamw8bit")):
        with pytest.raises(ValueError, match="needs the package bitsandbytes.*pip install bitsandbytes.*take adamw"):
            refuse()


def test_a_device_without_its_kernels_is_named(package, monkeypatch):
    def no_kernel(self):
        raise NotImplementedError("no kernel for this backend")

    monkeypatch.setattr(optimizers.eight_bit(), "step", no_kernel)
    with pytest.raises(ValueError, match="does not run on cpu with the installed bitsandbytes.*Take adamw"):
        optimizers.make("adamw8bit", [nn.Parameter(torch.zeros(2))], 1e-3)


def test_another_optimizer_is_another_run(package, tmp_path):
    trainer(tmp_path, 2).run()
    config = RunFolder(tmp_path).read_config()
    del config["optimizer"]  # as runs of before had it
    RunFolder(tmp_path).write_config(config)
    with pytest.raises(ValueError, match="optimizer \\('adamw' -> 'adamw8bit'\\)"):
        trainer(tmp_path, 4, optimizer="adamw8bit").run()


def test_other_names_are_refused():
    with pytest.raises(ValueError, match="adamw or adamw8bit"):
        TrainConfig(optimizer="sgd")
