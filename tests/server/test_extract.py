"""FewStep Extract LoRA on the server: a model with a LoRA baked in gives it back, to load and to start from."""

from pathlib import Path

import pytest
import torch
from fewstep.tests.helpers.server_runs import QUICK, api, latents

BASE, LORA = "fewstep-tiny-sd.safetensors", "fewstep-tiny-sd-lcm-lora.safetensors"
LOAD = {"lora_name": LORA, "strength": 1.0, "steps": 4, "denoise": 1.0}


@pytest.fixture(scope="module")
def turbo(client) -> str:
    """The base with the shipped LoRA in its weights, as a checkpoint's U-Net; its name says lcm."""
    graph = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": BASE}},
        "2": {"class_type": "FewStepLoadLora", "inputs": {"model": ["1", 0], **LOAD}},
        "3": {"class_type": "FewStepSaveModel", "inputs": {"model": ["2", 0], "name": "tiny_lcm", "overwrite": True}},
    }
    graph["3"]["inputs"] |= {"clip": ["1", 1], "vae": ["1", 2], "dtype": "fp32"}
    client.submit(graph, timeout=300)
    return str(Path("fewstep") / "tiny_lcm.safetensors")


def extraction(turbo: str, **inputs) -> dict:
    given = {"few_step_model": turbo, "base_model": BASE, "rank": 64, "dtype": "fp32", "name": "speed"}
    return {
        "class_type": "FewStepExtractLora",
        "inputs": {**given, "overwrite": True, "family": "auto", "steps": 4, **inputs},
    }


def sampled(key: str, loader: str) -> dict:
    """That loader's MODEL by the shipped file's sampler and sigmas."""
    inputs = {"model": [loader, 0], "add_noise": True, "noise_seed": 1, "cfg": 1.0, "latent_image": ["8", 0]}
    inputs |= {"positive": ["6", 0], "negative": ["6", 0], "sampler": ["4", 2], "sigmas": ["4", 3]}
    saved = {"samples": [key, 0], "filename_prefix": f"latents/{key}"}
    return {
        key: {"class_type": "SamplerCustom", "inputs": inputs},
        f"{key}1": {"class_type": "SaveLatent", "inputs": saved},
    }


def test_the_extracted_lora_draws_what_the_model_draws(client, host, turbo):
    graph = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": BASE}},
        "2": extraction(turbo),
        "3": {"class_type": "FewStepLoadLora", "inputs": {"model": ["1", 0], **LOAD, "lora_file": ["2", 0]}},
        "4": {"class_type": "FewStepLoadLora", "inputs": {"model": ["1", 0], **LOAD}},
        "5": {"class_type": "FewStepLoadLora", "inputs": {"model": ["1", 0], **LOAD, "strength": 0.0}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "red apple, 3d style"}},
        "8": {"class_type": "EmptyLatentImage", "inputs": {"width": 96, "height": 96, "batch_size": 1}},
    }
    made = latents(client, host, graph | sampled("10", "3") | sampled("20", "4") | sampled("30", "5"))
    far = (made["301"] - made["201"]).abs().max()
    assert torch.isfinite(made["101"]).all() and (made["101"] - made["201"]).abs().max() < 0.02 * far


def test_a_student_starts_from_it(client, turbo):
    graph = api("distil_lcm_lora", node_3={"count": 4, "teacher_steps": 2}, node_5={**QUICK, "run_name": "started"})
    graph["20"] = extraction(turbo, name="start", rank=graph["5"]["inputs"]["rank"])
    graph["5"]["inputs"] |= {"start_file": ["20", 0]}
    kept = {key: graph[key] for key in ("1", "2", "3", "4", "5", "20") if key in graph}
    assert client.submit(kept, timeout=600) is not None


@pytest.mark.parametrize(
    "inputs, said",
    [
        ({"base_model": "same"}, "hold the same weights"),
        ({"few_step_model": BASE, "base_model": BASE}, "has no FewStep metadata and no known name"),
        ({"few_step_model": BASE, "family": "SDXL-Lightning one step, x0"}, "predicts x0"),
    ],
)
def test_what_cannot_be_extracted_gets_a_sentence(client, turbo, inputs, said):
    inputs = {key: turbo if value == "same" else value for key, value in inputs.items()}
    with pytest.raises(RuntimeError, match=said):
        client.submit({"1": extraction(turbo, **inputs)}, timeout=300)
