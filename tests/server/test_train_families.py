"""Families that people use today, trained in the real host: its own loader, our nodes, and the file in both loaders.

Each on a small random network that the host recognises by its keys (tests/helpers/tiny_models/networks.py); the text is
the tiny base's. Skipped where the host lacks the family's class.
"""

import json

import pytest
import torch
from fewstep.tests.helpers.server_runs import latents
from safetensors import safe_open
from safetensors.torch import load_file

TINY = "fewstep-tiny-sd.safetensors"
FAMILIES = ("Qwen-Image", "Z-Image", "FLUX.2", "Wan", "Wan 2.2 5B", "Anima")
TWO_TEXTS = ("Anima",)
CLIPS = ("Wan", "Wan 2.2 5B")
SIZE = {"width": 64, "height": 64}
DRAWN = {**SIZE, "teacher_steps": 2, "teacher_cfg": 2.0}
PROMPTS = "a red circle\na blue square"


@pytest.fixture(params=FAMILIES)
def base(client, request):
    asked = {"1": {"class_type": "SmallNetworkLoader", "inputs": {"base": request.param}}}
    if client.submit(asked, timeout=300)["1"]["text"] == ["absent"]:
        pytest.skip(f"this host has no {request.param}")
    return request.param


def node(kind: str, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


def clip_of(base: str) -> list:
    return ["8", 0] if base in TWO_TEXTS else ["2", 1]


def loaded(base: str) -> dict:
    """The network by the stock loader (1), the tiny base's text encoder (2, or 8 with a second text), a prompt (3)."""
    graph = {
        "1": node("UNETLoader", unet_name=f"{base}.safetensors", weight_dtype="default"),
        "2": node("CheckpointLoaderSimple", ckpt_name=TINY),
        "3": node("CLIPTextEncode", clip=clip_of(base), text="a red circle"),
    }
    return graph | ({"8": node("SmallSecondText", clip=["2", 1])} if base in TWO_TEXTS else {})


def training(base: str, name: str, data: dict) -> dict:
    lcm = {"skip": 100, "guidance_min": 2.0, "guidance_max": 2.0}
    return {
        **loaded(base),
        **data,
        "6": node("FewStepMethodLCM", **lcm),
        "7": node(
            "FewStepDistill", model=["1", 0], clip=clip_of(base), data=["5", 0], method=["6", 0], run_name=name,
            steps=3, batch_size=2, rank=4, learning_rate=1e-1,
        ),
    }  # fmt: skip


def sampling(file: str, base: str) -> dict:
    """The same noise and sigmas on our loader's MODEL (10), on the stock loader's (20) and on the base (30)."""
    empty = node("EmptySD3LatentImage", **SIZE, batch_size=1)
    graph = {**loaded(base), "4": empty}
    graph["5"] = node("FewStepLoadLora", model=["1", 0], lora_name=file, strength=1.0, steps=4, denoise=1.0)
    graph["6"] = node("LoraLoaderModelOnly", model=["1", 0], lora_name=file, strength_model=1.0)
    graph["7"] = node("PreviewAny", source=["5", 5])
    for key, model in (("10", "5"), ("20", "6"), ("30", "1")):
        graph[key] = node(
            "SamplerCustom", model=[model, 0], add_noise=True, noise_seed=1, cfg=1.0, positive=["3", 0],
            negative=["3", 0], latent_image=["4", 0], sampler=["5", 2], sigmas=["5", 3],
        )  # fmt: skip
        graph[f"{key}1"] = node("SaveLatent", samples=[key, 0], filename_prefix=f"latents/{key}")
    return graph


def trained(client, host, base: str, name: str, data: dict):
    """The path of the student's file."""
    client.submit(training(base, name, data), timeout=500)
    return host.workdir / "models" / "loras" / "fewstep" / f"{name}.safetensors"


def test_a_student_of_the_family_is_trained_loaded_and_sampled(client, host, base):
    name = f"family-{base}".replace(" ", "-").replace(".", "-").lower()
    data = {
        "4": node("FewStepPrompts", text=PROMPTS, file="none"),
        "5": node("FewStepDataset", folder="", prompts=["4", 0], count=2, **DRAWN),
    }
    file = trained(client, host, base, name, data)
    tensors = load_file(file)
    assert any(t.abs().sum() > 0 for key, t in tensors.items() if key.endswith("lora_up.weight"))
    with safe_open(file, "pt") as opened:
        assert json.loads(opened.metadata()["fewstep"])["sampling"]["family"] == "FewStep LCM"

    graph = sampling(f"fewstep/{name}.safetensors", base)
    made = latents(client, host, graph)
    assert torch.isfinite(made["101"]).all() and torch.equal(made["101"], made["201"])
    assert not torch.allclose(made["101"], made["301"], atol=1e-2)
    report = "".join(client.submit({key: graph[key] for key in "157"}, timeout=300)["7"]["text"])
    assert "tensors matched, 0 not" in report


@pytest.mark.parametrize("base", CLIPS, indirect=True)
def test_a_student_is_trained_on_clips(client, host, base):
    """9 frames are 3 of the latent's. The host's empty latents have the 16 channels of Wan, not the 48 of the 5B."""
    data = {
        "4": node("EmptyHunyuanLatentVideo", **SIZE, length=9, batch_size=2),
        "5": node("FewStepDataFromHost", latents=["4", 0], conditioning=["3", 0], **DRAWN),
    }
    if base == "Wan 2.2 5B":
        with pytest.raises(RuntimeError, match="latents have 16 channels, the model has 48"):
            client.submit(training(base, "clips-5b", data), timeout=500)
        return
    assert load_file(trained(client, host, base, "clips", data))
