"""SIGMAS at the timesteps a few-step student was trained on."""

from ..samplers.schedule import lcm_timesteps, parse_timesteps, segment_timesteps, sigmas_of, trailing_timesteps


class FewStepSchedule:
    TITLE = "FewStep Schedule"
    DESCRIPTION = "The sigmas of a few-step schedule, for SamplerCustom."
    CATEGORY = "FewStep/sampling"
    FUNCTION = "build"
    RETURN_TYPES = ("SIGMAS",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "Its own noise schedule is used, with every patch on it."}),
                "scheduler": (
                    ["lcm", "trailing", "explicit", "segments"],
                    {
                        "tooltip": "lcm: LCM, TCD, unified Hyper-SD (999, 759, 499, 259). trailing: Hyper-SD N-step, "
                        "Lightning, PCM, DMD2 (999, 749, 499, 249). explicit: the list below. "
                        "segments: TSCD students of as many segments as steps (999, 739, 499, 239)."
                    },
                ),
                "steps": ("INT", {"default": 4, "min": 1, "max": 50}),
                "denoise": (
                    "FLOAT",
                    {"default": 1.0, "min": 0.01, "max": 1.0, "step": 0.01, "tooltip": "Below 1 for image to image."},
                ),
                "original_steps": (
                    "INT",
                    {
                        "default": 50,
                        "min": 1,
                        "max": 1000,
                        "tooltip": "lcm and segments: points of the training grid. LCM has 50.",
                    },
                ),
                "timesteps": (
                    "STRING",
                    {"default": "999, 749, 499, 249", "tooltip": "explicit only: falling integers in 999..0."},
                ),
            }
        }

    def build(self, model, scheduler, steps, denoise, original_steps, timesteps):
        chosen = {
            "lcm": lambda: lcm_timesteps(steps, denoise, original_steps),
            "trailing": lambda: trailing_timesteps(steps, denoise),
            "explicit": lambda: parse_timesteps(timesteps),
            "segments": lambda: segment_timesteps(steps, denoise, original_steps),
        }[scheduler]()
        return (sigmas_of(model.get_model_object("model_sampling"), chosen),)


NODES = (FewStepSchedule,)
