"""Whole few-step models: the guidance embedding against diffusers, families by name, and the node in the host."""

import numpy
import pytest
import torch
from fewstep.samplers.guidance_embedding import GuidedTimestep, guidance_embedding
from fewstep.tests.helpers.server_runs import api, assert_is_a_picture, pictures
from fewstep.weights.families import models


@pytest.mark.parametrize("guidance", [1.0, 2.5, 8.0, 14.0])
def test_guided_timestep_equals_diffusers(guidance):
    """Both the embedding of w and where it is added."""
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    from diffusers import LatentConsistencyModelPipeline

    torch.manual_seed(0)
    theirs = embeddings.TimestepEmbedding(320, 1280, cond_proj_dim=256)
    sinusoid = embeddings.get_timestep_embedding(torch.tensor([999.0, 259.0]), 320, flip_sin_to_cos=True)
    w = torch.full((2,), guidance - 1)
    condition = LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, w, embedding_dim=256)
    assert torch.allclose(guidance_embedding(guidance - 1), condition[0], atol=1e-4)
    expected = theirs(sinusoid, condition)
    first = GuidedTimestep(theirs.linear_1, theirs.cond_proj.weight.detach(), guidance)
    assert torch.allclose(theirs.linear_2(theirs.act(first(sinusoid))), expected, atol=1e-4)
    assert not torch.allclose(theirs(sinusoid), expected, atol=1e-2)


@pytest.mark.parametrize(
    "name, family, steps, timesteps",
    [
        ("Hyper-SDXL-1step-Unet.safetensors", "Hyper-SDXL one step", 1, {"1": [800]}),
        ("Hyper-SDXL-1step-Unet-Comfyui.fp16.safetensors", "Hyper-SDXL one step", 1, {"1": [800]}),
        ("sdxl_lightning_1step_unet_x0.safetensors", models.LIGHTNING_X0, 1, {}),
        ("sdxl_lightning_4step_unet.safetensors", "SDXL-Lightning", 4, {}),
        ("dmd2_sdxl_1step_unet_fp16.safetensors", "DMD2 one step", 1, {"1": [399]}),
        ("dmd2_sdxl_4step_unet_fp16.safetensors", "DMD2", 4, {}),
        ("sd_xl_turbo_1.0_fp16.safetensors", "SD/SDXL-Turbo", 1, {}),
        ("sd_turbo.safetensors", "SD/SDXL-Turbo", 1, {}),
        ("swiftbrush/unet.safetensors", "SwiftBrush", 1, {"1": [999]}),
        ("DreamShaper8_LCM.safetensors", models.MERGED, 4, {}),
    ],
)
def test_published_names_are_known(name, family, steps, timesteps):
    from fewstep.host.loading.models import Header
    from fewstep.nodes.load_model import settings_of

    settings = settings_of(name, Header("", {}, {}, None), "auto", 4)
    assert (settings.family, settings.best_steps, settings.timesteps) == (family, steps, timesteps)


def graph(**inputs) -> dict:
    """The base's graph, its model, sampler and sigmas from our loader."""
    workflow = api("base_text_to_image")
    load = {"model_name": "fewstep-tiny-sd.safetensors", "steps": 4, "denoise": 1.0, "guidance": 8.0}
    workflow["1"] = {
        "class_type": "FewStepLoadModel",
        "inputs": {**load, "family": "SD/SDXL-Turbo", "allow_partial": False, **inputs},
    }
    workflow["5"] = {
        "class_type": "SamplerCustom",
        "inputs": {
            "model": ["1", 0],
            "add_noise": True,
            "noise_seed": 1,
            "cfg": ["1", 5],
            "positive": ["2", 0],
            "negative": ["3", 0],
            "sampler": ["1", 3],
            "sigmas": ["1", 4],
            "latent_image": ["4", 0],
        },
    }
    workflow["6"]["inputs"]["vae"] = ["1", 2]
    return workflow


def test_a_checkpoint_is_loaded_and_drawn_in_the_host(client):
    drawn = pictures(client, graph(steps=20))["fewstep"][0]
    assert_is_a_picture(drawn)
    x0 = pictures(client, graph(steps=1, family=models.LIGHTNING_X0))["fewstep"][0]
    assert numpy.abs(drawn - x0).mean() > 0.01


def test_an_unknown_name_gets_a_sentence(client):
    with pytest.raises(
        RuntimeError, match='FewStep Load Model: "fewstep-tiny-sd.safetensors": has no FewStep metadata'
    ):
        client.submit(graph(family="auto"), timeout=120)


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """load(name, edit of the base's tensors, **inputs) through the node, in this process."""
    pytest.importorskip("comfy.model_sampling")
    from fewstep.host import folders
    from fewstep.host.loading import models
    from fewstep.nodes.load_model import FewStepLoadModel
    from fewstep.weights import io

    def load(name: str, edit, **inputs):
        tensors, metadata = io.load(folders.ASSETS / "checkpoints" / "fewstep-tiny-sd.safetensors")
        io.save(edit(tensors), tmp_path / name, metadata)
        monkeypatch.setattr(models, "find", lambda _: str(tmp_path / name))
        options = {"steps": 4, "denoise": 1.0, "guidance": 8.0, "family": "auto", "allow_partial": False, **inputs}
        return FewStepLoadModel().load(name, **options)["result"]

    return load


def unet_only(tensors: dict) -> dict:
    return {key: value for key, value in tensors.items() if key.startswith("model.diffusion_model.")}


