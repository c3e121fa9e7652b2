"""Students of transformers, on small random models of the host's own classes: the terms and the loop of U-Nets.

The embedded host knows SD3 alone; the others run where their class exists (see small_models.py).
"""

import pytest
import torch
from fewstep.tests.helpers.transformer_runs import (
    FAMILIES,
    METHODS,
    PROMPTS,
    SIZE,
    Text,
    base_of,
    given_data,
    made,
    run,
)
from fewstep.training.config import TrainConfig

# Learning rate, and what the loss falls to: in two, an image token has more numbers than the small network is wide.
LEARNS = {
    "SD3": (1e-2, 0.3),
    "Flux": (1e-2, 0.3),
    "FLUX.2": (3e-3, 0.8),
    "Wan 2.2 5B": (1e-3, 0.98),
    "Anima": (3e-4, 0.3),
}


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory):
    return made(request.param, tmp_path_factory.mktemp("transformer-students"))


def fixed_batch(model, count=8):
    from fewstep.host.data import dataset
    from fewstep.training.data import make_batch

    spec = dataset.DataSpec((), None, SIZE[1], SIZE[0], 4, 2, 2.0, host_data=given_data(model))
    examples = dataset.build(spec, dataset.Maker(model, Text(), None, 0, None))
    return make_batch(examples, 0, 0, count, torch.device("cpu"))


def bits(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.model.state_dict().items()}


def same(ours: dict, theirs: dict) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())


def student_of(model, tensors: dict):
    """The training copy of the MODEL with the file on it, by the host's own loading."""
    from fewstep.host import model_copy
    from fewstep.host.loading import loras

    return model_copy.TrainingCopy(loras.apply(model, None, loras.fitted(model, tensors), 1.0)[0])


@pytest.mark.parametrize("name", METHODS)
def test_every_kind_of_method_trains_and_leaves_the_wire_alone(name, model, tmp_path):
    before = bits(model)
    result, _, _ = run(model, tmp_path, METHODS[name]())
    assert same(bits(model), before)
    assert len(result.metrics) == 2 and all(torch.isfinite(t).all() for t in result.tensors.values())
    assert any(t.abs().sum() > 0 for key, t in result.tensors.items() if key.endswith("lora_up.weight"))
    assert "activations unknown" not in result.estimate


def test_the_loss_falls_on_a_fixed_batch(model, tmp_path, monkeypatch):
    """LCM on the host's own latents and conditionings: the guidance that Flux reads, the pooled text of both."""
    from fewstep.training import loop

    make, seen = loop.make_batch, []

    def fixed(examples, seed, start, *rest, **more):
        seen.append(make(examples, seed, 0, *rest, **more))
        return seen[-1]

    monkeypatch.setattr(loop, "make_batch", fixed)
    rate, share = LEARNS.get(base_of(model), (3e-3, 0.3))
    result, _, _ = run(model, tmp_path, METHODS["LCM"](), steps=20, data=given_data(model), learning_rate=rate)
    losses = [record["loss"] for record in result.metrics]
    assert losses[-1] < share * losses[0] and torch.equal(seen[0].noise, seen[-1].noise)
    assert seen[0].x0.shape[1] == model.model.latent_format.latent_channels and seen[0].cond.get(
        "y", torch.zeros(2, 32)
    ).shape == (2, 32)
    assert seen[0].cond.get("guidance", torch.tensor([2.5, 2.5])).tolist() == [2.5, 2.5]


def test_the_file_is_the_student_that_was_trained(model, tmp_path):
    """Every tensor is known to the host by name, and its MODEL with the file on it gives the trained student's x0."""
    from fewstep.host import folders
    from fewstep.host.loading import loras
    from fewstep.nodes.load import FewStepLoadLora

    result, job, roles = run(model, tmp_path, METHODS["LCM"](), steps=3, data=given_data(model), learning_rate=0.1)
    found = loras.match(model, None, loras.fitted(model, result.tensors))
    assert not found.unmatched and found.tensors[0] == 2 * len(roles.layers)
    batch = fixed_batch(model, 2)
    y, sigma = batch.noise, torch.full((2,), 0.7)
    with torch.inference_mode(False), torch.no_grad():
        ours, plain = (roles(role, y, sigma, batch.cond) for role in ("student", "teacher"))
        theirs = student_of(model, result.tensors).denoise(y, sigma, batch.cond)
    assert torch.allclose(ours, theirs, atol=1e-5) and not torch.allclose(ours, plain, atol=1e-2)

    folders.folder_paths.add_model_folder_path("loras", str(tmp_path / "loras"))
    arguments = (model, result.name, 1.0, 4, 1.0)
    patched, _, _, sigmas, cfg, text = FewStepLoadLora().load(*arguments)["result"]
    assert patched.patches and cfg == 1 and "FewStep LCM" in text and len(sigmas) == 5 and sigmas[0] == 1
    assert "0 not" in text and job.method.sampler in text


