"""Full-weight students inside the embedded host: exact products, exact resuming, and what they may start from."""

import pytest
import torch
from fewstep.tests.helpers.full_runs import LCM, OTHERS, drawn, run, weights
from fewstep.tests.helpers.full_runs import run as trained
from fewstep.tests.helpers.in_process import PROMPTS, bits
from fewstep.tests.helpers.lora_runs import METHODS
from fewstep.tests.helpers.small_models import random_sdxl
from fewstep.training import methods
from fewstep.training.options import ConsistencyOptions


@pytest.mark.parametrize("name", [*OTHERS, *METHODS])
def test_every_method_trains_every_weight_and_leaves_the_wire_alone(name, tiny, tmp_path):
    before = bits(tiny[0])
    result, _ = run(tiny, tmp_path, {**OTHERS, **METHODS}[name](), prompts=PROMPTS[: name in OTHERS])
    assert all(torch.equal(tensor, before[key]) for key, tensor in bits(tiny[0]).items())
    moved = [k for k, t in result.tensors.items() if not torch.equal(t, before.get(f"diffusion_model.{k}", t * 0))]
    assert len(moved) > 0.9 * len(result.tensors) and all(torch.isfinite(t).all() for t in result.tensors.values())


def same(ours: dict, theirs: dict, **near) -> bool:
    """The same weights, but for a guidance projection."""
    return all(torch.allclose(t, theirs[k].to(t), **near) for k, t in ours.items() if "cond_proj" not in k)


@pytest.fixture
def loaded(monkeypatch):
    """The outputs of FewStepLoadModel on a run's file."""
    pytest.importorskip("comfy.model_sampling")
    from fewstep.host.loading import models
    from fewstep.nodes.load_model import FewStepLoadModel

    def load(folder, guidance=8.0, steps=4):
        path = folder / "networks" / "fewstep" / "full.safetensors"
        monkeypatch.setattr(models, "find", lambda _: str(path))
        with torch.inference_mode():
            return FewStepLoadModel().load("full.safetensors", steps, 1.0, guidance, "auto", False)["result"]

    return load


def test_the_file_and_the_returned_model_draw_the_same_latents(tiny, tmp_path, loaded):
    """With LCM's guidance embedding, at the guidance that the returned MODEL was given, and not at another."""
    from fewstep.host.training import export

    result, job = run(tiny, tmp_path, OTHERS["embedded"](), learning_rate=1e-3, steps=3)
    assert result.tensors["time_embedding.cond_proj.weight"].abs().sum() > 0 and job.guidance == 2
    with torch.inference_mode():
        student = export.student_model(job, result.tensors)
    model, clip, vae, sampler, sigmas, cfg, text = loaded(tmp_path, guidance=2.0)
    assert clip is None and vae is None and cfg == 1 and "sampler lcm" in text and "learnt guidance 2 to 6" in text
    ours = drawn(student, tiny[1], sampler, sigmas)
    assert torch.allclose(ours, drawn(model, tiny[1], sampler, sigmas), atol=1e-3)
    assert not torch.allclose(ours, drawn(tiny[0], tiny[1], sampler, sigmas), atol=1e-2)
    louder = loaded(tmp_path, guidance=6.0)[0]
    assert not torch.allclose(ours, drawn(louder, tiny[1], sampler, sigmas), atol=1e-3)
    assert same(weights(student), result.tensors, atol=0, rtol=0) and same(
        weights(model), result.tensors, atol=0, rtol=0
    )


def test_the_student_hears_in_training_what_the_loaded_file_hears(tiny, tmp_path, loaded):
    """x0 of the trained network with w in its cond = x0 of the loaded MODEL at guidance w + 1."""
    from fewstep.host import conditioning, model_copy
    from fewstep.host.training import roles
    from fewstep.training.state import RunFolder

    run(tiny, tmp_path, OTHERS["embedded"](), learning_rate=1e-3, steps=2, ema_decay=0.0)
    _, tensors = RunFolder(tmp_path / "output" / "fewstep_runs" / "full").load()
    copy = model_copy.TrainingCopy(tiny[0])
    told = roles.embed_guidance(copy.net, "time_embed.0", copy.denoise, 1.0, None)
    with torch.inference_mode(False), torch.no_grad():
        for name, parameter in copy.net.named_parameters():
            parameter.copy_(tensors[f"role.student.{name}"])
        cond = conditioning.encode_prompts(*tiny[:2], PROMPTS[:1], 96, 96)[0]
        y, sigma = torch.randn((1, 4, 12, 12), generator=torch.Generator().manual_seed(0)) * 3, torch.tensor([3.0])
        for w in (1.0, 4.0):
            theirs = model_copy.TrainingCopy(loaded(tmp_path, guidance=w + 1)[0]).denoise(y, sigma, cond)
            assert torch.allclose(told(y, sigma, {**cond, "w": torch.tensor([w])}), theirs, atol=1e-5)
        assert torch.equal(told(y, sigma, cond), told(y, sigma, {**cond, "w": torch.tensor([1.0])}))


