"""The adapter inside the embedded host, in this process: the training copy, and who can read the LoRA we write."""

import pytest
import torch
from fewstep.tests.helpers.in_process import PROMPTS, FakeText, bits, denoised, short_lora
from fewstep.tests.helpers.small_models import random_sdxl

pytest.importorskip("comfy", reason="the embedded host is not installed here")
diffusers = pytest.importorskip("diffusers")


def test_training_changes_no_bit_of_the_model_on_the_wire(tiny, tmp_path):
    before = bits(tiny[0])
    result = short_lora(tiny, tmp_path)
    after = bits(tiny[0])
    assert all(torch.equal(before[name], after[name]) for name in before) and before.keys() == after.keys()
    assert any(tensor.abs().sum() > 0 for key, tensor in result.tensors.items() if "lora_up" in key)


def test_the_training_copy_denoises_as_the_model_does(tiny):
    """The same x0 as the host's own apply_model, LoRA patches of the MODEL baked in."""
    from comfy import model_management

    model, clip, _ = tiny
    y = torch.randn((1, 4, 12, 12), generator=torch.Generator().manual_seed(0)) * 3
    from fewstep.host import conditioning

    cond = conditioning.encode_prompts(model, clip, PROMPTS[:1], 96, 96)[0]
    with torch.inference_mode():
        model_management.load_models_gpu([model])
        theirs = model.model.apply_model(y, torch.tensor([3.0]), **cond)
    assert torch.allclose(denoised(model, clip), theirs, atol=1e-5)


def test_a_lora_on_the_wire_is_part_of_the_teacher(tiny, tmp_path):
    """The copy of a patched MODEL denoises as the host does with the patches on, and not as the plain one."""
    from comfy import model_management
    from fewstep.host import conditioning
    from fewstep.host.loading import loras

    model, clip, _ = tiny
    patched = loras.apply(model, None, short_lora(tiny, tmp_path).tensors, 1.0)[0]
    ours = denoised(patched, clip)
    cond = conditioning.encode_prompts(model, clip, PROMPTS[:1], 96, 96)[0]
    y = torch.randn((1, 4, 12, 12), generator=torch.Generator().manual_seed(0)) * 3
    with torch.inference_mode():
        model_management.load_models_gpu([patched])
        theirs = patched.model.apply_model(y, torch.tensor([3.0]), **cond)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(ours, denoised(model, clip), atol=1e-3)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_run_in_the_host_is_reproducible(tiny, tmp_path, checkpointing):
    first = short_lora(tiny, tmp_path / "a", gradient_checkpointing=checkpointing)
    second = short_lora(tiny, tmp_path / "b")
    assert all(torch.allclose(first.tensors[key], second.tensors[key], atol=1e-5) for key in first.tensors)


def test_a_run_can_start_from_an_earlier_lora(tiny, tmp_path):
    """With a vanishing learning rate the product is the LoRA it started from."""
    start = "fewstep-tiny-sd-lcm-lora.safetensors"
    from fewstep.host.loading import loras

    before, _ = loras.read(start, "test")
    result = short_lora(tiny, tmp_path, steps=1, start=start, rank=32, alpha=32.0, learning_rate=1e-9)
    assert all(torch.allclose(result.tensors[key], before[key].float(), atol=1e-4) for key in result.tensors)
    with pytest.raises(ValueError, match='start_lora "gone.safetensors" is in no loras folder'):
        short_lora(tiny, tmp_path / "gone", steps=1, start="gone.safetensors")
    with pytest.raises(ValueError, match="Take a rank of at least 32"):
        short_lora(tiny, tmp_path / "small", steps=1, start=start)


def test_lower_precision_trains(tiny, tmp_path):
    result = short_lora(tiny, tmp_path, precision="bf16")
    assert all(torch.isfinite(tensor).all() for tensor in result.tensors.values())
    assert all(record["student_gradient"] > 0 for record in result.metrics)
    assert any(tensor.abs().sum() > 0 for key, tensor in result.tensors.items() if "lora_up" in key)


def test_weights_loaded_in_inference_mode_can_be_trained_on():
    """Trap 3: nodes run in inference mode, and inference tensors cannot be saved for backward."""
    from fewstep.host import model_copy

    with torch.inference_mode():
        loaded = torch.nn.Sequential(torch.nn.Conv2d(2, 4, 1), torch.nn.LayerNorm(3))
    assert loaded[0].weight.is_inference()
    with torch.inference_mode(False):
        clone = model_copy.to_trainable(loaded, torch.float32).requires_grad_(True)
        clone(torch.randn(2, 2, 3, 3)).sum().backward()
    assert clone[0].weight.grad is not None and loaded[0].weight.is_inference()


def test_prompts_of_unequal_length_are_drawn_and_taught_together(tiny, tmp_path):
    """One prompt over 75 tokens among short ones: joined as the host joins them."""
    long = "red apple, " * 40 + "3d style"
    result = short_lora(tiny, tmp_path, prompts=[PROMPTS[0], long])
    assert result.metrics


def test_another_kind_of_model_is_refused_before_anything_is_drawn(tiny, tmp_path):
    from fewstep.host import architectures

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(architectures, "ROWS", architectures.ROWS[2:])  # without the tiny base and its parent
        with pytest.raises(ValueError, match="none of the kinds it can train: SD2.x, .* SD3, Flux, .* Load one"):
            short_lora(tiny, tmp_path)
    assert not list(tmp_path.rglob("latents-*"))


