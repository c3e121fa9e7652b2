"""Guidance that changes with the step, for the stock sampling nodes."""

from ..host.guider import StepGuider
from ..samplers.guidance import scales_of

BY_STEP = (
    "One cfg for each step, such as 3, 1, 1, 1; the last stands for all after it. A step at 1 is one network pass and "
    "hears no negative prompt, any other is two."
)


class FewStepCFGSchedule:
    TITLE = "FewStep CFG Schedule"
    DESCRIPTION = (
        "A guider for SamplerCustomAdvanced with a cfg for each step: 3, 1, 1, 1 lets a negative prompt work on a "
        "few-step model at the price of one network pass."
    )
    CATEGORY = "FewStep/sampling"
    FUNCTION = "build"
    RETURN_TYPES = ("GUIDER",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "A model with a few-step LoRA, or a distilled one."}),
                "positive": ("CONDITIONING", {"tooltip": "What the image shall show."}),
                "negative": ("CONDITIONING", {"tooltip": "Heard on the steps whose cfg is not 1."}),
                "cfg": ("STRING", {"default": "3, 1, 1, 1", "tooltip": BY_STEP}),
            }
        }

    def build(self, model, positive, negative, cfg):
        return (StepGuider(model, positive, negative, scales_of(cfg)),)


NODES = (FewStepCFGSchedule,)
