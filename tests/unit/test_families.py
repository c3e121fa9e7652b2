"""Flow families: exact sigmas from the row, found by the files' published names, chosen by hand."""

import json

import pytest
from fewstep.weights import families
from fewstep.weights.families import flow, models, settings

FLOW = [
    ("Wan2.2-Lightning_T2V-A14B-4steps-lora_HIGH_fp16.safetensors", "4", [1, 0.9375, 0.83333]),
    ("wan2.2_t2v_A14b_low_noise_lora_rank64_lightx2v_4step_1217.safetensors", "4", [0.83333, 0.625, 0]),
    ("wan2.1_t2v_14b_lora_rank64_lightx2v_4step.safetensors", "4", [1, 0.9375, 0.83333, 0.625, 0]),
    ("Qwen-Image-Lightning-4steps-V1.0.safetensors", "4", [1, 0.9, 0.75, 0.5, 0]),
    ("ltx-2-19b-distilled-lora-384.safetensors", "8", flow.LTX2),
    ("ltxv-13b-0.9.7-distilled-lora128.safetensors", "7", flow.LTX_FIRST),
]
OTHERS = [
    ("Hyper-SD3-8steps-CFG-lora.safetensors", "Hyper-SD3", 8, 5.0, 0.125),
    ("Hyper-FLUX.1-dev-16steps-lora.safetensors", "Hyper-FLUX", 16, 1.0, 0.125),
    ("FLUX.1-Turbo-Alpha.safetensors", "FLUX.1 Turbo Alpha", 8, 1.0, 1.0),
    ("lora_sd3.5m_turbo_8steps.safetensors", "SD3.5 turbo", 8, 1.0, 1.0),
    ("sd_xl_turbo_lora_v1.safetensors", "SDXL-Turbo", 1, 1.0, 1.0),
    ("swiftbrush-v2.safetensors", "SwiftBrush", 1, 1.0, 1.0),
]


@pytest.mark.parametrize("name, steps, sigmas", FLOW)
def test_flow_files_bring_their_exact_sigmas(name, steps, sigmas):
    found = families.from_name(name)
    assert found.sigmas[steps] == pytest.approx(sigmas, abs=1e-4) and found.source


@pytest.mark.parametrize("name, family, steps, cfg, strength", OTHERS)
def test_other_published_names(name, family, steps, cfg, strength):
    found = families.from_name(name)
    assert (found.family, found.best_steps, found.cfg, found.strength) == (family, steps, cfg, strength)


def test_the_wan_authors_eight_steps_are_even_steps_at_shift_5():
    """Timesteps given in ModelTC/Wan2.2-Lightning, issue 3."""
    given = [1000.0, 972.2224, 937.5001, 892.8571, 833.3333, 750.0001, 625.0, 416.6667, 0.0]
    assert [1000 * sigma for sigma in settings.shifted(8, 5.0)] == pytest.approx(given, abs=1e-3)


CHOSEN = [(families, row) for row in families.ROWS] + [(models, row) for row in models.whole_flow.ROWS]


@pytest.mark.parametrize("module, row", CHOSEN, ids=lambda value: getattr(value, "family", ""))
def test_every_family_can_be_chosen_and_says_its_source(module, row):
    found = module.named(row.family, 4)
    assert found.family == row.family and " read" in found.source  # what was read, or what was not
    for points in found.sigmas.values():
        assert all(a > b for a, b in zip(points, points[1:]))
    assert found.sampler in settings.SAMPLERS + settings.HOST_SAMPLERS
    assert found.schedule in settings.SCHEDULES + settings.HOST_SCHEDULES


def test_settings_survive_a_file_and_an_older_version():
    """A row without newer fields is written as the older version wrote it; one with them comes back whole."""
    plain, full = families.named("LCM-LoRA", 4), families.from_name("ltx-2.3-22b-distilled-lora-384.safetensors")
    assert not set(families.as_dict(plain)) & set(settings.ADDED)
    for found in (plain, full):
        metadata = {families.METADATA_KEY: json.dumps({"sampling": families.as_dict(found)})}
        assert families.from_metadata(metadata) == found


@pytest.mark.parametrize(
    "name, family",
    [
        ("qwen_image_2.1_turbo_lora_avg_rank_178_bf16.safetensors", "Qwen-Image 2.1 Turbo"),
        ("fibo_2.0_turbo_lora_avg_rank_270_bf16.safetensors", "FIBO 2 edit turbo"),
        ("pixel_art_style_z_image_turbo.safetensors", None),
        ("flux-2-klein-base-9b-style.safetensors", None),
    ],
)
def test_a_turbo_model_as_a_lora_has_the_models_settings_and_a_style_for_it_none(name, family):
    found = families.from_name(name)
    assert (found.family if found else None) == family


N_STEP = [(families, row) for row in families.ROWS if row.counts]
N_STEP += [(models, row) for row in models.ROWS if row.counts]


@pytest.mark.parametrize("module, row", N_STEP, ids=lambda value: getattr(value, "family", ""))
def test_an_n_step_family_chosen_by_hand_warns_of_other_steps(module, row):
    """N is the name's; without one the nearest published, said in a note. It is never simply what the user asked."""
    for count in row.counts:
        made = module.named(row.family, 5, f"my_file_{count}steps.safetensors")
        assert made.steps == (count, count)
        said = families.advice(made, 5, made.strength, "")
        assert any(f"was made for {count} steps, not 5" in sentence for sentence in said)
    guessed = module.named(row.family, 5, "my_file.safetensors")
    assert guessed.best_steps in row.counts
    said = "\n".join(families.advice(guessed, 5, guessed.strength, ""))
    assert "steps, not 5" in said and f"is published for {', '.join(map(str, row.counts))} steps" in said


def test_a_family_for_any_number_of_steps_takes_no_number_from_the_name():
    assert families.named("LCM-LoRA", 4, "some_2step_thing.safetensors") == families.named("LCM-LoRA", 4)