def test_changed_settings_are_refused_before_anything_is_drawn(tiny, tmp_path, caplog):
    """Those that may change are told in the log."""
    short_lora(tiny, tmp_path)
    before = sorted(tmp_path.rglob("latents-*"))
    with pytest.raises(ValueError, match="batch_size"):
        short_lora(tiny, tmp_path, batch_size=4)
    assert sorted(tmp_path.rglob("latents-*")) == before
    caplog.set_level("INFO")
    short_lora(tiny, tmp_path, learning_rate=1e-3)
    assert "short: goes on with other settings: learning_rate (0.01 -> 0.001)" in caplog.text


def diffusers_unet(model):
    """The tiny U-Net with the same weights in diffusers' own class."""
    from fewstep.host.training import layers

    unet = diffusers.UNet2DConditionModel(
        sample_size=12,
        block_out_channels=(64, 128),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=64,
        attention_head_dim=4,
    )
    from comfy import utils

    table = utils.unet_to_diffusers(model.model.model_config.unet_config)
    weights = model.model.diffusion_model.state_dict()
    with torch.inference_mode(False), torch.no_grad():
        unet.load_state_dict(
            {theirs: weights[ours].clone().float() for theirs, ours in table.items() if ours in weights}
        )
    assert set(layers.lora_targets(model)) <= {n.removesuffix(".weight") for n in weights}
    return unet.eval()


def test_diffusers_reads_our_lora_and_gives_the_same_picture(tiny, tmp_path):
    """Loaded by diffusers' own loader into diffusers' own U-Net: the host's x0 to 1e-3 (and without it: not)."""
    from fewstep.host import conditioning
    from fewstep.host.loading import loras
    from safetensors.torch import save_file

    model, clip, _ = tiny
    tensors = short_lora(tiny, tmp_path).tensors
    patched = loras.apply(model, None, tensors, 1.0)[0]
    save_file(tensors, tmp_path / "ours.safetensors")

    loader = diffusers.loaders.StableDiffusionLoraLoaderMixin
    state, alphas = loader.lora_state_dict(str(tmp_path / "ours.safetensors"))
    unet = diffusers_unet(model)
    with torch.inference_mode(False):
        cond = conditioning.encode_prompts(model, clip, PROMPTS[:1], 96, 96)[0]
        y = torch.randn((1, 4, 12, 12), generator=torch.Generator().manual_seed(0)) * 3

        def x0() -> torch.Tensor:
            timestep = model.model.model_sampling.timestep(torch.tensor([3.0]))
            with torch.no_grad():
                eps = unet(y / (1 + 9) ** 0.5, timestep, encoder_hidden_states=cond["c_crossattn"]).sample
            return y - 3 * eps

        assert torch.allclose(x0(), denoised(model, clip), atol=1e-3)
        loader.load_lora_into_unet(state, network_alphas=alphas, unet=unet)
        assert torch.allclose(x0(), denoised(patched, clip), atol=1e-3)
        assert not torch.allclose(x0(), denoised(model, clip), atol=1e-2)


def test_registering_twice_adds_one_class_and_one_folder(tiny):
    import comfy.supported_models as supported
    from fewstep.host import folders, tiny_sd

    count, paths = len(supported.models), list(folders.folder_paths.get_folder_paths("loras"))
    tiny_sd.register()
    folders.register_assets()
    assert len(supported.models) == count and list(folders.folder_paths.get_folder_paths("loras")) == paths


def test_quantised_weights_are_refused_by_name():
    from fewstep.host import model_copy

    net = torch.nn.Linear(4, 4)
    net.weight = torch.nn.Parameter(net.weight.to(torch.float8_e4m3fn), requires_grad=False)
    with pytest.raises(ValueError, match="FewStepDistill: train full .* quantised: float8_e4m3fn"):
        model_copy.refuse_quantised(net, "FewStepDistill")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b"])
def test_names_from_the_user_stay_in_their_folder(name, tmp_path, tiny):
    from fewstep.host import folders

    with pytest.raises(ValueError, match="leads out of"):
        folders.inside(tmp_path, name, "Run name")


def test_sdxl_is_taught_with_its_pooled_text_and_size_ids(tiny, tmp_path):
    """The `y` vector reaches the student, and the LoRA fits the model again by kohya's names."""
    from fewstep.host import conditioning
    from fewstep.host.loading import loras

    model, text = random_sdxl(), FakeText()
    keywords = conditioning.encode_prompts(model, text, ["a"], 64, 96)[0]
    assert keywords["y"].shape == (1, 2816) and keywords["c_crossattn"].shape == (1, 77, 2048)
    other_size = conditioning.encode_prompts(model, text, ["a"], 128, 96)[0]
    assert not torch.equal(keywords["y"], other_size["y"])
    result = short_lora((model, text, None), tmp_path, steps=2)
    found = loras.match(model, None, result.tensors)
    assert not found.unmatched and len(found.matched) > 50
    assert any("add_embedding" in name for name in result.tensors) is False


def test_a_v_prediction_patch_on_the_model_is_taught(tiny):
    """The patched model_sampling, not the checkpoint's, turns the network's output into x0."""
    from comfy import model_sampling

    class VSampling(model_sampling.ModelSamplingDiscrete, model_sampling.V_PREDICTION):
        pass

    model, clip, _ = tiny
    patched = model.clone()
    patched.add_object_patch("model_sampling", VSampling(model.model.model_config))
    plain, v = denoised(model, clip), denoised(patched, clip)
    y = torch.randn((1, 4, 12, 12), generator=torch.Generator().manual_seed(0)) * 3
    network = (y - plain) / 3
    assert torch.allclose(v, y / 10 - network * 3 / 10**0.5, atol=1e-4)
    assert torch.allclose(denoised(model, clip), plain)
