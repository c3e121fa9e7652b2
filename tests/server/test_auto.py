"""FewStep KSampler at its defaults samples a model as its file says, and says what does not fit."""

import json
import urllib.error
import urllib.request

import numpy
import pytest
from fewstep.tests.helpers.server_runs import ROOT, api, pictures

OWN = [999, 599, 299, 39]  # on no schedule


@pytest.fixture(scope="module")
def file(host) -> str:
    """The shipped student under metadata with timesteps of its own."""
    from safetensors.torch import load_file, save_file

    sampling = {"family": "my student", "sampler": "lcm", "schedule": "lcm", "steps": [1, 4], "best_steps": 4}
    sampling |= {"cfg": 1.0, "cfg_range": [1.0, 1.0], "timesteps": {"4": OWN}}
    tensors = load_file(ROOT / "assets" / "loras" / "fewstep-tiny-sd-lcm-lora.safetensors")
    name = "own-timesteps.safetensors"
    save_file(tensors, host.workdir / "models" / "loras" / name, {"fewstep": json.dumps({"sampling": sampling})})
    return name


def by_loader(file: str) -> dict:
    """SamplerCustom with what FewStep Load LoRA returns."""
    return api("text_to_image_4_steps", node_2={"lora_name": file}, node_5={"batch_size": 1})


def by_node(file: str, **changes) -> dict:
    """FewStep KSampler as it comes, in its place."""
    workflow = by_loader(file)
    old = workflow["6"]["inputs"]
    same = {name: old[name] for name in ("positive", "negative", "latent_image")}
    inputs = {"model": ["2", 0], "seed": old["noise_seed"], "steps": 4, "cfg": 0.0, "sampler_name": "auto", "eta": 0.3}
    workflow["6"] = {"class_type": "FewStepKSampler", "inputs": {**same, **inputs, "denoise": 1.0, **changes}}
    return workflow


def drawn(client, workflow: dict) -> numpy.ndarray:
    return pictures(client, workflow)["fewstep_4_steps"][0]


def report(client, workflow: dict) -> str:
    return client.submit(workflow, timeout=120)["6"]["text"][0]


def test_auto_draws_what_the_loaders_sampler_and_sigmas_draw(client, file):
    expected = drawn(client, by_loader(file))
    assert abs(drawn(client, by_node(file)) - expected).max() <= 1 / 255
    assert abs(drawn(client, by_node(file, sampler_name="lcm")) - expected).max() > 2 / 255


def test_the_report_says_how_it_was_sampled_and_what_does_not_fit(client, file):
    assert report(client, by_node(file, seed=5)) == "my student: lcm, timesteps 999, 599, 299, 39, cfg 1"
    said = report(client, by_node(file, seed=6, steps=8, cfg=7.0))
    assert "made for 1-4 steps, not 8" in said and "made for cfg 1, not 7" in said


def test_a_strange_strength_and_a_model_that_says_nothing(client, file):
    workflow = by_node(file, seed=7)
    workflow["2"]["inputs"]["strength"] = 0.4
    assert "Strength 0.4 is far" in report(client, workflow)
    workflow["6"]["inputs"]["model"] = ["1", 0]
    assert "does not say what it was made for" in report(client, workflow)


def test_the_graphs_of_the_pack_are_served_by_name_and_nothing_else(host):
    url = f"{host.url}/fewstep/workflows/"
    with urllib.request.urlopen(url + "01_text_to_image_4_steps") as answer:
        assert json.load(answer) == json.loads(
            (ROOT / "workflows" / "01_text_to_image_4_steps.json").read_text("utf-8")
        )
    for name in ("nothing", "..%2Fpyproject.toml", "api%2Finpaint"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(url + name)
