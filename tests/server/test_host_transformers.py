"""A student of SD3 through /prompt: a small random checkpoint that the host's own detection takes for SD3."""

from pathlib import Path

import pytest
import torch
from fewstep.tests.helpers.server_runs import QUICK, api, latents
from safetensors.torch import load_file, save_file

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "checkpoints"
WIDTH = 64  # of the tiny base's text encoder, which stands in for SD3's


@pytest.fixture(scope="module")
def sd3(host, tmp_path_factory) -> str:
    """SD3's transformer with random weights, reading the tiny base's text; the VAE is the tiny base's and unused."""
    pytest.importorskip("comfy", reason="the embedded host's classes make the small SD3")
    from fewstep.tests.helpers import small_models

    small_models.start(tmp_path_factory.mktemp("small-sd3"))
    embedder = {"target": "torch.nn.Linear", "params": {"in_features": WIDTH, "out_features": 128}}
    model = small_models.make("SD3", adm_in_channels=WIDTH, context_embedder_config=embedder)
    state = {f"model.diffusion_model.{k}": t.clone() for k, t in model.model.diffusion_model.state_dict().items()}
    tiny = load_file(ASSETS / "fewstep-tiny-sd.safetensors")
    state |= {key: tensor for key, tensor in tiny.items() if key.startswith("first_stage_model.")}
    save_file(state, host.workdir / "models" / "checkpoints" / "small-sd3.safetensors")
    return "small-sd3.safetensors"


def graph(name: str) -> dict:
    """LCM on prompts; then the student's latents as FewStepDistill gives it and as FewStepLoadLora loads it."""
    size = {"width": 96, "height": 96}
    settings = {**QUICK, "model": ["20", 0], "run_name": "sd3", "learning_rate": 0.05, "preview_prompts": ""}
    made = api("distil_lcm_lora", node_3={"count": 4, "teacher_steps": 2}, node_5=settings)
    for key in ("9", "10", "11", "12"):
        del made[key]
    made["8"] = {"class_type": "EmptySD3LatentImage", "inputs": {**size, "batch_size": 2}}
    made["20"] = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": name}}
    loaded = {"lora_name": "fewstep-tiny-sd-lcm-lora.safetensors", "lora_file": ["5", 1], "strength": 1.0}
    loaded |= {"model": ["20", 0], "steps": 4, "denoise": 1.0}
    made["21"] = {"class_type": "FewStepLoadLora", "inputs": loaded}
    return {**made, **sampled("30", ["5", 0], "trained"), **sampled("40", ["21", 0], "loaded")}


def sampled(key: str, model: list, name: str) -> dict:
    """Four steps of that MODEL with the sampler and sigmas of the file, saved as latents."""
    inputs = {"model": model, "add_noise": True, "noise_seed": 1, "cfg": 1.0, "latent_image": ["8", 0]}
    inputs |= {"positive": ["6", 0], "negative": ["7", 0], "sampler": ["21", 2], "sigmas": ["21", 3]}
    saved = {"samples": [key, 0], "filename_prefix": f"latents/{name}"}
    return {
        key: {"class_type": "SamplerCustom", "inputs": inputs},
        f"{key}1": {"class_type": "SaveLatent", "inputs": saved},
    }


def test_a_student_of_sd3_is_trained_saved_and_loaded_by_us_and_by_the_stock_loader(client, host, sd3):
    """The same latents from the graph's student, from FewStepLoadLora, and from LoraLoaderModelOnly; not the base's."""
    made = latents(client, host, graph(sd3))
    trained, loaded = made["301"], made["401"]
    assert trained.shape == (2, 16, 12, 12) and torch.isfinite(trained).all()
    assert torch.allclose(trained, loaded, atol=1e-4)

    again = graph(sd3)
    lora = {"model": ["20", 0], "lora_name": str(Path("fewstep") / "sd3.safetensors"), "strength_model": 1.0}
    again["50"] = {"class_type": "LoraLoaderModelOnly", "inputs": lora}
    again |= {**sampled("60", ["50", 0], "stock"), **sampled("70", ["20", 0], "base")}
    made = latents(client, host, again)
    assert torch.allclose(trained, made["601"], atol=1e-4)
    assert not torch.allclose(trained, made["701"], atol=1e-2)
