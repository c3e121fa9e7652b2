"""What a run needs is known before it starts: measured without memory, refused when it cannot fit."""

import shutil
from collections import namedtuple
from dataclasses import replace

import pytest
import torch
from fewstep.tests.helpers.estimates import job_of, really_kept
from fewstep.tests.helpers.in_process import bits, short_lora
from fewstep.tests.helpers.lora_runs import METHODS, run
from fewstep.training import methods
from fewstep.training.options import RoleOptions, SwiftBrushOptions
from fewstep.training.state import RunFolder


@pytest.mark.parametrize("settings", [{"batch_size": 3}, {"precision": "bf16", "side": 128}], ids=["fp32", "bf16"])
def test_activations_without_memory_are_those_of_a_real_pass(settings, tiny):
    """Within 15 %: the LoRA's side path is ours in the one and peft's in the other."""
    from fewstep.host.training import activations

    before = bits(tiny[0])
    job = job_of(tiny, **settings)
    kept, widths = activations.kept(job)
    assert kept.bytes(False) == pytest.approx(really_kept(job), rel=0.15)
    assert len(widths) == 9 and kept.bytes(True) < 0.5 * kept.bytes(False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in bits(tiny[0]).items())


def test_the_estimate_moves_with_the_settings(tiny):
    from fewstep.host.training import memory

    def need(**settings):
        return memory.of(job_of(tiny, **settings))

    plain = need()
    assert need(batch_size=4).parts["activations"] == pytest.approx(2 * plain.parts["activations"], rel=0.05)
    assert need(side=192).parts["activations"] > 3 * plain.parts["activations"]
    assert need(rank=16).parts["roles"] == 2 * plain.parts["roles"]
    assert need(layers="attention").parts["roles"] < plain.parts["roles"]
    assert need(precision="bf16").parts["training copy"] * 2 == plain.parts["training copy"]
    assert need(optimizer="adamw8bit").parts["moments"] * 4 == plain.parts["moments"]
    assert need(gradient_checkpointing=True).parts["activations"] < 0.5 * plain.parts["activations"]
    assert need(ema_decay=0.9).parts["roles"] == 2 * plain.parts["roles"]
    as_student = RoleOptions()
    swift = need(method=methods.swiftbrush(SwiftBrushOptions(critic=as_student)))
    assert swift.parts["moments"] == 2 * plain.parts["moments"] and swift.parts["gradients"] == plain.parts["gradients"]
    network = plain.parts["training copy"] // 4
    full = need(train="full").parts
    assert full["roles"] == 4 * network and full["moments"] == 8 * network
    assert full["activations"] > 0.5 * plain.parts["activations"]
    assert need(keep_last=5).states == 2 * plain.states


@pytest.mark.parametrize("name", ["DMD", "TSCD"])
def test_saved_states_are_as_large_as_expected(name, tiny, tmp_path):
    """Student, average, critic, discriminator and previous student, with their moments; AdamW's counts apart."""
    from fewstep.host.training import memory

    _, job = run(tiny, tmp_path, METHODS[name](), steps=2)
    folder = RunFolder(tmp_path / "output" / "fewstep_runs" / "run")
    saved = sum(tensor.nbytes for key, tensor in folder.load()[1].items() if not key.endswith(".step"))
    assert memory.of(job).states == (job.config.keep_last + 1) * saved


def refused(tiny, monkeypatch, free: int, **settings) -> str:
    from fewstep.host.training import check, memory

    monkeypatch.setattr(memory, "free_memory", lambda model: free)
    with pytest.raises(ValueError) as error:
        check.check(job_of(tiny, **settings))
    return str(error.value)


def test_a_run_that_cannot_fit_is_refused_with_what_to_lower(tiny, monkeypatch):
    from fewstep.host.training import check, memory

    need = memory.of(job_of(tiny, batch_size=64))
    moving = need.parts["activations"] + need.parts["passes without gradient"]
    room = sum(need.parts.values()) - moving + moving // 8
    text = refused(tiny, monkeypatch, room, batch_size=64)
    assert text.startswith("FewStepDistill: the run needs about") and "activations" in text
    assert "Lower batch_size to 8 (and raise accumulate to 8)." in text
    assert "Turn gradient_checkpointing on. Take bf16." in text
    text = refused(tiny, monkeypatch, 1000, rank=512, precision="bf16", gradient_checkpointing=True)
    assert "Lower rank" in text and "adamw8bit" in text and "bf16" not in text and "checkpointing" not in text
    monkeypatch.setattr(memory, "free_memory", lambda model: need.memory)
    assert "memory: about" in check.check(job_of(tiny, batch_size=64)).text()


def test_nothing_is_drawn_for_a_refused_run(tiny, tmp_path, monkeypatch):
    from fewstep.host.training import memory

    monkeypatch.setattr(memory, "free_memory", lambda model: 1000)
    with pytest.raises(ValueError, match="needs about"):
        short_lora(tiny, tmp_path)
    assert not list(tmp_path.rglob("latents-*"))


def test_a_full_disk_is_seen_before_the_start(tiny, monkeypatch):
    from fewstep.host.training import check

    usage = namedtuple("usage", "total used free")(10**9, 10**9, 5)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ValueError, match="saved states need .* of disk .*Lower keep_last or rank, or free some disk"):
        check.check(job_of(tiny))


def test_a_model_that_cannot_be_measured_still_trains_and_says_so(tiny, tmp_path, monkeypatch, caplog):
    from fewstep.host.training import activations

    def unknown(job):
        raise NotImplementedError("this patch asks for numbers")

    monkeypatch.setattr(activations, "kept", unknown)
    result = short_lora(tiny, tmp_path, steps=3)
    assert "activations unknown" in result.estimate and "this patch asks for numbers" in caplog.text
    left = [record["left_s"] for record in result.metrics]
    assert left[-1] == 0 and left[1] > 0


def test_the_report_says_what_was_expected(tiny, tmp_path):
    from fewstep.nodes import report

    result = short_lora(tiny, tmp_path, steps=1)
    job = job_of(tiny)
    text = report.summary(result, job.method, replace(job.config, rank=4))
    assert "expected beforehand: memory: about" in text and "disk:" in text


def test_time_left_in_words():
    from fewstep.host.training import after_step

    assert [after_step.left(s) for s in (30, 700, 9000)] == ["about 30 s left", "about 12 min left", "about 2.5 h left"]