def test_a_loaded_student_does_not_hide_the_teacher(tiny, tmp_path):
    """The host patches weights in place: while a student is loaded, the teacher is still known, and the run goes on."""
    from comfy import model_management
    from fewstep.host import fingerprints
    from fewstep.host.training import export

    result, job = run(tiny, tmp_path, OTHERS["LCM"]())
    known = fingerprints.of_model(tiny[0])
    with torch.inference_mode():
        model_management.load_models_gpu([export.student_model(job, result.tensors)])
        moved = tiny[0].model.diffusion_model.out[2].weight
        assert torch.equal(moved, result.tensors["out.2.weight"]) and fingerprints.of_model(tiny[0]) == known
    run(tiny, tmp_path, OTHERS["LCM"](), steps=3)


@pytest.mark.parametrize("name, train", [("embedded", "full"), ("DMD", "full and critic")])
def test_a_cancelled_run_is_saved_and_goes_on_as_if_it_had_not_stopped(name, train, tiny, tmp_path, monkeypatch):
    """The host's own cancel, pressed before the second micro-batch of step 3: half a step leaves no trace."""
    from comfy import model_management
    from fewstep.host.training import run
    from fewstep.training.state import RunFolder

    make, settings = {**OTHERS, **METHODS}[name], {"steps": 4, "train": train, "accumulate": 2}
    whole, _ = trained(tiny, tmp_path / "whole", make(), **settings)
    folder, asked = RunFolder(tmp_path / "cut" / "output" / "fewstep_runs" / "full"), []
    real = run.throw_if_cancelled

    def press_in_step_3():
        asked.append(len(folder.metrics()))
        if asked.count(2) == 2:
            model_management.interrupt_current_processing()
        real()

    monkeypatch.setattr(run, "throw_if_cancelled", press_in_step_3)
    with pytest.raises(BaseException) as stopped:
        trained(tiny, tmp_path / "cut", make(), **settings)
    assert type(stopped.value).__name__ == "InterruptProcessingException"
    assert asked.count(2) == 2 and [file.name for file in folder.states()] == ["state-2.safetensors"]
    assert not list((tmp_path / "cut").glob("networks/*/*"))
    monkeypatch.undo()
    again, _ = trained(tiny, tmp_path / "cut", make(), **settings)
    assert all(torch.equal(tensor, again.tensors[key]) for key, tensor in whole.tensors.items())
    assert [record["step"] for record in folder.metrics()] == [1, 2, 3, 4]


def test_checkpointing_and_lower_precision_train(tiny, tmp_path):
    plain, _ = run(tiny, tmp_path / "plain", OTHERS["LCM"]())
    again, _ = run(tiny, tmp_path / "again", OTHERS["LCM"](), gradient_checkpointing=True)
    assert same(plain.tensors, again.tensors, atol=1e-5)
    half, _ = run(tiny, tmp_path / "half", OTHERS["LCM"](), precision="bf16")
    assert all(torch.isfinite(t).all() and t.dtype == torch.float32 for t in half.tensors.values())


def test_the_best_weights_are_kept(tiny, tmp_path):
    options = {"save_every": 1, "keep": "best", "learning_rate": 0.01, "ema_decay": 0.0}
    ruined, _ = run(tiny, tmp_path, OTHERS["LCM"](), steps=3, **options)
    from fewstep.training.state import RunFolder

    best, step, _ = RunFolder(tmp_path / "output" / "fewstep_runs" / "full").load_best()
    assert step < 3 and all(torch.equal(tensor, best[key]) for key, tensor in ruined.tensors.items())


STILL = {"learning_rate": 1e-12, "steps": 1, "ema_decay": 0.0}


def test_a_start_lora_is_baked_into_the_student(tiny, tmp_path):
    from fewstep.host.loading import loras

    name = "fewstep-tiny-sd-lcm-lora.safetensors"
    patched = loras.apply(tiny[0], None, loras.read(name, "test")[0], 1.0)[0]
    result, _ = run(tiny, tmp_path, OTHERS["LCM"](), start=name, **STILL)
    assert same(weights(patched), result.tensors, atol=1e-6)
    assert not same(weights(tiny[0]), result.tensors, atol=1e-3)


def guided_start(model, guidance=6.0):
    """A MODEL as FewStepLoadModel gives an LCM: other weights than the base's, and a guidance embedding."""
    from fewstep.host.loading import models

    other = model.clone()
    other.add_patches({"diffusion_model.out.2.bias": (torch.full((4,), 0.1),)})
    projection = torch.randn(64, 256, generator=torch.Generator().manual_seed(1)) * 0.05
    with torch.inference_mode(False):
        return models.with_guidance(other, projection, guidance), projection


