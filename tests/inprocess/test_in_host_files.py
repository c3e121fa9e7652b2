"""A training's files through the host in this process: nobody's file is lost, damage is passed over, leftovers go."""

import pytest
import torch
from fewstep.tests.helpers.in_process import short_lora
from fewstep.training.state import RunFolder
from fewstep.weights import io

pytest.importorskip("comfy", reason="the embedded host is not installed here")


def test_a_file_of_another_run_or_node_is_kept_and_nothing_is_begun(tiny, tmp_path):
    file = tmp_path / "loras" / "fewstep" / "short.safetensors"
    for metadata in ({}, {"fewstep": "{"}, {"fewstep": '{"recipe": {"method": "TSCD"}}', "modelspec.title": "short"}):
        io.save({"a": torch.ones(2)}, file, metadata)
        before = file.read_bytes()
        with pytest.raises(ValueError, match='"fewstep/short.safetensors" exists already and is not of this run'):
            short_lora(tiny, tmp_path)
        assert file.read_bytes() == before and not (tmp_path / "output").exists()


def test_a_run_goes_on_after_damage_kills_and_says_so(tiny, tmp_path):
    """State, latents and leftovers at once; the result is that of an undisturbed run, and its own file is replaced."""
    whole = short_lora(tiny, tmp_path / "whole", steps=5, save_every=2)
    short_lora(tiny, tmp_path, steps=3, save_every=2)
    folder, products = RunFolder(tmp_path / "output" / "fewstep_runs" / "short"), tmp_path / "loras" / "fewstep"
    (latents,) = folder.path.glob("latents-*.safetensors")
    for file in (folder.states()[-1], latents):
        file.write_bytes(file.read_bytes()[:-64] + bytes([1]) * 64)
    leftovers = [folder.path / "state-4.safetensors.99.tmp", products / "short.safetensors.99.tmp"]
    for path in leftovers:
        path.write_bytes(b"x")
    again = short_lora(tiny, tmp_path, steps=5, save_every=2)
    assert "latents" in again.notes[0] and "made again" in again.notes[0]
    assert "goes on from the state of step 2" in again.notes[1] and len(again.notes) == 2
    assert not any(path.exists() for path in leftovers)
    assert all(torch.equal(again.tensors[key], whole.tensors[key]) for key in whole.tensors)


def test_a_run_that_another_host_trains_is_left_alone(tiny, tmp_path):
    with (
        RunFolder(tmp_path / "output" / "fewstep_runs" / "short").held(),
        pytest.raises(ValueError, match="'short' is being trained by process"),
    ):
        short_lora(tiny, tmp_path)
    short_lora(tiny, tmp_path, steps=1)
