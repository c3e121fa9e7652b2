"""MODELs of ours keep their weights through what newer hosts do with them: unload, load in part, stream, compile."""

from types import SimpleNamespace

import pytest
import torch
from fewstep.tests.helpers import small_models
from fewstep.tests.helpers.in_process import PROMPTS, bits, denoised, short_lora
from fewstep.tests.helpers.streaming import staged, switch_on
from fewstep.tests.helpers.tiny_files import ASSETS, random_lora
from safetensors.torch import save_file

TINY = ASSETS / "checkpoints" / "fewstep-tiny-sd.safetensors"
KINDS = ("LoRA", "interpolated", "whole student")


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    small_models.start(tmp_path_factory.mktemp("reload"))


@pytest.fixture(scope="module")
def plain(started):
    from fewstep.host import headless

    return headless.load_checkpoint(TINY)


@pytest.fixture
def streamed(plain, monkeypatch):
    """(MODEL, CLIP, VAE) of the tiny base as a host with dynamic VRAM loads them."""
    from fewstep.host import headless

    switch_on(monkeypatch)
    return headless.load_checkpoint(TINY)


def with_lora(model, seed: int):
    from fewstep.host.loading import loras

    with torch.inference_mode():
        return loras.apply(model, None, random_lora(model, seed), 0.5)[0]


def made(kind: str, model):
    """A MODEL as our nodes return it."""
    from fewstep.host.loading import merging
    from fewstep.host.training import export

    if kind == "LoRA":
        return with_lora(model, 1)
    if kind == "interpolated":
        lambdas = {"input_blocks": 0.3, "middle_block": 0.7, "output_blocks": -0.2, "rest": 0.5}
        return merging.interpolated(with_lora(model, 1), with_lora(model, 2), lambdas, "test")
    generator = torch.Generator().manual_seed(3)
    weights = bits(loaded(model))  # without the patches of the MODEL before
    whole = {
        name.removeprefix("diffusion_model."): w.float() + 0.02 * torch.randn(w.shape, generator=generator)
        for name, w in sorted(weights.items())
        if name.startswith("diffusion_model.")
    }
    width = model.model.diffusion_model.time_embed[0].weight.shape[1]
    whole["time_embed.cond_proj.weight"] = 0.1 * torch.randn(width, 256, generator=generator)
    job = SimpleNamespace(trains_lora=False, model=model, guidance=2.0)
    return export.student_model(job, whole)