def test_stopped_and_resumed_is_never_having_stopped(model, tmp_path):
    whole, _, _ = run(model, tmp_path / "whole", METHODS["DMD"](), steps=2)
    run(model, tmp_path / "parts", METHODS["DMD"](), steps=1)
    parts, _, _ = run(model, tmp_path / "parts", METHODS["DMD"](), steps=2)
    assert same(whole.tensors, parts.tensors)


def test_checkpointing_gives_the_same_student(model, tmp_path):
    """Also where a block adds to its inputs in place: a second run on them would be another run."""
    plain, _, _ = run(model, tmp_path / "plain", METHODS["LCM"](), learning_rate=0.1)
    again, _, _ = run(model, tmp_path / "again", METHODS["LCM"](), learning_rate=0.1, gradient_checkpointing=True)
    assert all(torch.allclose(plain.tensors[key], again.tensors[key], atol=1e-6) for key in plain.tensors)


def test_the_sigmas_of_training_are_those_of_sampling(model):
    """The model's own shift is in both: time (t + 1) / 1000 is bent, and t = 999 is pure noise."""
    from fewstep.host import model_copy
    from fewstep.samplers.schedule import sigmas_of

    copy = model_copy.TrainingCopy(model)
    listed = sigmas_of(copy.sampling, [999, 759, 499, 259])
    assert torch.equal(copy.sigmas()[[999, 759, 499, 259]], listed[:-1]) and listed[0] == 1
    table = model.get_model_object("model_sampling").sigmas  # the host's own, evenly spaced in time
    assert torch.allclose(listed[2], table[len(table) // 2 - 1], atol=1e-5) and abs(float(listed[2]) - 0.5) > 0.1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_memory_is_estimated_before_a_run(precision, model):
    """Within 15 % of what autograd keeps of a real pass, and less where the blocks are recomputed."""
    from fewstep.host.data import dataset
    from fewstep.host.training import activations
    from fewstep.host.training.job import Job
    from fewstep.tests.helpers.estimates import really_kept

    spec = dataset.DataSpec(PROMPTS, None, *SIZE, 4, 2, 2.0)
    config = TrainConfig(batch_size=3, rank=4, alpha=4.0, precision=precision)
    job = Job(model, Text(), None, spec, METHODS["LCM"](), config, "estimate", [])
    kept, widths = activations.kept(job)
    assert kept.bytes(False) == pytest.approx(really_kept(job), rel=0.15)
    assert kept.bytes(True) < kept.bytes(False) and len(widths) == 2


def test_what_cannot_be_trained_is_refused_before_anything_is_drawn(model, tmp_path, monkeypatch):
    """Whole transformers, and networks with these blocks over the latents of videos (HunyuanVideo)."""
    with pytest.raises(ValueError, match=f"({'|'.join(FAMILIES)}) trains as a LoRA: set train to lora"):
        run(model, tmp_path, METHODS["LCM"](), train="full")
    monkeypatch.setattr(model.model.latent_format, "latent_dimensions", 4, raising=False)
    with pytest.raises(ValueError, match="none of the kinds it can train: .* SD3, Flux"):
        run(model, tmp_path, METHODS["LCM"]())
    assert not list(tmp_path.rglob("latents-*"))


def test_a_clip_is_trained_as_it_is_given(model, tmp_path):
    """Latents of three frames where the model makes videos; elsewhere they are refused."""
    from fewstep.host import architectures

    if architectures.of(model).latents.dimensions == 2:
        with pytest.raises(ValueError, match="is a video's, and the model makes pictures"):
            run(model, tmp_path, METHODS["LCM"](), data=given_data(model, frames=(3,)))
        return
    result, _, _ = run(model, tmp_path, METHODS["TSCD"](), data=given_data(model, frames=(3,)), learning_rate=0.1)
    assert all(torch.isfinite(t).all() for t in result.tensors.values())
    channels, _, *sides = architectures.latent_shape(model, *SIZE)
    y, sigma = torch.randn(1, channels, 3, *sides), torch.tensor([0.7])
    cond = fixed_batch(model, 1).cond
    with torch.inference_mode(False), torch.no_grad():
        ours, plain = (student_of(model, tensors).denoise(y, sigma, cond) for tensors in (result.tensors, {}))
    assert ours.shape == y.shape and not torch.allclose(ours, plain, atol=1e-2)
