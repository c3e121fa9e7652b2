"""Guidance that changes with the step, for the stock sampling nodes."""

from ..host.guider import StepGuider
from ..samplers.guidance import scales_of
from .widgets import POSITIVE, socket, text

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
    SEARCH_ALIASES = ["guidance", "cfg", "guider", "negative prompt"]
    CATEGORY = "FewStep/sampling"
    FUNCTION = "build"
    RETURN_TYPES = ("GUIDER",)
    OUTPUT_TOOLTIPS = ("For SamplerCustomAdvanced.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": socket("MODEL", "With a few-step LoRA on it, or a distilled one."),
                "positive": POSITIVE,
                "negative": socket("CONDITIONING", "Heard on the steps whose cfg is not 1."),
                "cfg": text(BY_STEP, default="3, 1, 1, 1"),
            }
        }

    def build(self, model, positive, negative, cfg):
        return (StepGuider(model, positive, negative, scales_of(cfg)),)


NODES = (FewStepCFGSchedule,)
