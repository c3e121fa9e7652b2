"""Methods through /prompt: rewards from local files in one graph, runs on disk, LCF on own pictures."""

from pathlib import Path

import torch
from fewstep.tests.helpers.server_runs import QUICK, api, assert_is_a_picture, pictures
from PIL import Image
from transformers import CLIPConfig, CLIPModel


def test_feedback_from_a_local_clip_joins_a_run(client, host):
    """A random small CLIP: the reward's worth is another matter; that it is asked and followed is what counts."""
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    torch.manual_seed(0)
    vision = {**small, "image_size": 64, "patch_size": 16}
    config = CLIPConfig(text_config={**small, "vocab_size": 49408}, vision_config=vision, projection_dim=16)
    CLIPModel(config).save_pretrained(host.workdir / "models" / "fewstep_rewards" / "small", safe_serialization=True)
    workflow = api("distil_swiftbrush", node_5={**QUICK, "run_name": "with-feedback", "method": ["21", 0]})
    workflow["20"] = {"class_type": "FewStepRewardCLIP", "inputs": {"clip_folder": "small"}}
    settings = {"weight": 0.1, "alpha": 1.0, "fade_steps": 0, "timesteps": "999"}
    workflow["21"] = {
        "class_type": "FewStepMethodFeedback",
        "inputs": {"method": ["4", 0], "reward": ["20", 0], **settings},
    }
    made = pictures(client, workflow)
    for picture in made["fewstep_distil_swiftbrush"]:
        assert_is_a_picture(picture)
    metrics = (host.workdir / "output" / "fewstep_runs" / "with-feedback" / "metrics.jsonl").read_text()
    assert metrics.count('"reward"') == QUICK["steps"]

    runs = {
        "1": {"class_type": "FewStepRuns", "inputs": {"run": "with-feedback"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 2], "filename_prefix": "fewstep_runs"}},
    }
    assert pictures(client, runs)["fewstep_runs"]


def test_pairs_make_a_student_below_the_top_that_auto_samples_there(client, host):
    """One step at t = 399 from unit noise, by what the MODEL carries; distribution matching goes on from its LoRA."""
    workflow = api("distil_dmd", node_3={"count": 16}, node_5={**QUICK, "run_name": "pairs"}, node_9={"steps": 1})
    workflow["4"] = {"class_type": "FewStepMethodPairs", "inputs": {"timestep": 399}}
    for picture in pictures(client, workflow)["fewstep_distil_dmd"]:
        assert_is_a_picture(picture)
    start = {"start_lora": str(Path("fewstep") / "pairs.safetensors"), "run_name": "after-pairs"}
    again = api("distil_dmd", node_3={"count": 16}, node_5={**QUICK, **start}, node_9={"steps": 1})
    again["4"]["inputs"] |= {"timesteps": "399", "regression_weight": 0.5}
    for picture in pictures(client, again)["fewstep_distil_dmd"]:
        assert_is_a_picture(picture)
    metrics = (host.workdir / "output" / "fewstep_runs" / "after-pairs" / "metrics.jsonl").read_text()
    assert '"regression"' in metrics and '"critic"' in metrics


def test_scm_alone_and_added_to_dmd_makes_a_student(client, host):
    """rCM's form: sCM + DMD in one run, both of its turns' numbers in the metrics."""
    workflow = api("distil_lcm_lora", node_3={"count": 16}, node_5={**QUICK, "run_name": "scm"})
    workflow["4"] = {"class_type": "FewStepMethodSCM", "inputs": {"guidance": 2.0}}
    for picture in pictures(client, workflow)["fewstep_student"]:
        assert_is_a_picture(picture)
    workflow["5"]["inputs"] |= {"run_name": "rcm", "method": ["32", 0]}
    workflow["31"] = {"class_type": "FewStepMethodDMD", "inputs": {"student_every": 1}}
    workflow["32"] = {
        "class_type": "FewStepMethodSum",
        "inputs": {"first": ["4", 0], "second": ["31", 0], "weight": 0.1},
    }
    pictures(client, workflow)
    metrics = (host.workdir / "output" / "fewstep_runs" / "rcm" / "metrics.jsonl").read_text()
    assert '"tangent"' in metrics and '"critic"' in metrics


def test_tdm_trains_for_several_numbers_of_steps(client, host):
    """The student is asked at its own lists, by what the MODEL carries, in one step and in two."""
    workflow = api("distil_tdm", node_3={"count": 16}, node_5={**QUICK, "run_name": "tdm"}, node_9={"steps": 2})
    workflow["4"]["inputs"]["steps"] = "1, 2"
    for steps in (2, 1):
        workflow["9"]["inputs"]["steps"] = steps
        for picture in pictures(client, workflow)["fewstep_distil_tdm"]:
            assert_is_a_picture(picture)
    metrics = (host.workdir / "output" / "fewstep_runs" / "tdm" / "metrics.jsonl").read_text()
    assert '"critic"' in metrics and '"score"' in metrics


def test_lcf_learns_own_pictures(client, host):
    folder = host.workdir / "input" / "own"
    folder.mkdir(parents=True, exist_ok=True)
    for name, colour in (("red_apple", "red"), ("blue_car", "blue"), ("green_leaf", "green")):
        Image.new("RGB", (120, 100), colour).save(folder / f"{name}.png")
    method = {"skip": 200, "grid": 50, "loss": "huber", "huber_c": 0.1, "target": "student", "boundary": True}
    start = {"start_lora": "fewstep-tiny-sd-lcm-lora.safetensors", "run_name": "lcf", "learning_rate": 1e-5}
    workflow = api("distil_lcm_lora", node_3={"folder": "own"}, node_5={**QUICK, **start})
    workflow["4"] = {"class_type": "FewStepMethodLCF", "inputs": method}
    for picture in pictures(client, workflow)["fewstep_student"]:
        assert_is_a_picture(picture)


def test_a_style_teacher_gives_one_lora_that_the_stock_loader_puts_on_the_plain_base(client, host):
    """The student's pictures are cyanotypes without the style's file; LoraLoader draws the same ones."""
    workflow = api("distil_style_teacher", node_3={"count": 16}, node_5={**QUICK, "run_name": "stock-cyanotype"})
    made = pictures(client, workflow)
    for picture in (*made["fewstep_style_teacher"], *made["fewstep_style_student"]):
        assert_is_a_picture(picture)
        assert picture[..., 2].mean() > picture[..., 0].mean() + 0.05  # bluer than red, of a red apple
    workflow["40"] = {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"model": ["1", 0], "lora_name": str(Path("fewstep") / "stock-cyanotype.safetensors")},
    }
    workflow["40"]["inputs"]["strength_model"] = 1.0
    workflow["13"]["inputs"]["model"] = ["40", 0]
    again = pictures(client, workflow)["fewstep_style_student"]
    assert max(abs(a - b).max() for a, b in zip(again, made["fewstep_style_student"])) <= 1 / 255
