"""Rewards through /prompt: pictures drawn by the tiny base, scored by random small networks in the models folder."""

import pytest
import torch
from safetensors.torch import save_file
from test_host import api
from transformers import CLIPConfig, CLIPModel

from launcher.api import WorkflowError

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
    with pytest.raises(WorkflowError, match="FewStepRewardSum: both weights are 0"):
        client.submit(scoring(0.0, 0.0), timeout=300)
