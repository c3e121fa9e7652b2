"""LoRAs over quantised bases: trained, saved, loaded and sampled, and the base's weights stay as they are stored.

In an environment of an upstream checkout (COMFYUI_DIR) the same tests meet its own quantised layers, int8 too.
"""

import pytest
import torch
from fewstep.tests.helpers import quantised_bases, small_models
from fewstep.tests.helpers.estimates import job_of
from fewstep.tests.helpers.in_process import PROMPTS, denoised, short_lora
from fewstep.training.packed import Packed
from fewstep.training.roles import LoraRoles, equal_adapters
from torch import nn


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """(MODEL, CLIP, VAE) of the tiny base, of whichever host is at hand."""
    small_models.start(tmp_path_factory.mktemp("quantised"))
    from fewstep.host import headless

    return headless.load_checkpoint(quantised_bases.TINY)


def from_file(kind):
    def loaded(folder):
        from fewstep.host import headless

        return headless.load_checkpoint(quantised_bases.write(kind, folder / "quantised.safetensors"))

    return loaded


KINDS = {
    "fp8": lambda _: quantised_bases.in_fp8(),
    "scaled fp8": from_file(quantised_bases.scaled_fp8),
    "int8": from_file(quantised_bases.int8),
    "gguf": lambda _: quantised_bases.in_gguf(),
}
STORED = {"fp8": "float8_e4m3fn", "scaled fp8": "float8_e4m3fn", "int8": "int8", "gguf": "uint8"}


@pytest.fixture(scope="module", params=KINDS)
def base(request, plain, tmp_path_factory):
    """(what its matrices are stored in, (MODEL, CLIP, VAE)); skipped where the host has no such layers."""
    from comfy import ops

    if request.param == "int8" and not hasattr(ops, "mixed_precision_ops"):
        pytest.skip("this host has no int8 layers")
    if request.param == "scaled fp8" and not hasattr(ops, "mixed_precision_ops") and not hasattr(ops, "scaled_fp8_ops"):
        pytest.skip("this host has no scaled fp8 layers")
    return STORED[request.param], KINDS[request.param](tmp_path_factory.mktemp("file"))


def stored(model) -> dict[str, tuple[str, torch.Tensor]]:
    """{name: (dtype in memory, its numbers)} of the network's quantised weights."""
    from fewstep.host import quantised

    found = {n: p for n, p in model.model.diffusion_model.named_parameters() if quantised.is_packed(p)}
    return {name: (quantised.kind_of(p), bits(p)) for name, p in found.items()}


def bits(parameter) -> torch.Tensor:
    data = getattr(parameter, "_qdata", parameter).as_subclass(torch.Tensor)
    return data.flatten().view(torch.uint8).clone()


def unpacked_twin(plain, model):
    """The plain base with the numbers that a quantised one stands for, in fp32: by the layers' own products of 1."""
    from fewstep.host import headless

    twin = headless.load_checkpoint(quantised_bases.TINY)
    theirs = dict(model.model.diffusion_model.named_modules())
    with torch.inference_mode():
        for name, layer in twin[0].model.diffusion_model.named_modules():
            for own, parameter in layer._parameters.items():
                source = getattr(theirs[name], own) if parameter is not None else None
                if source is None:
                    continue
                packed = own == "weight" and isinstance(layer, nn.Linear)
                numbers = of_linear(theirs[name]) if packed else source.as_subclass(torch.Tensor).float()
                parameter.data = numbers.to(parameter.dtype)
    return twin


def of_linear(layer) -> torch.Tensor:
    """W of a Linear, as what its own forward pass makes of the unit vectors."""
    layer.eval()
    none = layer(torch.zeros(1, layer.in_features))
    return (layer(torch.eye(layer.in_features)) - none).T.contiguous()


def gradients(model, clip, saved: list | None = None) -> dict[str, torch.Tensor]:
    """Of a LoRA on every layer, whose B is not 0, for one pass at a high noise level."""
    from fewstep.host import conditioning, model_copy
    from fewstep.host.training import layers

    def pack(tensor):
        if saved is not None:
            saved.append(tuple(tensor.shape))
        return tensor

    with model_copy.training_mode():
        copy = model_copy.TrainingCopy(model)
        roles = LoraRoles(copy.net, copy.denoise, equal_adapters(layers.lora_targets(model), 2, 2.0))
        own = roles.parameters("student")
        for number, parameter in enumerate(own.values()):
            parameter.data = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)) / 20
        cond = conditioning.encode_prompts(model, clip, PROMPTS[:1], 96, 96)[0]
        y = torch.randn((1, 4, 12, 12), generator=torch.Generator().manual_seed(0)) * 3
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            x0 = roles("student", y, torch.tensor([3.0]), cond)
        x0.square().mean().backward()
    return {name: parameter.grad for name, parameter in own.items()}


def test_the_gradient_is_that_over_the_same_numbers_in_fp32(base, plain):
    _, (model, clip, _) = base
    ours, exact = gradients(model, clip), gradients(*unpacked_twin(plain, model)[:2])
    assert ours.keys() == exact.keys() and len(ours) > 100
    for name, gradient in ours.items():
        assert gradient.norm() > 0 and (gradient - exact[name]).norm() < 1e-3 * exact[name].norm(), name


