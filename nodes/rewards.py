"""What scores an image: rewards, and what a reward gives."""

import torch

from ..host.rewards import clip
from ..training.checks import require
from ..training.rewards import RewardSum
from .widgets import choice, number, socket, text

REWARD, CRITIC = "FEWSTEP_REWARD", "FEWSTEP_CRITIC"
A_REWARD = ("For FewStep Method Feedback and FewStep Score.",)
FROM_REWARD = socket(REWARD, "From one of the reward nodes.")


class FewStepRewardCLIP:
    TITLE = "FewStep Reward CLIP"
    DESCRIPTION = (
        "How well a picture fits its prompt: the cosine of CLIP's image and text features. A local CLIP folder."
    )
    SEARCH_ALIASES = ["clip score", "reward"]
    CATEGORY = "FewStep/training/rewards"
    FUNCTION = "build"
    RETURN_TYPES = (REWARD,)
    OUTPUT_TOOLTIPS = A_REWARD

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"clip_folder": choice("A folder in the models folder fewstep_rewards.", clip.names())}}

    def build(self, clip_folder):
        return (clip.clip_similarity(clip_folder, "FewStepRewardCLIP"),)


class FewStepRewardAesthetic:
    TITLE = "FewStep Reward Aesthetic"
    DESCRIPTION = "LAION's aesthetic score: a linear head on CLIP's image features, about 1 to 10."
    SEARCH_ALIASES = ["laion aesthetic", "reward"]
    CATEGORY = "FewStep/training/rewards"
    FUNCTION = "build"
    RETURN_TYPES = (REWARD,)
    OUTPUT_TOOLTIPS = A_REWARD

    @classmethod
    def INPUT_TYPES(cls):
        head = "A .safetensors file in fewstep_rewards."
        return {
            "required": {
                "clip_folder": choice("The CLIP that the head was trained on: ViT-L/14.", clip.names()),
                "head": choice(head, clip.names((".safetensors",))),
            }
        }

    def build(self, clip_folder, head):
        return (clip.aesthetic(clip_folder, head, "FewStepRewardAesthetic"),)


class FewStepRewardSum:
    TITLE = "FewStep Reward Sum"
    DESCRIPTION = "weight_a A + weight_b B of two rewards, as one score with one alpha. Chain it for more."
    SEARCH_ALIASES = ["add rewards", "combine"]
    CATEGORY = "FewStep/training/rewards"
    FUNCTION = "build"
    RETURN_TYPES = (REWARD,)
    OUTPUT_TOOLTIPS = A_REWARD

    @classmethod
    def INPUT_TYPES(cls):
        span = (-100.0, 100.0, 0.01)
        return {
            "required": {
                "reward_a": FROM_REWARD,
                "reward_b": FROM_REWARD,
                "weight_a": number(span, "CLIP similarity lies about 0.2 to 0.35. 0 costs nothing.", default=1.0),
                "weight_b": number(span, "0.1 brings aesthetic scores to about 1. Below 0 pushes down.", default=0.1),
            }
        }

    def build(self, reward_a, reward_b, weight_a, weight_b):
        require(bool(weight_a or weight_b), "both weights are 0, so nothing would be scored. Set one.")
        return (RewardSum([(weight_a, reward_a), (weight_b, reward_b)]),)


class FewStepScore:
    TITLE = "FewStep Score"
    DESCRIPTION = "What a reward gives to pictures: the mean, and one line for each."
    SEARCH_ALIASES = ["clip score", "aesthetic score", "rate images"]
    CATEGORY = "FewStep/training/rewards"
    FUNCTION = "score"
    OUTPUT_NODE = True
    RETURN_TYPES = ("FLOAT", "STRING")
    RETURN_NAMES = ("mean", "scores")
    OUTPUT_TOOLTIPS = (
        "Over the images.",
        "One line for each image.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "reward": FROM_REWARD,
                "images": socket("IMAGE", "Any number of images."),
                "prompt": text("What they should show.", multiline=True, default=""),
            }
        }

    def score(self, reward, images, prompt):
        with torch.inference_mode(False), torch.no_grad():
            scores = reward(images.clone().movedim(-1, 1), [prompt] * len(images)).tolist()
        return sum(scores) / len(scores), "\n".join([reward.name, *(f"{score:.4f}" for score in scores)])


NODES = (FewStepRewardCLIP, FewStepRewardAesthetic, FewStepRewardSum, FewStepScore)
