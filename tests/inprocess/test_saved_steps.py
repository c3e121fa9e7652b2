"""Saved steps as LoRAs of their own: the weights of that step, how to sample them, and what is refused."""

import json

import pytest
import torch
from fewstep.tests.helpers.in_process import short_lora
from fewstep.training.state import RunFolder

pytest.importorskip("comfy", reason="the embedded host is not installed here")


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    """(a run of 3 steps with an average, its folder, where it was made)"""
    place = tmp_path_factory.mktemp("run")
    result = short_lora(tiny, place, steps=3, save_every=1, keep_last=2, ema_decay=0.9)
    return result, RunFolder(place / "output" / "fewstep_runs" / "short"), place


@pytest.fixture
def write(made, monkeypatch):
    from fewstep.host import folders
    from fewstep.host.training import saved_steps

    monkeypatch.setattr(folders, "lora_folder", lambda: made[2] / "loras")
    return lambda wanted: saved_steps.write(made[1], wanted)


def test_the_last_step_is_the_runs_own_file_and_an_earlier_one_is_another(made, write):
    from fewstep.weights import families, io

    result, _, place = made
    names = write("2, newest")
    assert [name.rsplit("-", 1)[1] for name in names] == ["2.safetensors", "3.safetensors"]
    before, after = (io.load(place / "loras" / name) for name in names)
    assert after[0].keys() == result.tensors.keys()
    assert all(torch.equal(after[0][name], tensor) for name, tensor in result.tensors.items())
    assert any(not torch.equal(before[0][name], tensor) for name, tensor in result.tensors.items())
    settings = families.from_metadata(before[1])
    assert (settings.sampler, settings.family) == ("lcm", "FewStep LCM")
    assert json.loads(before[1]["fewstep"])["step"] == 2 and before[1]["modelspec.title"] == "short-step-2"
    assert write("all") == names  # its own files are written anew


@pytest.mark.parametrize(
    "wanted, message",
    [
        ("1", "has no step '1'. Saved are 2, 3; newest, all and best"),
        ("soon", "has no step 'soon'"),
        (" ", "steps is empty. Saved are 2, 3"),
        ("best", "keeps no best step"),
    ],
)
def test_steps_that_are_not_there_get_a_sentence(wanted, message, write):
    with pytest.raises(ValueError, match=message):
        write(wanted)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"lora": False}, "trains a whole network"),
        ({"alone": False}, "lora_over on a plain base"),
        ({"names": {}}, "holds a layer that student.json does not"),
        ({"alpha": None}, "cannot be read"),
    ],
)
def test_runs_that_cannot_be_exported_get_a_sentence(change, message, made, write):
    card = made[1].path / "student.json"
    before = card.read_text()
    card.write_text(json.dumps({**json.loads(before), **change}))
    try:
        with pytest.raises(ValueError, match=message):
            write("newest")
        card.unlink()
        with pytest.raises(ValueError, match="has no student.json"):
            write("newest")
    finally:
        card.write_text(before)


def test_a_file_of_somebody_else_is_kept(made, write):
    other = made[2] / "loras" / "fewstep" / "short-step-3.safetensors"
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_bytes(b"mine")
    with pytest.raises(ValueError, match="exists already and is not of this run"):
        write("newest")
    assert other.read_bytes() == b"mine"
    other.unlink()
