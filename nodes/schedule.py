"""SIGMAS at the timesteps a few-step student was trained on."""

from ..samplers.schedule import lcm_timesteps, parse_timesteps, segment_timesteps, sigmas_of, trailing_timesteps
from .widgets import DENOISE, choice, socket, text, whole


class FewStepSchedule:
    TITLE = "FewStep Schedule"
    DESCRIPTION = "The sigmas of a few-step schedule, for SamplerCustom."
    SEARCH_ALIASES = ["scheduler", "sigmas", "timesteps", "lcm", "trailing", "tcd"]
    CATEGORY = "FewStep/sampling"
    FUNCTION = "build"
    RETURN_TYPES = ("SIGMAS",)
    OUTPUT_TOOLTIPS = ("For SamplerCustom.",)

    @classmethod
    def INPUT_TYPES(cls):
        which = (
            "lcm: LCM, TCD, unified Hyper-SD (999, 759, 499, 259). trailing: Hyper-SD N-step, Lightning, PCM, DMD2 "
            "(999, 749, 499, 249). explicit: the list below. segments: TSCD students of as many segments as steps "
            "(999, 739, 499, 239)."
        )
        points = "lcm and segments: points of the training grid. LCM and TCD have 50."
        listed = "explicit only: falling integers in 999..0, split by commas or blanks."
        return {
            "required": {
                "model": socket("MODEL", "Its own noise schedule is used, with every patch on it."),
                "scheduler": choice(which, ["lcm", "trailing", "explicit", "segments"], default="lcm"),
                "steps": whole(50, "Number of steps. explicit counts its list instead.", default=4),
                "denoise": DENOISE,
                "original_steps": whole(1000, points, default=50, advanced=True),
                "timesteps": text(listed, default="999, 749, 499, 249"),
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
