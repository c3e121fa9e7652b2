"""Full-weight students through /prompt: the graph's file loads in our and in the stock loader, and draws the same."""

import numpy
import pytest
from test_host import QUICK, SHORT, api, assert_is_a_picture, pictures

OURS = {"steps": 4, "denoise": 1.0, "guidance": 2.0, "family": "auto", "allow_partial": False}


def loader(kind: str, name: str, **inputs) -> dict:
    """A node that gives the file as a MODEL."""
    if kind == "UNETLoader":
        return {"class_type": kind, "inputs": {"unet_name": name, "weight_dtype": "default"}}
    return {"class_type": kind, "inputs": {"model_name": name, **OURS, **inputs}}


def drawn(client, node: dict, steps: int = 4) -> list[numpy.ndarray]:
    """Four pictures of one seed by that loader's MODEL."""
    workflow = api("distil_lcm_lora", node_9={"model": ["20", 0], "steps": steps, "seed": 1})
    for key in ("2", "3", "4", "5", "12"):
        del workflow[key]
    return pictures(client, {**workflow, "20": node})["fewstep_student"]


def assert_same(ours: list[numpy.ndarray], theirs: list[numpy.ndarray]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert_is_a_picture(one)
        assert numpy.abs(one - other).max() <= 2 / 255


def test_a_student_with_a_guidance_embedding_is_trained_saved_and_loaded_again(client):
    method = {"guidance_embedding": True, "guidance_max": 4.0, "target": "ema"}
    settings = {"run_name": "whole-lcm", "train": "full", "learning_rate": 1e-4}
    start = {"start_lora": "fewstep-tiny-sd-lcm-lora.safetensors"}
    workflow = api("distil_lcm_lora", node_3={"count": 16}, node_4=method, node_5={**QUICK, **settings, **start})
    made = pictures(client, workflow)["fewstep_student"]
    assert_same(made, drawn(client, loader("FewStepLoadModel", "fewstep/whole-lcm.safetensors")))


@pytest.mark.parametrize("kind", ["UNETLoader", "FewStepLoadModel"])
def test_swiftbrushs_student_is_the_same_from_its_file(kind, client):
    """The run that test_every_api_workflow_makes_pictures began, if it did, is finished and only loads."""
    short = {key: SHORT["swiftbrush_merge"][key] for key in ("node_3", "node_5")}
    workflow = api("swiftbrush_merge", node_12={"model": ["5", 0]}, **short)
    for key in ("10", "11"):
        del workflow[key]
    made = pictures(client, workflow)["fewstep_swiftbrush_merge"]
    assert_same(made, drawn(client, loader(kind, "fewstep/swiftbrush-a.safetensors", steps=1), steps=1))
