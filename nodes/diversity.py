"""More variety between the seeds of a few-step model."""

from ..host import condition_noise
from .widgets import number, seed, socket


class FewStepConditionNoise:
    TITLE = "FewStep Condition Noise"
    DESCRIPTION = (
        "Noise on the positive prompt that fades as the image forms (CADS), so that a prompt's seeds differ more "
        "on a few-step model. A patch on the model: any sampling node can follow."
    )
    SEARCH_ALIASES = ["cads", "diversity", "variety", "seeds alike"]
    CATEGORY = "FewStep/sampling"
    FUNCTION = "patch"
    RETURN_TYPES = ("MODEL",)
    OUTPUT_TOOLTIPS = ("The model, patched.",)

    @classmethod
    def INPUT_TYPES(cls):
        amount = "Share of noise in the prompt at the first step: 0 none, 1 no prompt left."
        return {
            "required": {
                "model": socket("MODEL", "With its few-step LoRA on it."),
                "amount": number((0.0, 1.0, 0.01), amount, default=0.2),
                "fade": number((0.0, 0.99, 0.01), "Time (1 noise, 0 image) at which the prompt is clean.", default=0.4),
                "noise_seed": seed("Of the prompt's noise; each image of a batch has its own."),
            }
        }

    def patch(self, model, amount, fade, noise_seed):
        return (condition_noise.apply(model, amount, fade, noise_seed),)


NODES = (FewStepConditionNoise,)