def test_a_start_model_with_a_guidance_embedding_goes_on_with_it(tiny, tmp_path):
    start, projection = guided_start(tiny[0])
    result, _ = run(tiny, tmp_path, OTHERS["embedded"](), start_model=start, **STILL)
    assert torch.allclose(result.tensors["time_embedding.cond_proj.weight"], projection, atol=1e-6)
    assert same(weights(start), result.tensors, atol=1e-6)


def test_without_an_embedding_of_its_own_the_student_keeps_the_starts_guidance(tiny, tmp_path):
    """LCF on a loaded LCM: its guidance goes into a bias, and the file needs no projection."""
    from fewstep.host.training import export
    from fewstep.tests.helpers.in_process import denoised

    start, _ = guided_start(tiny[0])
    result, job = run(tiny, tmp_path, methods.lcf(ConsistencyOptions(**LCM)), start_model=start, **STILL)
    assert not [key for key in result.tensors if "cond_proj" in key]
    student = export.student_model(job, result.tensors)
    assert torch.allclose(denoised(student, tiny[1]), denoised(start, tiny[1]), atol=1e-4)
    unguided = guided_start(tiny[0], guidance=1.0)[0]
    assert not torch.allclose(denoised(start, tiny[1]), denoised(unguided, tiny[1]), atol=1e-2)


def test_a_guided_teachers_student_carries_the_guidance_once(tiny, tmp_path):
    """The wired MODEL has the embedding: the student's bias has it now, and the patch must not add it again."""
    from fewstep.host.training import export
    from fewstep.tests.helpers.in_process import denoised

    wired, _ = guided_start(tiny[0])
    result, job = run((wired, *tiny[1:]), tmp_path, OTHERS["LCM"](), **STILL)
    student = export.student_model(job, result.tensors)
    assert torch.allclose(denoised(student, tiny[1]), denoised(wired, tiny[1]), atol=1e-4)


def test_starts_that_do_not_fit_get_a_sentence(tiny, tmp_path):
    with pytest.raises(ValueError, match="start_model is for full-weight students"):
        run(tiny, tmp_path, OTHERS["LCM"](), start_model=tiny[0], train="lora")
    with pytest.raises(ValueError, match="no LoRA can carry the method's guidance_embedding"):
        run(tiny, tmp_path, OTHERS["embedded"](), train="lora")
    with pytest.raises(ValueError, match="FewStepDistill: the models are of different architectures"):
        run(tiny, tmp_path, OTHERS["LCM"](), start_model=random_sdxl())
    with pytest.raises(ValueError, match="predict different things"):
        run(tiny, tmp_path, OTHERS["LCM"](), start_model=patched(tiny[0], "v"))
    with pytest.raises(ValueError, match="was started with other settings: .*train"):
        run(tiny, tmp_path, OTHERS["LCM"](), steps=1)
        run(tiny, tmp_path, OTHERS["LCM"](), steps=1, train="lora")
    assert not list(tmp_path.rglob("networks/*/*.tmp"))


def patched(model, kind: str):
    """The MODEL with another meaning of its output: v prediction, or a flow model's."""
    from comfy import model_sampling

    bases = {
        "v": (model_sampling.ModelSamplingDiscrete, model_sampling.V_PREDICTION),
        "flow": (model_sampling.ModelSamplingDiscreteFlow, model_sampling.CONST),
    }
    other = model.clone()
    with torch.inference_mode(False):
        sampling = type("Sampling", bases[kind], {})(model.model.model_config)
    other.add_object_patch("model_sampling", sampling)
    return other


@pytest.mark.parametrize("train", ["full", "lora"])
@pytest.mark.parametrize("name", ["LCM", "DMD"])
@pytest.mark.parametrize("kind", ["v", "flow"])
def test_v_and_flow_models_are_taught_by_the_same_terms(kind, name, train, tiny, tmp_path):
    wired = (patched(tiny[0], kind), *tiny[1:])
    result, job = run(wired, tmp_path, {**OTHERS, **METHODS}[name](), train=train)
    assert all(torch.isfinite(t).all() for t in result.tensors.values())
    assert all(r["student_gradient"] > 0 for r in result.metrics if "loss" in r)


def test_sdxl_is_taught_with_full_weights(tmp_path):
    from fewstep.tests.helpers.in_process import FakeText

    result, _ = run((random_sdxl(), FakeText(), None), tmp_path, OTHERS["embedded"]())
    assert "label_emb.0.0.weight" in result.tensors and "time_embedding.cond_proj.weight" in result.tensors
