"""What scores an image: rewards, and what a reward gives."""

import torch

from ..host.rewards import clip
from ..training.checks import require
from ..training.rewards import RewardSum

REWARD, CRITIC = "FEWSTEP_REWARD", "FEWSTEP_CRITIC"


class FewStepRewardCLIP:
    TITLE = "FewStep Reward CLIP"
    DESCRIPTION = (
        "How well a picture fits its prompt: the cosine of CLIP's image and text features. A local CLIP folder."
    )
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (REWARD,)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {"clip_folder": (clip.names(), {"tooltip": "A folder in the models folder fewstep_rewards."})}
        }

    def build(self, clip_folder):
        return (clip.clip_similarity(clip_folder, "FewStepRewardCLIP"),)


class FewStepRewardAesthetic:
    TITLE = "FewStep Reward Aesthetic"
    DESCRIPTION = "LAION's aesthetic score: a linear head on CLIP's image features, about 1 to 10."
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (REWARD,)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "clip_folder": (clip.names(), {"tooltip": "The CLIP that the head was trained on: ViT-L/14."}),
                "head": (clip.names((".safetensors",)), {"tooltip": "A .safetensors file in fewstep_rewards."}),
            }
        }

    def build(self, clip_folder, head):
        return (clip.aesthetic(clip_folder, head, "FewStepRewardAesthetic"),)


class FewStepRewardSum:
    TITLE = "FewStep Reward Sum"
    DESCRIPTION = "weight_a A + weight_b B of two rewards, as one score with one alpha. Chain it for more."
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (REWARD,)

    @classmethod
    def INPUT_TYPES(cls):
        weight = {"min": -100.0, "max": 100.0, "step": 0.01}
        return {
            "required": {
                "reward_a": (REWARD, {"tooltip": "From one of the reward nodes."}),
                "reward_b": (REWARD, {"tooltip": "Another one."}),
                "weight_a": ("FLOAT", {"default": 1.0, **weight, "tooltip": "CLIP similarity lies about 0.2 to 0.35."}),
                "weight_b": ("FLOAT", {"default": 0.1, **weight, "tooltip": "0.1 brings aesthetic scores to about 1."}),
            }
        }

    def build(self, reward_a, reward_b, weight_a, weight_b):
        require(
            bool(weight_a or weight_b), "FewStepRewardSum: both weights are 0, so nothing would be scored. Set one."
        )
        return (RewardSum([(weight_a, reward_a), (weight_b, reward_b)]),)


class FewStepScore:
    TITLE = "FewStep Score"
    DESCRIPTION = "What a reward gives to pictures: the mean, and one line for each."
    CATEGORY = "FewStep/training"
    FUNCTION = "score"
    OUTPUT_NODE = True
    RETURN_TYPES = ("FLOAT", "STRING")
    RETURN_NAMES = ("mean", "scores")

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "reward": (REWARD, {"tooltip": "From one of the reward nodes."}),
                "images": ("IMAGE", {"tooltip": "Any number of pictures."}),
                "prompt": ("STRING", {"multiline": True, "default": "", "tooltip": "What they should show."}),
            }
        }

    def score(self, reward, images, prompt):
        with torch.inference_mode(False), torch.no_grad():
            found = reward(images.clone().movedim(-1, 1), [prompt] * len(images)).tolist()
        mean, lines = sum(found) / len(found), "\n".join([reward.name, *(f"{value:.4f}" for value in found)])
        return {"ui": {"text": [lines]}, "result": (mean, lines)}


NODES = (FewStepRewardCLIP, FewStepRewardAesthetic, FewStepRewardSum, FewStepScore)