def x0(model, clip) -> torch.Tensor:
    """One pass of the network as the host has loaded it now."""
    from fewstep.host import conditioning

    cond = conditioning.encode_prompts(model, clip, PROMPTS[:1], 96, 96)[0]
    y = 3 * torch.randn((1, 4, 12, 12), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        options = dict(model.model_options["transformer_options"])
        return model.model.apply_model(y, torch.tensor([3.0]), transformer_options=options, **cond)


def loaded(model):
    from comfy import model_management

    with torch.inference_mode():
        model_management.load_models_gpu([model])
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_keeps_its_weights_when_the_host_unloads_part_of_it_and_all_of_it(kind, plain):
    base, clip, _ = plain
    if not hasattr(base, "partially_load"):
        pytest.skip("this host loads no model in part")
    from comfy import model_management

    weights, model, size = bits(base), made(kind, base), base.model_size()
    bare, whole = x0(loaded(base), clip), x0(loaded(model), clip)
    assert (whole - bare).abs().max() > 0.05, "the patches change nothing"
    near = {"atol": 1e-4, "rtol": 1e-4}
    with torch.inference_mode():
        for share in (3, 2, 1):
            model.partially_unload(model.offload_device, size // share)
            assert torch.allclose(x0(model, clip), whole, **near), f"1/{share} unloaded"
        for share in (4, 2):
            model.detach()
            model.partially_load(model.load_device, size // share)
            assert model.model.lowvram_patch_counter > 0
            assert torch.allclose(x0(model, clip), whole, **near), f"1/{share} loaded"
        assert torch.equal(x0(loaded(base), clip), bare), "the MODEL on the wire was changed"
        model_management.unload_all_models()
        assert torch.equal(x0(loaded(model), clip), whole)
        model_management.unload_all_models()
    assert all(torch.equal(w, weights[name]) for name, w in bits(base).items())


def test_a_copy_loses_the_hosts_handles_and_nothing_else():
    from fewstep.host import network_copy

    layer, handle = torch.nn.Conv2d(4, 8, 1), SimpleNamespace(pages=[1])
    layer._v, layer._v_signature, layer._prefetch = handle, layer.in_channels, layer.training
    copy = network_copy.copied(torch.nn.Sequential(layer))[0]
    assert not {"_v", "_v_signature", "_prefetch"} & set(vars(copy)) and layer._v is handle
    assert (copy.in_channels, copy.training) == (4, True) and torch.equal(copy.weight, layer.weight)
    assert copy.weight is not layer.weight


def test_a_merge_made_while_the_host_has_one_half_in_part_is_the_same(plain):
    """B's weights are read as they lie in memory: patched ones must not be taken for plain ones."""
    base, clip, _ = plain
    if not hasattr(base, "partially_load"):
        pytest.skip("this host loads no model in part")
    expected = x0(loaded(made("interpolated", base)), clip)
    half = with_lora(base, 2)
    with torch.inference_mode():
        for load in (lambda: loaded(half), lambda: half.partially_unload(half.offload_device, half.model_size() // 2)):
            load()
            assert torch.equal(x0(loaded(made("interpolated", base)), clip), expected)
            half.detach()


@pytest.mark.parametrize("kind", KINDS)
def test_a_streamed_model_has_the_weights_of_a_plain_one(kind, streamed, plain):
    """Staged, unloaded and staged again, then copied. A streamed base keeps the file's fp16 and rounds again."""
    bare, expected = denoised(plain[0], plain[1]), denoised(made(kind, plain[0]), plain[1])
    model = loaded(made(kind, streamed[0]))
    assert staged(model.model) > 50
    with torch.inference_mode():
        model.partially_unload(None, 1e32)
        model.detach()
        loaded(model)
    assert (denoised(model, plain[1]) - expected).norm() < 0.02 * (expected - bare).norm()


def test_a_patch_on_a_layer_follows_the_clone_that_is_not_streamed(streamed):
    from fewstep.host.loading import models

    model = made("whole student", streamed[0]).clone()
    clone = model.clone(disable_dynamic=True)
    for one in (model, clone, clone.clone()):
        layer = one.model.diffusion_model.time_embed[0]
        assert one.object_patches[models.GUIDED_LAYER].forward.__self__ is layer


def test_a_run_on_a_streamed_base_is_the_one_on_a_plain_base(streamed, plain, tmp_path):
    """Nothing of the host's handles is copied, though its layers hold them: of the network, for the estimate and the
    copy, and of the VAE, for rewards."""
    from fewstep.host import fingerprints
    from fewstep.host.rewards import clip

    loaded(streamed[0])
    with torch.inference_mode():
        streamed[2].decode(torch.zeros(1, 4, 12, 12))
    assert staged(streamed[0].model) > 50 and staged(streamed[2].first_stage_model) > 10
    assert fingerprints.of_model(streamed[0]) == fingerprints.of_model(plain[0])
    pictures = clip.decoder(streamed[0], streamed[2], torch.device("cpu"))(torch.zeros(1, 4, 12, 12))
    assert torch.isfinite(pictures).all()
    ours, theirs = (short_lora(base, tmp_path / name) for base, name in ((streamed, "s"), (plain, "p")))
    assert "activations unknown" not in ours.estimate
    assert all(torch.equal(tensor, theirs.tensors[name]) for name, tensor in ours.tensors.items())


def test_a_loaded_unet_in_diffusers_names_is_one_that_the_host_can_load_again(streamed, plain, tmp_path):
    from comfy import utils
    from fewstep.host.loading import models

    weights = plain[0].model.diffusion_model.state_dict()
    table = utils.unet_to_diffusers(plain[0].model.model_config.unet_config)
    file = {theirs: weights[ours].clone() for theirs, ours in table.items() if ours in weights}
    save_file(file, tmp_path / "unet.safetensors")
    header = models.Header(str(tmp_path / "unet.safetensors"), {k: tuple(t.shape) for k, t in file.items()}, {}, None)
    with torch.inference_mode():
        model = models.load(header)[0]
    assert model.is_dynamic()
    assert torch.equal(denoised(model, plain[1]), denoised(plain[0], plain[1]))


COMPILED = {  # what the MODEL carries before the compile node, and what our nodes put on after it
    "LoRA, then compiled": (lambda m: with_lora(m, 1), lambda m: m),
    "compiled, then LoRA": (lambda m: m, lambda m: with_lora(m, 1)),
    "whole student": (lambda m: made("whole student", m), lambda m: m),
}


def compiled(model):
    """As the host's TorchCompileModel node, by a backend that needs no compiler."""
    helpers = pytest.importorskip("comfy_api.torch_helpers", reason="this host compiles in another way")
    clone = model.clone()
    torch.compiler.reset()
    helpers.set_torch_compile_wrapper(model=clone, backend="eager")
    return clone


def sampled(model, clip, sampler: str) -> torch.Tensor:
    """Two steps with a patch on the conditioning, guidance at the first step only, and a sampler of ours."""
    from fewstep.host import condition_noise, conditioning, sampling
    from fewstep.samplers.registry import SAMPLERS
    from fewstep.samplers.schedule import sigmas_of

    pair = (sampling.conditioning([conditioning.encode_text(clip, text)]) for text in (PROMPTS[0], ""))
    patched = condition_noise.apply(model, 0.2, 0.5, 0)
    sigmas = sigmas_of(model.get_model_object("model_sampling"), [999, 499])
    function = sampling.as_sampler(SAMPLERS[sampler].function, SAMPLERS[sampler].keywords(0.3, None, None))
    with torch.inference_mode():
        latent = {"samples": torch.zeros(1, 4, 12, 12)}
        return sampling.sample_custom(patched, 1, [2.0, 1.0], *pair, function, sigmas, latent)["samples"]


@pytest.mark.parametrize("flag", ["LOW_VRAM", "NO_VRAM", "DISABLE_SMART_MEMORY"])
def test_the_same_latents_under_the_hosts_memory_flags(flag, plain, monkeypatch):
    """--lowvram, --novram, --disable-smart-memory as the host sets them; the first two it sets aside for a CPU, which
    is hidden from it here."""
    from comfy import model_management

    base, clip, _ = plain
    if not hasattr(base, "partially_load"):
        pytest.skip("this host loads no model in part")
    model = made("interpolated", base)
    expected = sampled(model, clip, "tcd")
    model_management.unload_all_models()
    if flag == "DISABLE_SMART_MEMORY":
        monkeypatch.setattr(model_management, flag, True)
    else:
        monkeypatch.setattr(model_management, "vram_state", model_management.VRAMState[flag])
        monkeypatch.setattr(model_management, "is_device_cpu", lambda device: False)
        monkeypatch.setattr(model_management, "get_free_memory", lambda *_, **__: base.model_size() // 2)
    for _ in range(2):  # the second meets what the first has left
        assert torch.allclose(sampled(model, clip, "tcd"), expected, atol=1e-3)
        assert flag == "DISABLE_SMART_MEMORY" or model.model.lowvram_patch_counter > 0, "the whole model was loaded"


@pytest.mark.parametrize("kind", COMPILED)
def test_a_compiled_model_samples_as_the_plain_one(kind, plain):
    before, after = COMPILED[kind]
    expected = sampled(after(before(plain[0])), plain[1], "tcd")
    assert torch.allclose(sampled(after(compiled(before(plain[0]))), plain[1], "tcd"), expected, atol=1e-3)
    assert (sampled(plain[0], plain[1], "tcd") - expected).abs().max() > 0.05


def test_compiled_models_are_merged_and_trained_as_plain_ones(plain, tmp_path):
    from fewstep.host import fingerprints
    from fewstep.host.loading import merging

    base, clip, vae = plain
    lambdas = dict.fromkeys(("input_blocks", "middle_block", "output_blocks", "rest"), 0.3)
    pairs = [(with_lora(m, 1), with_lora(m, 2)) for m in (base, compiled(base))]
    expected, ours = (sampled(merging.interpolated(*pair, lambdas, "test"), clip, "lcm") for pair in pairs)
    assert torch.allclose(ours, expected, atol=1e-3)
    taught = compiled(base)
    assert fingerprints.of_model(taught) == fingerprints.of_model(base)
    one, other = (short_lora((m, clip, vae), tmp_path / n, steps=2) for m, n in ((taught, "c"), (base, "p")))
    assert "activations unknown" not in one.estimate
    assert all(torch.allclose(tensor, other.tensors[name], atol=1e-3) for name, tensor in one.tensors.items())
