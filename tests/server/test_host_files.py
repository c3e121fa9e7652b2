"""Merges between files, and models saved alone or in another precision, through /prompt."""

import hashlib
import json

import numpy
import pytest
from fewstep.tests.helpers.server_runs import ROOT, api, pictures
from safetensors import safe_open

LORA = "fewstep-tiny-sd-lcm-lora.safetensors"


def between(name: str, **changes) -> dict:
    settings = {"weight": 0.3, "name": name, "dtype": "as the files", "overwrite": True, **changes}
    inputs = {"lora_a": LORA, "lora_b": LORA, **settings}
    return {"1": {"class_type": "FewStepInterpolateLoraFiles", "inputs": inputs}}


def drawn_with(client, lora: str) -> numpy.ndarray:
    workflow = api("text_to_image_4_steps", node_5={"batch_size": 1}, node_2={"lora_name": lora})
    return pictures(client, workflow)["fewstep_4_steps"][0]


def test_a_lora_between_a_file_and_itself_is_the_file(client, host):
    """The same picture with the settings of its metadata, which name the parents by their hashes."""
    client.submit(between("itself"), timeout=120)
    assert numpy.abs(drawn_with(client, "fewstep/itself.safetensors") - drawn_with(client, LORA)).max() <= 2 / 255
    digest = hashlib.sha256((ROOT / "assets" / "loras" / LORA).read_bytes()).hexdigest()
    with safe_open(host.workdir / "models" / "loras" / "fewstep" / "itself.safetensors", "pt") as file:
        found = json.loads(file.metadata()["fewstep"])
    assert found["recipe"]["parents"] == [{"name": LORA, "weight": w, "sha256": digest} for w in (0.3, 0.7)]
    assert found["sampling"]["sampler"] == "lcm"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"name": "../out"}, "FewStep Interpolate LoRA Files: name '../out' has /, which no file may have"),
        ({"name": "once", "overwrite": False}, '"fewstep/once.safetensors" exists already'),
    ],
)
def test_names_that_cannot_be_saved_get_a_sentence(changes, message, client):
    client.submit(between("once"), timeout=120)
    with pytest.raises(RuntimeError, match=message):
        client.submit(between(**changes), timeout=120)


def saved(client, **inputs) -> None:
    workflow = api("interpolate_models", node_4=inputs)
    for socket in ("clip", "vae"):
        if inputs.get("alone"):
            del workflow["4"]["inputs"][socket]
    workflow["4"]["inputs"].pop("alone", None)
    client.submit(workflow, timeout=120)


def drawn_by(client, loader: dict) -> numpy.ndarray:
    workflow = api("interpolate_models", node_8={"model": ["11", 0]})
    for key in ("3", "4"):
        del workflow[key]
    return pictures(client, {**workflow, "11": loader})["fewstep_models"][0]


def test_a_model_without_clip_and_vae_is_a_unet_that_the_stock_loader_reads(client, host):
    expected = pictures(client, api("interpolate_models"))["fewstep_models"][0]
    saved(client, name="unet-alone", alone=True, dtype="fp16")
    unet = {"unet_name": "fewstep/unet-alone.safetensors"}
    options = client.object_info()["UNETLoader"]["input"]["required"]
    unet |= {name: options[name][0][0] for name in options if name != "unet_name"}
    made = drawn_by(client, {"class_type": "UNETLoader", "inputs": unet})
    assert numpy.abs(made - expected).mean() < 3 / 255
    (path,) = host.workdir.glob("models/*/fewstep/unet-alone.safetensors")
    with safe_open(path, "pt") as file:
        names = list(file.keys())
        assert {file.get_slice(name).get_dtype() for name in names} == {"F16"}
        assert "fewstep.merge" in file.metadata()
    assert "input_blocks.0.0.weight" in names and not list(path.parent.glob("*.tmp"))


def test_a_checkpoint_can_be_saved_in_another_precision(client, host):
    expected = pictures(client, api("interpolate_models"))["fewstep_models"][0]
    saved(client, name="in-bf16", dtype="bf16")
    with safe_open(host.workdir / "models" / "checkpoints" / "fewstep" / "in-bf16.safetensors", "pt") as file:
        kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (not a dict)
    assert "BF16" in kinds and not kinds & {"F32", "F16"}
    loader = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "fewstep/in-bf16.safetensors"}}
    assert numpy.abs(drawn_by(client, loader) - expected).mean() < 6 / 255
