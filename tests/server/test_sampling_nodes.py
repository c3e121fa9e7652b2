"""Guidance by step, two models, condition noise and the strength sheet, through /prompt of a real host."""

import numpy
import pytest
from fewstep.launcher.api import WorkflowError
from fewstep.tests.helpers.server_runs import api, pictures


def apart(a: list, b: list) -> float:
    """Mean absolute difference of two batches of pictures."""
    return float(numpy.mean([abs(x - y).mean() for x, y in zip(a, b)]))


def test_cfg_on_the_first_step_alone_is_heard_and_the_ksampler_does_the_same(client):
    workflow = api("cfg_by_step", node_8={"sampler": ["23", 0], "sigmas": ["24", 0]})
    schedule = {"model": ["2", 0], "scheduler": "lcm", "steps": 4, "denoise": 1.0, "original_steps": 50}
    workflow["23"] = {"class_type": "FewStepSampler", "inputs": {"sampler_name": "lcm", "eta": 0.3, "noise_seed": -1}}
    workflow["24"] = {"class_type": "FewStepSchedule", "inputs": {**schedule, "timesteps": "999"}}
    inputs = {"model": ["2", 0], "positive": ["3", 0], "negative": ["4", 0], "latent_image": ["5", 0], "seed": 1}
    inputs |= {"steps": 4, "cfg": 1.0, "sampler_name": "lcm", "eta": 0.3, "denoise": 1.0}
    workflow["20"] = {"class_type": "FewStepKSampler", "inputs": {**inputs, "cfg_by_step": "2.5, 1, 1, 1"}}
    workflow["21"] = {"class_type": "VAEDecode", "inputs": {"samples": ["20", 0], "vae": ["1", 2]}}
    workflow["22"] = {"class_type": "SaveImage", "inputs": {"images": ["21", 0], "filename_prefix": "ksampler"}}
    made = pictures(client, workflow)
    assert apart(made["fewstep_cfg_by_step"], made["fewstep_plain"]) > 0.01
    assert apart(made["fewstep_cfg_by_step"], made["ksampler"]) < 0.01


def test_both_ways_to_variety_change_the_images(client):
    made = pictures(client, api("more_variety"))
    for name in ("fewstep_base_first", "fewstep_condition_noise"):
        assert apart(made[name], made["fewstep_two_steps"]) > 0.01


def test_two_models_agree_with_the_stock_chain_and_hand_the_lora_back(client):
    """The first step guided and without the LoRA, by the preset and by two stock nodes with the sigmas split."""
    workflow = api("more_variety", node_9={"high_model": ["2", 0], "cfg": "1", "first_cfg": 2.5})
    workflow["9"]["inputs"]["first_step"] = "with first_cfg, without LoRA"
    split = {"sigmas": ["7", 0], "step": 1}
    common = {"positive": ["3", 0], "negative": ["4", 0], "sampler": ["8", 0], "noise_seed": 1}
    more = {
        "20": ("SplitSigmas", split),
        "21": ("SamplerCustom", {**common, "model": ["1", 0], "add_noise": True, "cfg": 2.5, "sigmas": ["20", 0]}),
        "22": ("SamplerCustom", {**common, "model": ["2", 0], "add_noise": False, "cfg": 1.0, "sigmas": ["20", 1]}),
        "23": ("VAEDecode", {"samples": ["22", 0], "vae": ["1", 2]}),
        "24": ("SaveImage", {"images": ["23", 0], "filename_prefix": "stock"}),
    }
    more["21"][1]["latent_image"], more["22"][1]["latent_image"] = ["5", 0], ["21", 0]
    workflow |= {key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in more.items()}
    made = pictures(client, workflow)
    assert apart(made["stock"], made["fewstep_base_first"]) < 0.01 < apart(made["stock"], made["fewstep_two_steps"])


def test_the_sheet_has_a_row_for_each_strength_and_a_column_for_each_number_of_steps(client):
    ((sheet,),) = pictures(client, api("strength_sheet", node_5={"strengths": "0.5, 1", "steps": "1, 2, 4"})).values()
    assert sheet.shape == (20 + 2 * 96, 110 + 3 * 96, 3)
    cells = [sheet[20 + r * 96 : 20 + r * 96 + 96, 110 + c * 96 : 206 + c * 96] for r in range(2) for c in range(3)]
    assert all(abs(a - b).mean() > 0.005 for i, a in enumerate(cells) for b in cells[:i])


@pytest.mark.parametrize(
    "name, node, changes, message",
    [
        ("cfg_by_step", "node_7", {"cfg": "3; 1"}, "FewStep CFG Schedule: cfg by step: expected .*got '3; 1'"),
        ("strength_sheet", "node_5", {"steps": "0, 4"}, "FewStep Strength Sheet: steps must lie in 1..50"),
        ("more_variety", "node_9", {"sigmas_low": ["2", 3]}, "FewStep Two-Model Sampler: sigmas_low must begin where"),
    ],
)
def test_what_makes_no_sense_is_said_by_the_node(name, node, changes, message, client):
    with pytest.raises(WorkflowError, match=message):
        client.run(api(name, **{node: changes}))