def test_nothing_is_kept_of_a_frozen_layer_but_its_packed_weight(base):
    """Neither the copy nor autograd holds a matrix of a frozen layer's shape in the run's precision."""
    from fewstep.host import model_copy

    kind, (model, clip, _) = base
    kept = []
    gradients(model, clip, kept)
    with model_copy.training_mode():
        net = model_copy.TrainingCopy(model).net
    frozen = [part for part in net.modules() if isinstance(part, Packed)]
    shapes = {tuple(part.weight.shape) for part in frozen if len(part.weight.shape) == 2}
    assert len(frozen) > 50 and kept and not shapes & {*kept, *(shape[::-1] for shape in kept)}
    found = stored(model)
    assert {kind} == {stored_kind for stored_kind, _ in found.values()}
    memory = {getattr(p, "_qdata", p).data_ptr() for p in model.model.diffusion_model.parameters()}
    assert all(getattr(part.weight, "_qdata", part.weight).data_ptr() in memory for part in frozen)


def test_a_lora_is_trained_saved_loaded_and_sampled(base, tmp_path):
    from fewstep.host import folders, sampling
    from fewstep.host.conditioning import encode_text
    from fewstep.host.loading import loras

    kind, loaded = base
    model, clip, _ = loaded
    before, plainly = stored(model), denoised(model, clip)
    result = short_lora(loaded, tmp_path, steps=3, gradient_checkpointing=True)
    assert all(kept == kind and torch.equal(numbers, before[n][1]) for n, (kept, numbers) in stored(model).items())
    assert torch.equal(plainly, denoised(model, clip))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders, "full_path", lambda _, name: str(tmp_path / "loras" / name))
        tensors, _ = loras.read(result.name, "test")
    if kind == "uint8":
        return  # the pack's own ModelPatcher lays LoRAs on its tensors; there is none here
    student = loras.apply(model, None, loras.fitted(model, tensors), 1.0)[0]
    text, noise = [encode_text(clip, PROMPTS[0])], sampling.unit_noise((4, 12, 12), 0, [0])
    pictures = [sampling.draw(m, text, text[0], noise, steps=2, cfg=1.0) for m in (model, student)]
    assert pictures[1].isfinite().all() and not torch.allclose(*pictures, atol=1e-3)


def test_every_weight_of_a_quantised_base_cannot_be_trained(base):
    from fewstep.host.training import check

    kind, loaded = base
    check.check(job_of(loaded))
    with pytest.raises(ValueError, match=f"FewStepDistill: train full .* quantised: {kind} .* Set train to lora"):
        check.check(job_of(loaded, train="full"))


def test_differences_of_quantised_weights_are_not_taken(base):
    """The host's arithmetic of patches would add them to numbers that still want their scale."""
    from fewstep.host.training import check

    kind, (model, clip, vae) = base
    name = next(key for key in model.get_key_patches() if key.endswith("attn1.to_q.weight"))
    patched = model.clone()
    patched.add_patches({name: ("diff", (torch.zeros(1),))})
    job = job_of((patched, clip, vae), lora_over="plain base by SVD")
    with pytest.raises(ValueError, match=f"FewStepDistill: lora_over .* quantised: .* is {kind}"):
        check.check(job)


def test_the_estimate_counts_what_is_stored(base, plain):
    """A quarter of fp32's bytes where all weights are packed; the activations are as over plain weights."""
    from fewstep.host.training import memory

    _, loaded = base
    need, whole = memory.of(job_of(loaded)).parts, memory.of(job_of(plain)).parts
    packed = sum(numbers.numel() for _, numbers in stored(loaded[0]).values())
    copied = sum(p.numel() for n, p in plain[0].model.diffusion_model.named_parameters() if n not in stored(loaded[0]))
    assert packed <= need["training copy"] < packed + 4 * copied + 0.02 * whole["training copy"]
    assert need["roles"] == whole["roles"] and need["training copy"] < 0.8 * whole["training copy"]
    assert need["activations"] == pytest.approx(whole["activations"], rel=0.1)


def test_a_transformer_that_adds_in_place_is_taught_over_fp8(plain):
    """Flux adds to what its first Linear gives: the gradient is still that over the same numbers in fp32."""
    found = []
    for kind in (quantised_bases.FP8, torch.float32):
        model = small_models.make("Flux")
        if model is None:
            pytest.skip("this host has no Flux")
        for layer in model.model.diffusion_model.modules():
            if isinstance(layer, nn.Linear):
                layer.weight = nn.Parameter(layer.weight.data.to(quantised_bases.FP8).to(kind), requires_grad=False)
        found.append(flux_gradients(model))
    ours, exact = found
    assert all(g.norm() > 0 and (g - exact[name]).norm() < 1e-3 * exact[name].norm() for name, g in ours.items())


def flux_gradients(model) -> dict[str, torch.Tensor]:
    from fewstep.host import model_copy
    from fewstep.host.training import layers

    generator = torch.Generator().manual_seed(0)
    sizes = {"c_crossattn": (1, 5, 32), "y": (1, 32)}
    cond = {name: torch.randn(size, generator=generator) for name, size in sizes.items()}
    with model_copy.training_mode():
        copy = model_copy.TrainingCopy(model)
        roles = LoraRoles(copy.net, copy.denoise, equal_adapters(layers.lora_targets(model), 2, 2.0))
        own = roles.parameters("student")
        for parameter in own.values():
            parameter.data = torch.randn(parameter.shape, generator=generator) / 20
        y = torch.randn((1, 16, 8, 8), generator=generator)
        roles("student", y, torch.tensor([0.7]), {**cond, "guidance": torch.ones(1)}).square().mean().backward()
    return {name: parameter.grad for name, parameter in own.items()}
