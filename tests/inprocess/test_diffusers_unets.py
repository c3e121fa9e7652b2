"""Whole U-Nets in diffusers' names: the same names as the host's, any size, and the same network as diffusers'."""

import pytest
import torch
from fewstep.tests.helpers import small_models
from fewstep.weights import unet_names
from safetensors.torch import save_file

diffusers = pytest.importorskip("diffusers")
DOWN, CROSS = "DownBlock2D", "CrossAttnDownBlock2D"
UP, CROSS_UP = "UpBlock2D", "CrossAttnUpBlock2D"
SD = {"down_block_types": (CROSS, CROSS, CROSS, DOWN), "up_block_types": (UP, CROSS_UP, CROSS_UP, CROSS_UP)}
XL = {
    "down_block_types": (DOWN, CROSS, CROSS), "up_block_types": (CROSS_UP, CROSS_UP, UP),
    "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
CUT = {
    "mid_block_type": "UNetMidBlock2D", "transformer_layers_per_block": [1, [2, 2], [4, 4]],
    "reverse_transformer_layers_per_block": [[4, 4, 10], [2, 1, 1], 1],
}  # fmt: skip
REAL = {  # as published; attention_head_dim is a number of heads there
    "SD15": {
        **SD, "block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768, "attention_head_dim": 8,
    },
    "SD20": {
        **SD, "block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True,
    },
    "SDXL": {
        **XL, "block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": [1, 2, 10],
    },
    "SSD1B": {
        **XL, **CUT, "block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
    },
}  # fmt: skip
SMALL = {
    "SD15": {**REAL["SD15"], "block_out_channels": (32, 32, 64, 64), "cross_attention_dim": 40},
    "SD20": {
        **REAL["SD20"], "block_out_channels": (32, 32, 64, 64), "cross_attention_dim": 40,
        "attention_head_dim": (2, 2, 4, 4),
    },
    "SDXL": {
        **REAL["SDXL"], "block_out_channels": (32, 64, 64), "cross_attention_dim": 40, "attention_head_dim": (2, 4, 4),
        "transformer_layers_per_block": [1, 1, 2],
    },
    "SSD1B": {
        **REAL["SSD1B"], "block_out_channels": (32, 64, 64), "cross_attention_dim": 40, "attention_head_dim": (2, 4, 4),
    },
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def host(tmp_path_factory):
    small_models.start(tmp_path_factory.mktemp("unets"))


def host_shapes(model) -> dict[str, tuple]:
    return {key: tuple(t.shape) for key, t in model.diffusion_model.state_dict().items()}


@pytest.mark.parametrize("kind", REAL)
def test_the_published_layouts_are_the_hosts_tensor_by_tensor(kind):
    """At the published sizes, without memory: the host detects its class, and wants these names and shapes."""
    from comfy import model_detection

    with torch.device("meta"):
        theirs = diffusers.UNet2DConditionModel(**REAL[kind]).state_dict()
    names = unet_names.to_ldm(list(theirs))
    tensors = {names[key]: tensor for key, tensor in theirs.items()}
    config = model_detection.model_config_from_unet(tensors, "")
    assert type(config).__name__ == kind
    model = config.get_model({}, "", device="meta")
    assert host_shapes(model) == {key: tuple(tensor.shape) for key, tensor in tensors.items()}


def small_class(kind: str):
    """The host's class for that layout at the small sizes above, which no class of its own has."""
    import comfy.supported_models as supported

    heads = {"num_heads": 8, "num_head_channels": -1} if kind == "SD15" else {"num_heads": -1, "num_head_channels": 16}
    base = getattr(supported, kind)
    config = {**base.unet_config, "model_channels": 32, "context_dim": 40}
    if kind == "SDXL":
        config["transformer_depth"] = [0, 0, 1, 1, 2, 2]
    return type(f"Small{kind}", (base,), {"unet_config": config, "unet_extra_config": heads})


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """load(kind, file name, edit) -> (diffusers' network, what FewStep Load Model gives for its file)."""
    import comfy.supported_models as supported
    from fewstep.host.loading import models
    from fewstep.nodes.load_model import FewStepLoadModel

    def load(kind: str, name: str = "unet.safetensors", edit=lambda tensors: tensors, **inputs):
        monkeypatch.setattr(supported, "models", [small_class(kind), *supported.models])
        torch.manual_seed(0)
        network = diffusers.UNet2DConditionModel(**SMALL[kind], **inputs.pop("network", {})).eval()
        save_file(edit(network.state_dict()), tmp_path / name, {"format": "pt"})
        monkeypatch.setattr(models, "find", lambda _: str(tmp_path / name))
        options = {"steps": 4, "denoise": 1.0, "guidance": 8.0, "family": "SwiftBrush", "allow_partial": False}
        with torch.inference_mode():
            return network, FewStepLoadModel().load(name, **{**options, **inputs})["result"]

    return load


def output_of(model, kind: str, x, t, context, y):
    """The host's network itself, patched as the MODEL says."""
    network = model.model.diffusion_model.float()
    extra = {"y": y} if kind in ("SDXL", "SSD1B") else {}
    model.patch_model()
    try:
        return network(x, t, context=context, **extra)
    finally:
        model.unpatch_model()


@pytest.mark.parametrize("kind", SMALL)
def test_the_loaded_network_is_diffusers(kind, loaded):
    network, (model, clip, vae, *_, text) = loaded(kind)
    assert clip is None and vae is None
    assert f"{len(network.state_dict())} tensors matched, 0 not" in text
    generator = torch.Generator().manual_seed(1)
    x, context = torch.randn(2, 4, 16, 16, generator=generator), torch.randn(2, 5, 40, generator=generator)
    pooled, sizes = torch.randn(2, 1280, generator=generator), torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2)
    t = torch.tensor([999.0, 259.0])
    with torch.no_grad():
        extra = {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes}} if kind in ("SDXL", "SSD1B") else {}
        expected = network(x, t, context, **extra).sample
        ids = network.add_time_proj(sizes.flatten()).reshape(2, -1) if extra else torch.zeros(2, 0)
        found = output_of(model, kind, x, t, context, torch.cat([pooled, ids], dim=1))
    assert expected.std() > 0.01
    assert torch.allclose(found, expected, atol=2e-4), (found - expected).abs().max()


