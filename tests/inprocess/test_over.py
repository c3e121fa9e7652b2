"""A MODEL with the user's own LoRAs as a teacher: the student beside them, or task and speed as one LoRA."""

from dataclasses import replace

import pytest
import torch
from fewstep.tests.helpers.in_process import PROMPTS, short_lora
from safetensors.torch import load_file

STYLE = "fewstep-tiny-sd-style-cyanotype.safetensors"


@pytest.fixture(scope="module")
def styled(tiny):
    """The tiny base with the style at strength 0.8."""
    from fewstep.host.loading import loras

    model, clip, vae = tiny
    return loras.apply(model, None, loras.read(STYLE, "test")[0], 0.8)[0], clip, vae


def drawn(model, clip) -> torch.Tensor:
    """Latents of four LCM-like steps of the host from one noise."""
    from fewstep.host import conditioning, sampling

    text = sampling.conditioning([conditioning.encode_text(clip, PROMPTS[0])])
    noise = sampling.unit_noise((4, 12, 12), 5, [0])
    return sampling.sample_latents(model, text, text, noise, steps=4, cfg=1.0)


@pytest.fixture(scope="module")
def runs(styled, tmp_path_factory):
    """Two runs of one kind on the styled teacher: the speed LoRA, and the LoRA that holds the style too."""
    folder, few = tmp_path_factory.mktemp("over"), {"steps": 2, "prompts": PROMPTS[:1], "layers": "attention"}
    beside = short_lora(styled, folder / "beside", **few)
    return beside, short_lora(styled, folder, lora_over="plain base", **few), folder


def test_one_lora_over_the_plain_base_is_the_student_over_the_patched_model(runs, tiny, styled):
    """As latents of the host's own sampling, from the file; the wired MODEL keeps its LoRA and every bit."""
    from fewstep.host.loading import loras

    beside, within, folder = runs
    student = loras.apply(styled[0], None, beside.tensors, 1.0)[0]
    whole = loras.apply(tiny[0], None, load_file(folder / "loras" / within.name), 1.0)[0]
    assert torch.allclose(drawn(student, tiny[1]), drawn(whole, tiny[1]), atol=1e-4)
    assert not torch.allclose(drawn(student, tiny[1]), drawn(styled[0], tiny[1]), atol=1e-2)
    assert not torch.allclose(drawn(whole, tiny[1]), drawn(tiny[0], tiny[1]), atol=1e-1)
    ranks = {key.split(".")[0]: len(t) for key, t in within.tensors.items() if key.endswith("lora_down.weight")}
    assert all(rank == (4 + 4 if "attn" in name else 4) for name, rank in ranks.items())
    assert not loras.match(tiny[0], None, within.tensors).unmatched and styled[0].patches


def test_the_models_output_carries_the_product_in_place_of_the_loras(runs, tiny, styled):
    from fewstep.host.training import export
    from fewstep.host.training.job import Job
    from fewstep.training.config import TrainConfig

    beside, within, _ = runs

    def model(run, lora_over):
        job = Job(*styled, None, None, TrainConfig(lora_over=lora_over), "short", [])
        return export.student_model(job, run.tensors)

    made, student = model(within, "plain base"), model(beside, "patched model")
    assert all(len(patches) == 1 for patches in made.patches.values())
    assert torch.allclose(drawn(made, tiny[1]), drawn(student, tiny[1]), atol=1e-4)


def test_other_kinds_of_patches_are_refused_by_name(tiny, styled, tmp_path):
    """A difference of a whole weight, as merges leave it; and a DoRA."""
    from fewstep.host.loading import loras

    key = next(iter(styled[0].patches))
    merged = styled[0].clone()
    merged.add_patches({key: (torch.zeros_like(tiny[0].model.state_dict()[key]),)}, 1.0, 1.0)
    with pytest.raises(ValueError, match=f"FewStepDistill: {key} carries a patch of kind 'diff'.*SVD.*patched model"):
        short_lora((merged, *tiny[1:]), tmp_path, lora_over="plain base")
    assert not list(tmp_path.rglob("latents-*"))
    tensors = loras.read(STYLE, "test")[0]
    name = next(key for key in tensors if key.endswith("lora_up.weight")).removesuffix(".lora_up.weight")
    dora = loras.apply(tiny[0], None, {**tensors, f"{name}.dora_scale": torch.ones(64)}, 1.0)[0]
    with pytest.raises(ValueError, match="is no plain LoRA of the U-Net"):
        short_lora((dora, *tiny[1:]), tmp_path, lora_over="plain base")


ATTENTION = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
BIAS = "diffusion_model.out.2.bias"


