"""More variety between the seeds of a few-step model."""

from ..host import condition_noise


class FewStepConditionNoise:
    TITLE = "FewStep Condition Noise"
    DESCRIPTION = (
        "Noise on the positive prompt that fades as the image forms (CADS), so that a prompt's seeds differ more "
        "on a few-step model. A patch on the model: any sampling node can follow."
    )
    CATEGORY = "FewStep/sampling"
    FUNCTION = "patch"
    RETURN_TYPES = ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        amount = {"default": 0.2, "min": 0.0, "max": 1.0, "step": 0.01}
        fade = {"default": 0.4, "min": 0.0, "max": 0.99, "step": 0.01}
        seed = {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True}
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "With its few-step LoRA on it."}),
                "amount": (
                    "FLOAT",
                    {**amount, "tooltip": "Share of noise in the prompt at the first step: 0 none, 1 no prompt left."},
                ),
                "fade": ("FLOAT", {**fade, "tooltip": "Time (1 noise, 0 image) at which the prompt is clean again."}),
                "noise_seed": ("INT", {**seed, "tooltip": "Of the prompt's noise; each image of a batch has its own."}),
            }
        }

    def patch(self, model, amount, fade, noise_seed):
        return (condition_noise.apply(model, amount, fade, noise_seed),)


NODES = (FewStepConditionNoise,)