@pytest.mark.parametrize("guidance", [1.0, 8.0])
def test_a_whole_lcm_unet_hears_the_guidance_as_diffusers_does(guidance, loaded):
    """By its tensors alone, whatever its name: sampler lcm, and the embedding of w before the first linear layer."""
    network, (model, *_, text) = loaded(
        "SD15", "some.safetensors", family="auto", guidance=guidance, network={"time_cond_proj_dim": 256}
    )
    assert "LCM model" in text and "sampler lcm" in text and f"guidance {guidance:g}" in text
    w = diffusers.LatentConsistencyModelPipeline.get_guidance_scale_embedding(
        None, torch.full((1,), guidance - 1), embedding_dim=256
    )
    generator = torch.Generator().manual_seed(1)
    x, context = torch.randn(1, 4, 16, 16, generator=generator), torch.randn(1, 5, 40, generator=generator)
    t = torch.tensor([499.0])
    with torch.no_grad():
        expected = network(x, t, context, timestep_cond=w).sample
        assert torch.allclose(output_of(model, "SD15", x, t, context, None), expected, atol=2e-4)
        assert not torch.allclose(network(x, t, context).sample, expected, atol=1e-3)


def test_a_network_of_other_sizes_than_its_names_say_is_refused(loaded):
    def narrower(tensors: dict) -> dict:
        return {key: t[..., :-1].contiguous() if "attn2.to_k" in key else t for key, t in tensors.items()}

    with pytest.raises(ValueError, match='FewStep Load Model: "unet.safetensors": '):
        loaded("SD15", edit=narrower)


@pytest.mark.parametrize("name", ["norm1.weight", "conv1.bias", "conv_shortcut.weight", "time_emb_proj.weight"])
def test_every_part_of_a_residual_block_has_ldms_name(name):
    ours = {
        "norm1.weight": "in_layers.0.weight",
        "conv1.bias": "in_layers.2.bias",
        "conv_shortcut.weight": "skip_connection.weight",
        "time_emb_proj.weight": "emb_layers.1.weight",
    }
    one, two = f"down_blocks.1.resnets.0.{name}", f"up_blocks.2.resnets.2.{name}"
    found = unet_names.to_ldm([one, two, "down_blocks.0.resnets.1.x", "controlnet_cond_embedding.conv_in.weight"])
    assert found[one] == f"input_blocks.4.0.{ours[name]}" and found[two] == f"output_blocks.8.0.{ours[name]}"
    assert found["controlnet_cond_embedding.conv_in.weight"] == "controlnet_cond_embedding.conv_in.weight"
