"""Full-weight students through /prompt: the graph's file loads in our and in the stock loader, and draws the same."""

import numpy
import pytest
from fewstep.tests.helpers.server_runs import QUICK, SHORT, api, assert_is_a_picture, pictures

OURS = {"steps": 4, "denoise": 1.0, "guidance": 2.0, "family": "auto", "allow_partial": False}


def loader(kind: str, name: str, **inputs) -> dict:
    """A node that gives the file as a MODEL."""
    if kind == "UNETLoader":
        return {"class_type": kind, "inputs": {"unet_name": name, "weight_dtype": "default"}}
    return {"class_type": kind, "inputs": {"model_name": name, **OURS, **inputs}}


def drawn(client, node: dict, steps: int = 4, **changes) -> list[numpy.ndarray]:
    """Four pictures of one seed by that loader's MODEL."""
    workflow = api("distil_lcm_lora", node_9={"model": ["20", 0], "steps": steps, "seed": 1}, **changes)
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
    """Asked at 999, where a loader that knows no settings is sampled too."""
    short = SHORT["swiftbrush_merge"]
    run = {**short["node_5"], "run_name": "whole-brush"}
    asked = {"node_4": {"timestep": 999}, "node_12": {"model": ["5", 0]}}
    workflow = api("swiftbrush_merge", node_3=short["node_3"], node_5=run, **asked)
    for key in ("10", "11"):
        del workflow[key]
    made = pictures(client, workflow)["fewstep_swiftbrush_merge"]
    assert_same(made, drawn(client, loader(kind, "fewstep/whole-brush.safetensors", steps=1), steps=1))


@pytest.fixture(scope="module")
def sd2(host) -> str:
    """A random checkpoint of SD2.x's layout that the host's own detection takes for v-prediction."""
    pytest.importorskip("comfy", reason="the embedded host's classes make the small SD2.x")
    from fewstep.tests.helpers import tiny_files
    from fewstep.tests.helpers.tiny_sd2 import random_sd2

    tiny_files.write_sd2(host.workdir / "models" / "checkpoints" / "small-sd2.safetensors", random_sd2())
    return "small-sd2.safetensors"


@pytest.mark.parametrize("train", ["lora", "full"])
def test_a_student_of_sd2_is_the_same_from_its_file(train, sd2, client, host):
    base = {"node_1": {"ckpt_name": sd2}, "node_8": {"batch_size": 1}}
    settings = {"run_name": f"sd2-{train}", "train": train, "steps": 2, "batch_size": 2, "preview_prompts": ""}
    learnt = {"learning_rate": 1e-2 if train == "lora" else 1e-3, "ema_decay": 0.0, "warmup": 0}
    data = {"count": 4, "teacher_steps": 2}
    workflow = api("distil_lcm_lora", **base, node_3=data, node_4={"target": "student"}, node_5={**settings, **learnt})
    made = pictures(client, workflow)["fewstep_student"]
    file = f"fewstep/sd2-{train}.safetensors"
    lora = {"model": ["1", 0], "lora_name": file, "strength": 1.0, "steps": 4, "denoise": 1.0}
    node = {"class_type": "FewStepLoadLora", "inputs": lora}
    again = drawn(client, node if train == "lora" else loader("FewStepLoadModel", file, guidance=8.0), **base)
    assert all((one == other).all() for one, other in zip(made, again, strict=True))
    teacher = drawn(client, {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": sd2}}, **base)
    assert not any(numpy.abs(one - other).max() < 0.05 for one, other in zip(made, teacher))
