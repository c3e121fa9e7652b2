"""Whole models merged through /prompt: exact at the ends and halfway, saved, and read by the stock loader."""

import numpy
import pytest
from fewstep.tests.helpers.server_runs import api, pictures


def picture_at(client, weight: float, **changes) -> numpy.ndarray:
    workflow = api("interpolate_models", node_3={"weight": weight, **changes})
    del workflow["4"]
    return pictures(client, workflow)["fewstep_models"][0]


def drawn_by(client, model: list) -> numpy.ndarray:
    workflow = api("interpolate_models", node_8={"model": model})
    for key in ("3", "4"):
        del workflow[key]
    return pictures(client, workflow)["fewstep_models"][0]


def test_the_ends_are_the_models_themselves(client):
    assert numpy.abs(picture_at(client, 1.0) - drawn_by(client, ["2", 0])).max() <= 2 / 255
    assert numpy.abs(picture_at(client, 0.0) - drawn_by(client, ["1", 0])).max() <= 2 / 255


@pytest.mark.parametrize("weight", [0.5, 1.3])
def test_between_and_beyond_is_the_lora_at_that_strength(weight, client):
    """A is B with a LoRA on it, so lambda A + (1 - lambda) B is B with the LoRA at strength lambda."""
    workflow = api("interpolate_models", node_2={"strength": weight}, node_8={"model": ["2", 0]})
    for key in ("3", "4"):
        del workflow[key]
    expected = pictures(client, workflow)["fewstep_models"][0]
    assert numpy.abs(picture_at(client, weight) - expected).mean() < 2 / 255


def test_blocks_can_have_weights_of_their_own(client):
    every = dict.fromkeys(("input_blocks", "middle_block", "output_blocks", "rest"), 1.0)
    whole = picture_at(client, 0.0, per_block=True, **every)
    assert numpy.abs(whole - picture_at(client, 1.0)).max() <= 2 / 255
    part = picture_at(client, 0.0, per_block=True, **{**every, "output_blocks": 0.0})
    assert numpy.abs(part - whole).mean() > 0.005


def test_a_saved_model_is_read_by_the_stock_loader(client):
    saved = pictures(client, api("interpolate_models"))["fewstep_models"][0]
    again = api("interpolate_models", node_8={"model": ["11", 0]})
    for key in ("3", "4"):
        del again[key]
    again["11"] = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "fewstep/student-0.8.safetensors"}}
    assert numpy.abs(pictures(client, again)["fewstep_models"][0] - saved).mean() < 2 / 255


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"name": "../out"}, "FewStep Save Model: name '../out' has /, which no file may have"),
        ({"name": "student-0.8", "overwrite": False}, "exists already.*turn overwrite on"),
    ],
)
def test_names_that_cannot_be_saved_get_a_sentence(changes, message, client):
    with pytest.raises(RuntimeError, match=message):
        client.submit(api("interpolate_models", node_4=changes), timeout=120)


def test_files_are_interpolated_without_loading_them(client):
    """The saved student halfway back to its base is the model interpolated halfway."""
    client.submit(api("interpolate_models"), timeout=120)
    inputs = {"checkpoint_a": "fewstep/student-0.8.safetensors", "checkpoint_b": "fewstep-tiny-sd.safetensors"}
    settings = {"weight": 0.5, "name": "by-files", "keep_others": True, "overwrite": True}
    client.submit({"1": {"class_type": "FewStepInterpolateFiles", "inputs": {**inputs, **settings}}}, timeout=120)
    workflow = api("interpolate_models", node_8={"model": ["11", 0]})
    for key in ("3", "4"):
        del workflow[key]
    workflow["11"] = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "fewstep/by-files.safetensors"}}
    made = pictures(client, workflow)["fewstep_models"][0]
    assert numpy.abs(made - picture_at(client, 0.4)).mean() < 3 / 255
