"""Learning from the masks of pictures: what scores them, and a method that listens."""

from ..host.rewards import clip, mask_rcnn
from ..training.checks import require
from ..training.on_pictures import with_perception
from ..training.options import PerceptionOptions
from .methods import METHOD, built, numbers

CRITIC = "FEWSTEP_CRITIC"


class FewStepCriticMaskRCNN:
    TITLE = "FewStep Critic Mask R-CNN"
    DESCRIPTION = (
        "Mask R-CNN of torchvision, from your own file, on what stands where: its training losses on the "
        "student's picture, with the data's masks as truth. Hyper-SD does the same with SOLO."
    )
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (CRITIC,)

    @classmethod
    def INPUT_TYPES(cls):
        files = clip.names(mask_rcnn.ENDINGS)
        return {
            "required": {
                "file": (files, {"tooltip": "In fewstep_rewards: torchvision's maskrcnn_resnet50_fpn, or your own."}),
                "min_size": (
                    "INT",
                    {
                        "default": 512,
                        "min": 32,
                        "max": 2048,
                        "step": 32,
                        "tooltip": "Pixels of the shorter side that it looks at. torchvision trained it at 800.",
                    },
                ),
            }
        }

    def build(self, file, min_size):
        return (mask_rcnn.critic(file, min_size, "FewStepCriticMaskRCNN"),)


class FewStepMethodPerception:
    TITLE = "FewStep Method Perception"
    DESCRIPTION = (
        "Adds Hyper-SD's perceptual loss to any method: a training picture is noised, the student cleans it in one "
        "step, and a critic holds the result against the picture's own masks. It needs a folder with masks."
    )
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)

    @classmethod
    def INPUT_TYPES(cls):
        weight = {"default": 0.1, "min": 0.0, "max": 1000.0, "step": 0.01}
        timesteps = "Where the picture is noised to. Near 999 nothing of it is left, and its masks say nothing."
        return {
            "required": {
                "method": (METHOD, {"tooltip": "What the student is taught by besides."}),
                "critic": (CRITIC, {"tooltip": "Mask R-CNN, or the second output of FewStep Reward Saliency."}),
                "weight": ("FLOAT", {**weight, "tooltip": "Beside the method's own loss. Hyper-SD gives no value."}),
                "timesteps": ("STRING", {"default": "499, 259", "tooltip": timesteps}),
            }
        }

    def build(self, method, critic, weight, timesteps):
        require(weight > 0, "FewStepMethodPerception: weight 0 would do nothing. Disconnect it.")

        def make():
            steps = numbers(timesteps, int, "Perception", "timesteps")
            options = PerceptionOptions(timesteps=steps, critic=critic.name, weight=weight)
            return with_perception(method, options, critic)

        return built("FewStepMethodPerception", make)


NODES = (FewStepCriticMaskRCNN, FewStepMethodPerception)
