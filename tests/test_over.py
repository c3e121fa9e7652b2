"""A MODEL with the user's own LoRAs as a teacher: the student beside them, or task and speed as one LoRA."""

import pytest
import torch
from safetensors.torch import load_file
from test_in_host import PROMPTS, bits, denoised, short_lora, tiny  # noqa: F401 (a fixture)

STYLE = "fewstep-tiny-sd-style-cyanotype.safetensors"


@pytest.fixture(scope="module")
def styled(tiny):  # noqa: F811
    """The tiny base with the style at strength 0.8."""
    from fewstep.host import loras

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


def test_one_lora_over_the_plain_base_is_the_student_over_the_patched_model(runs, tiny, styled):  # noqa: F811
    """As latents of the host's own sampling, from the file; the wired MODEL keeps its LoRA and every bit."""
    from fewstep.host import loras

    beside, within, folder = runs
    student = loras.apply(styled[0], None, beside.tensors, 1.0)[0]
    whole = loras.apply(tiny[0], None, load_file(folder / "loras" / within.name), 1.0)[0]
    assert torch.allclose(drawn(student, tiny[1]), drawn(whole, tiny[1]), atol=1e-4)
    assert not torch.allclose(drawn(student, tiny[1]), drawn(styled[0], tiny[1]), atol=1e-2)
    assert not torch.allclose(drawn(whole, tiny[1]), drawn(tiny[0], tiny[1]), atol=1e-1)
    ranks = {key.split(".")[0]: len(t) for key, t in within.tensors.items() if key.endswith("lora_down.weight")}
    assert all(rank == (4 + 4 if "attn" in name else 4) for name, rank in ranks.items())
    assert not loras.match(tiny[0], None, within.tensors).unmatched and styled[0].patches


def test_the_models_output_carries_the_product_in_place_of_the_loras(runs, tiny, styled):  # noqa: F811
    from fewstep.host import distil, products
    from fewstep.training.config import TrainConfig

    beside, within, _ = runs

    def model(run, lora_over):
        job = distil.Job(*styled, None, None, TrainConfig(lora_over=lora_over), "short", [])
        return products.student_model(job, run.tensors)

    made, student = model(within, "plain base"), model(beside, "patched model")
    assert all(len(patches) == 1 for patches in made.patches.values())
    assert torch.allclose(drawn(made, tiny[1]), drawn(student, tiny[1]), atol=1e-4)


def test_other_kinds_of_patches_are_refused_by_name(tiny, styled, tmp_path):  # noqa: F811
    """A difference of a whole weight, as merges leave it; and a DoRA."""
    from fewstep.host import loras

    key = next(iter(styled[0].patches))
    merged = styled[0].clone()
    merged.add_patches({key: (torch.zeros_like(tiny[0].model.state_dict()[key]),)}, 1.0, 1.0)
    with pytest.raises(ValueError, match=f"FewStepDistill: {key} carries a patch of kind 'diff'.*patched model"):
        short_lora((merged, *tiny[1:]), tmp_path, lora_over="plain base")
    assert not list(tmp_path.rglob("latents-*"))
    tensors = loras.read(STYLE, "test")[0]
    name = next(key for key in tensors if key.endswith("lora_up.weight")).removesuffix(".lora_up.weight")
    dora = loras.apply(tiny[0], None, {**tensors, f"{name}.dora_scale": torch.ones(64)}, 1.0)[0]
    with pytest.raises(ValueError, match="is no plain LoRA of the U-Net"):
        short_lora((dora, *tiny[1:]), tmp_path, lora_over="plain base")


def test_a_lora_that_holds_the_task_is_no_start_on_the_task(runs, styled):  # noqa: F811
    from fewstep.host import distil, over
    from fewstep.training.config import TrainConfig
    from safetensors import safe_open

    with safe_open(runs[2] / "loras" / runs[1].name, "pt") as file:
        metadata = file.metadata()
    job = distil.Job(*styled, None, None, TrainConfig(), "again", [])
    with pytest.raises(ValueError, match='"mine.safetensors" is over the plain base and holds its task already'):
        over.check_start(job, metadata, "mine.safetensors")
    over.check_start(job, {}, "speed.safetensors")


def test_another_style_of_the_same_form_is_another_teacher(tiny, styled):  # noqa: F811
    from fewstep.host import loras, models

    tensors = loras.read(STYLE, "test")[0]
    other = {key: -tensor if key.endswith("lora_up.weight") else tensor for key, tensor in tensors.items()}
    prints = [models.fingerprint(loras.apply(tiny[0], None, t, 0.8)[0]) for t in (tensors, other)]
    assert prints[0] == models.fingerprint(styled[0]) != prints[1] and models.fingerprint(tiny[0]) not in prints