@pytest.fixture(scope="module")
def merged(tiny, styled):
    """The styled MODEL with differences as merges leave them: of rank 3, and of a bias, which no LoRA holds."""
    generator, weights = torch.Generator().manual_seed(0), tiny[0].model.state_dict()
    out, inside = weights[ATTENTION].shape
    weight = torch.randn(out, 3, generator=generator) @ torch.randn(3, inside, generator=generator) * 0.05
    bias = torch.full_like(weights[BIAS], 0.02, dtype=torch.float32)
    model = styled[0].clone()
    model.add_patches({ATTENTION: (weight,), BIAS: (bias,)}, 1.0, 1.0)
    return (model, *styled[1:]), bias


def test_what_is_no_lora_goes_in_by_svd_when_that_is_asked_for(merged, tiny, tmp_path):
    """The report's error is what is really missing at a rank that holds all else: the bias, of all that changes."""
    from fewstep.host import model_copy
    from fewstep.host.loading import loras
    from fewstep.nodes import report
    from fewstep.training.config import TrainConfig
    from fewstep.training.methods import lcm
    from fewstep.training.options import ConsistencyOptions

    (model, clip, vae), bias = merged
    few = {"steps": 2, "prompts": PROMPTS[:1], "layers": "attention", "rank": 8}
    result = short_lora((model, clip, vae), tmp_path, **few, lora_over="plain base by SVD")
    plain = {name: tensor.detach().double() for name, tensor in tiny[0].model.diffusion_model.named_parameters()}
    changes = [tensor.detach() - plain[name] for name, tensor in model_copy.TrainingCopy(model).net.named_parameters()]
    whole, lost = float(sum(tensor.square().sum() for tensor in changes)), float(bias.square().sum())
    assert result.error == pytest.approx((lost / whole) ** 0.5, rel=1e-2) and 0 < result.error < 0.1
    assert f"relative error of {result.error:.3g}" in report.summary(result, lcm(ConsistencyOptions()), TrainConfig())

    file = load_file(tmp_path / "loras" / result.name)
    student = loras.apply(tiny[0], None, file, 1.0)[0]
    student.add_patches({BIAS: (bias,)}, 1.0, 1.0)  # with what is missing it is the student on the merged MODEL
    plain = loras.apply(tiny[0], None, file, 1.0)[0]
    speed = short_lora((model, clip, vae), tmp_path / "beside", **few)
    wanted = drawn(loras.apply(model, None, speed.tensors, 1.0)[0], clip)
    assert torch.allclose(drawn(student, clip), wanted, atol=1e-3)
    assert not torch.allclose(drawn(plain, clip), wanted, atol=1e-3)


def test_two_merged_models_are_near_at_a_high_rank(tiny):
    """The host's own merge changes every weight: the error falls with the rank, and what no LoRA holds stays."""
    from fewstep.host.training import patches

    generator, other = torch.Generator().manual_seed(0), tiny[0].clone()
    weights = {k: v for k, v in tiny[0].model.state_dict().items() if k.startswith("diffusion_model.")}
    changed = {k: (0.1 * v.float().std() * torch.randn(v.shape, generator=generator),) for k, v in weights.items()}
    other.add_patches(changed, 1.0, 1.0)
    merged = tiny[0].clone()
    for key, weight in other.get_key_patches("diffusion_model.").items():
        merged.add_patches({key: weight}, 0.5, 0.5)
    errors = [patches.task(merged, rank)[1] for rank in (4, 32, 4096)]
    assert 1 > errors[0] > errors[1] > errors[2] > 0 and errors[2] < 0.2


def test_a_lora_that_holds_the_task_is_no_start_on_the_task(runs, styled):
    from fewstep.host.training import patches
    from fewstep.host.training.job import Job
    from fewstep.training.config import TrainConfig
    from safetensors import safe_open

    with safe_open(runs[2] / "loras" / runs[1].name, "pt") as file:
        metadata = file.metadata()
    job = Job(*styled, None, None, TrainConfig(), "again", [], "mine.safetensors")
    with pytest.raises(ValueError, match='"mine.safetensors" is over the plain base and holds its task already'):
        patches.check_start(job, metadata)
    patches.check_start(replace(job, start="speed.safetensors"), {})


def test_another_style_of_the_same_form_is_another_teacher(tiny, styled):
    from fewstep.host import fingerprints
    from fewstep.host.loading import loras

    tensors = loras.read(STYLE, "test")[0]
    other = {key: -tensor if key.endswith("lora_up.weight") else tensor for key, tensor in tensors.items()}
    prints = [fingerprints.of_model(loras.apply(tiny[0], None, t, 0.8)[0]) for t in (tensors, other)]
    assert prints[0] == fingerprints.of_model(styled[0]) != prints[1] and fingerprints.of_model(tiny[0]) not in prints