def with_projection(tensors: dict) -> dict:
    width = tensors["model.diffusion_model.time_embed.0.weight"].shape[1]
    projection = torch.randn(width, 256, generator=torch.Generator().manual_seed(1))
    return {**unet_only(tensors), "model.diffusion_model.time_embed.cond_proj.weight": projection}


def test_guidance_is_an_object_patch_of_a_clone(loaded):
    model, clip, vae, *_, text = loaded("some.safetensors", with_projection)
    assert clip is None and vae is None and "no VAE" in text and "guidance 8" in text
    layer = model.model.diffusion_model.time_embed[0]
    key = "diffusion_model.time_embed.0.forward"
    guided = model.clone().get_model_object(key)
    x = torch.zeros(1, layer.weight.shape[1], dtype=layer.weight.dtype)
    with torch.no_grad():
        assert torch.allclose(guided(x), layer(x + guided.offset.to(x)))
        assert not torch.allclose(guided(x), layer(x))


def test_x0_files_return_the_output_itself(loaded):
    model, *_ = loaded("sdxl_lightning_1step_unet_x0.safetensors", unet_only)
    x = torch.randn(1, 4, 8, 8)
    found = model.get_model_object("model_sampling").calculate_denoised(torch.tensor([5.0]), x, torch.zeros_like(x))
    assert torch.equal(found, x)


def test_a_file_below_the_top_gets_its_sigma_and_the_unit_start(loaded):
    model, _, _, sampler, sigmas, cfg, _ = loaded("Hyper-SDXL-1step-Unet-Comfyui.safetensors", unet_only, steps=1)
    expected = model.get_model_object("model_sampling").sigma(torch.tensor(800.0))
    assert torch.allclose(sigmas, torch.tensor([float(expected), 0.0])) and cfg == 1
    assert sampler.sampler_function.__name__ == "started"


@pytest.mark.parametrize("name", ["x.ckpt", "x.bin", "x.pt"])
def test_pickles_are_refused(name, loaded):
    with pytest.raises(ValueError, match=f'FewStep Load Model: "{name}": is not a .safetensors file'):
        loaded(name, unet_only)


def test_a_file_without_half_of_its_weights_is_refused(loaded):
    def half(tensors: dict) -> dict:
        return {key: value for key, value in unet_only(tensors).items() if "output_blocks" not in key}

    with pytest.raises(ValueError, match='FewStep Load Model: "lcm_half.safetensors"'):
        loaded("lcm_half.safetensors", half)


def test_a_file_without_a_diffusion_model_is_refused(loaded):
    with pytest.raises(ValueError, match="holds no diffusion model"):
        loaded("lcm_x.safetensors", lambda tensors: {"lora_unet_x.lora_up.weight": torch.ones(1)})


def test_a_file_without_its_biases_is_refused_unless_allowed(loaded):
    def without_biases(tensors: dict) -> dict:
        return {key: value for key, value in unet_only(tensors).items() if not key.endswith(".bias")}

    with pytest.raises(ValueError, match=r'"lcm_x.safetensors": only \d+ of \d+ tensors fit'):
        loaded("lcm_x.safetensors", without_biases)
    model, *_, text = loaded("lcm_x.safetensors", without_biases, allow_partial=True)
    assert "tensors matched" in text and not model.model.diffusion_model.out[2].bias.any()


def test_the_report_warns_of_few_missing_and_unknown_tensors_by_name(loaded):
    """The host gives missing weights whatever was in memory, even NaN; here they are 0 and the rest is the file's."""

    def damaged(tensors: dict) -> dict:
        kept = {key: value for key, value in unet_only(tensors).items() if ".middle_block.0." not in key}
        return {**kept, "model.diffusion_model.extra.weight": torch.ones(2)}

    torch.full((1 << 22,), float("nan"))  # what may be found in memory
    model, *_, text = loaded("sd_turbo.safetensors", damaged)
    assert "276 tensors matched, 11 not" in text
    first = "middle_block.0.emb_layers.1.bias, middle_block.0.emb_layers.1.weight, middle_block.0.in_layers.0.bias ..."
    assert f"Warning: the file lacks 10 tensors ({first}) of the network" in text
    assert "Warning: the network does not know 1 tensors (extra.weight) of the file" in text
    net = model.model.diffusion_model
    assert not any(weight.any() for weight in net.middle_block[0].parameters())
    assert all(weight.isfinite().all() for weight in net.parameters()) and net.out[2].weight.any()
    assert "Warning" not in loaded("sd_turbo.safetensors", unet_only)[-1]


def test_the_network_hears_the_guidance_while_patched_and_not_after(loaded):
    model = loaded("some.safetensors", with_projection)[0]
    net = model.model.diffusion_model
    width = net.time_embed[0].weight.shape[1]
    x = torch.ones(1, width, dtype=net.time_embed[0].weight.dtype)
    with torch.no_grad():
        plain = net.time_embed(x)
        model.patch_model()
        guided = net.time_embed(x)
        model.unpatch_model()
        assert not torch.allclose(guided, plain, atol=1e-3)
        assert torch.equal(net.time_embed(x), plain)


def test_a_full_memory_is_not_called_a_damaged_file(tmp_path, monkeypatch):
    """The user must not be sent to download the file again."""
    import comfy.sd
    from fewstep.host.loading import models

    def full(*_, **__):
        raise torch.cuda.OutOfMemoryError("out of memory")

    monkeypatch.setattr(comfy.sd, "load_checkpoint_guess_config", full)
    header = models.Header(tmp_path / "x.safetensors", {"model.diffusion_model.a": (1,)}, {}, None)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        models.load(header)
