"""Whole flow models under published names, quantised ones too: the network as the stock loader reads it, our SIGMAS.

A small random Flux stands for them all; only newer hosts tell a network's size from its tensors.
"""

import pytest
import torch
from fewstep.tests.helpers import tiny_transformers
from fewstep.tests.helpers.server_runs import latents
from fewstep.tests.helpers.tiny_files import randomised
from safetensors.torch import save_file

FP8 = torch.float8_e4m3fn
PLAIN, SCALED = "flux1-schnell.safetensors", "flux1-schnell-fp8-scaled.safetensors"


def quantised(tensors: dict) -> dict:
    """As the host's scaled fp8 files: matrices / scale in fp8, the scale beside each, and the mark."""
    made = {"scaled_fp8": torch.zeros(2, dtype=FP8)}
    for name, tensor in tensors.items():
        if tensor.ndim == 2 and "blocks" in name:
            scale = tensor.abs().max() / 448  # the largest number of e4m3
            made |= {name: (tensor / scale).to(FP8), name.removesuffix("weight") + "scale_weight": scale.float()}
        else:
            made[name] = tensor
    return made


@pytest.fixture(scope="module")
def models(host, client):
    if tiny_transformers.SINCE["flux"] not in client.object_info():
        pytest.skip("this host does not tell a small Flux's size from its tensors")
    network = randomised({k: torch.empty(s) for k, s in tiny_transformers.flux().items()}, 0)
    folder = host.workdir / "models" / "diffusion_models"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network, folder / PLAIN)
    save_file(quantised(network), folder / SCALED)


def graph(name: str) -> dict:
    """Four steps by our loader's outputs (10), and on the stock loader's MODEL by the same sampler and sigmas (20)."""
    load = {"model_name": name, "steps": 4, "denoise": 1.0, "guidance": 8.0, "family": "auto", "allow_partial": False}
    text = {"ckpt_name": tiny_transformers.TINY}
    made = {
        "1": {"class_type": "FewStepLoadModel", "inputs": load},
        "2": {"class_type": "UNETLoader", "inputs": {"unet_name": name, "weight_dtype": "default"}},
        "3": {"class_type": "CheckpointLoaderSimple", "inputs": text},
        "4": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["3", 1], "text": "a red circle"}},
        "5": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "6": {"class_type": "PreviewAny", "inputs": {"source": ["1", 6]}},
    }
    for key, model in (("10", "1"), ("20", "2")):
        inputs = {"model": [model, 0], "add_noise": True, "noise_seed": 1, "cfg": ["1", 5], "latent_image": ["5", 0]}
        inputs |= {"positive": ["4", 0], "negative": ["4", 0], "sampler": ["1", 3], "sigmas": ["1", 4]}
        made[key] = {"class_type": "SamplerCustom", "inputs": inputs}
        saved = {"samples": [key, 0], "filename_prefix": f"latents/{key}"}
        made[f"{key}1"] = {"class_type": "SaveLatent", "inputs": saved}
    return made


@pytest.mark.parametrize("name", [PLAIN, SCALED])
def test_a_flow_model_is_the_stock_loaders_and_has_its_own_sigmas(client, host, models, name):
    made = latents(client, host, graph(name))
    assert torch.isfinite(made["101"]).all() and made["101"].std() > 0
    assert torch.equal(made["101"], made["201"])


def test_the_report_says_what_the_file_was_made_for(client, models):
    outputs = client.submit({key: node for key, node in graph(SCALED).items() if key in "16"}, timeout=300)
    text = "".join(outputs["6"]["text"])
    assert "FLUX.1 schnell" in text and "sigmas 1, 0.75, 0.5, 0.25, 0" in text and "not compared" in text


def test_the_wrong_number_of_steps_gets_a_sentence(client, models):
    broken = graph(PLAIN)
    broken["1"]["inputs"]["steps"] = 20
    with pytest.raises(RuntimeError, match="exact sigmas for 1, 2, 3, 4 steps"):
        client.submit(broken, timeout=300)
