"""Rewards through /prompt: pictures drawn by the tiny base, scored by random small networks in the models folder."""

import json
from pathlib import Path

import numpy
import pytest
import torch
from fewstep.launcher.api import WorkflowError
from fewstep.tests.helpers.server_runs import QUICK, SHORT, api, assert_is_a_picture, pictures
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

PROMPT = "red apple, 3d style"


@pytest.fixture(scope="module")
def files(host):
    """A CLIP folder and an aesthetic head, written before the graph asks for them."""
    folder = host.workdir / "models" / "fewstep_rewards"
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    torch.manual_seed(0)
    vision = {**small, "image_size": 64, "patch_size": 16}
    config = CLIPConfig(text_config={**small, "vocab_size": 49408}, vision_config=vision, projection_dim=16)
    CLIPModel(config).save_pretrained(folder / "scoring", safe_serialization=True)
    save_file({"weight": torch.randn(1, 16), "bias": torch.full((1,), 5.0)}, folder / "head.safetensors")
    return folder


def scoring(weight_a: float, weight_b: float) -> dict:
    """Four pictures of the tiny base, and what CLIP, the head and their sum give them: nodes 30, 31, 32."""
    workflow = api("text_to_image_4_steps")
    head = {"clip_folder": "scoring", "head": "head.safetensors"}
    both = {"reward_a": ["20", 0], "reward_b": ["21", 0], "weight_a": weight_a, "weight_b": weight_b}
    workflow["20"] = {"class_type": "FewStepRewardCLIP", "inputs": {"clip_folder": "scoring"}}
    workflow["21"] = {"class_type": "FewStepRewardAesthetic", "inputs": head}
    workflow["22"] = {"class_type": "FewStepRewardSum", "inputs": both}
    for node, reward in (("30", "20"), ("31", "21"), ("32", "22")):
        inputs = {"reward": [reward, 0], "images": ["7", 0], "prompt": PROMPT}
        workflow[node] = {"class_type": "FewStepScore", "inputs": inputs}
    return workflow


def test_pictures_are_scored_in_the_graph_and_a_sum_is_the_sum(client, files):
    done = client.submit(scoring(2.0, 0.5), timeout=300)
    shown = {node: done[node]["text"][0].splitlines() for node in ("30", "31", "32")}
    clip, head, both = (torch.tensor([float(line) for line in shown[node][1:]]) for node in ("30", "31", "32"))
    assert len(clip) == 4 and clip.abs().max() <= 1 and clip.std() > 0
    assert torch.allclose(2 * clip + 0.5 * head, both, atol=3e-4)
    assert shown["32"][0] == "2 x (CLIP similarity (scoring)) + 0.5 x (aesthetic score (head.safetensors))"


def test_a_sum_of_nothing_is_refused(client, files):
    with pytest.raises(WorkflowError, match="FewStep Reward Sum: both weights are 0"):
        client.submit(scoring(0.0, 0.0), timeout=300)


def test_masks_beside_the_pictures_join_a_run(client, host):
    """Mask R-CNN with random weights: that it is asked, and of which pictures, is what counts."""
    from fewstep.tests.helpers.mask_rcnn import resnet18_file

    folder, networks = host.workdir / "input" / "masked", host.workdir / "models" / "fewstep_rewards"
    folder.mkdir(parents=True, exist_ok=True)
    networks.mkdir(parents=True, exist_ok=True)
    file, _ = resnet18_file(networks, ".safetensors")
    for name in ("red_apple", "blue_car"):
        Image.new("RGB", (96, 96), name.split("_")[0]).save(folder / f"{name}.png")
    mask = numpy.zeros((96, 96), numpy.uint8)
    mask[20:60, 30:80] = 7
    Image.fromarray(mask).save(folder / "red_apple.mask.png")
    (folder / "red_apple.mask.txt").write_text("2")
    quick = {**QUICK, "run_name": "with-masks", "method": ["21", 0]}
    workflow = api("distil_lcm_lora", node_3={"folder": "masked"}, node_5=quick)
    workflow["20"] = {"class_type": "FewStepCriticMaskRCNN", "inputs": {"file": file, "min_size": 64}}
    settings = {"weight": 0.01, "timesteps": "499, 259"}
    inputs = {"method": ["4", 0], "critic": ["20", 0], **settings}
    workflow["21"] = {"class_type": "FewStepMethodPerception", "inputs": inputs}
    for picture in pictures(client, workflow)["fewstep_student"]:
        assert_is_a_picture(picture)
    metrics = (host.workdir / "output" / "fewstep_runs" / "with-masks" / "metrics.jsonl").read_text()
    assert metrics.count('"perception"') == QUICK["steps"]


def test_one_graph_goes_from_tscd_over_dmd_and_feedback_to_a_merge(client, host, files):
    """distil_chain on every host: its reward out of packages is replaced by a random small CLIP from local files."""
    clip = {"class_type": "FewStepRewardCLIP", "inputs": {"clip_folder": "scoring"}}
    workflow = api("distil_chain", **SHORT["distil_chain"]) | {"18": clip}
    workflow["20"]["inputs"]["run_name"] = "chain-clip"
    for picture in pictures(client, workflow)["fewstep_chain"]:
        assert_is_a_picture(picture)
    runs = host.workdir / "output" / "fewstep_runs"
    assert '"reward"' in (runs / "chain-clip" / "metrics.jsonl").read_text()
    assert '"reward"' not in (runs / "chain-dmd" / "metrics.jsonl").read_text()
    starts = [json.loads((runs / name / "config.json").read_text())["start"] for name in ("chain-dmd", "chain-clip")]
    assert [start.split()[0] for start in starts] == ["fewstep/chain-tscd.safetensors", "fewstep/chain-dmd.safetensors"]
    (merged,) = host.workdir.rglob("chain-merged.safetensors")
    with safe_open(merged, "pt") as file:
        parents = json.loads(file.metadata()["fewstep"])["recipe"]["parents"]
    assert [Path(parent["name"]).stem for parent in parents] == ["chain-tscd", "chain-clip"]
