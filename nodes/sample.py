"""Few-step samplers: as a SAMPLER for SamplerCustom, and as one node that does it all."""

from ..host import sampling
from ..host.loading import made_for
from ..samplers.ddim import sample_ddim
from ..samplers.imagine_flash import sample_imagine_flash, with_noise_correction
from ..samplers.lcm import sample_lcm
from ..samplers.schedule import SCHEDULES, sigmas_of
from ..samplers.tcd import sample_tcd
from ..samplers.unit_start import with_unit_start

METHODS = {
    "lcm": (sample_lcm, "lcm"),
    "tcd": (sample_tcd, "lcm"),
    "ddim": (sample_ddim, "trailing"),
    "imagine_flash": (sample_imagine_flash, "trailing"),
}
NOISY = ("lcm", "tcd")  # methods with step noise
SAMPLER_NAME = (
    list(METHODS),
    {
        "default": "lcm",
        "tooltip": "lcm: LCM, LCM-LoRA. tcd: TCD, Hyper-SD unified. ddim: Hyper-SD N-step, Lightning, PCM. "
        "imagine_flash: ddim with noise correction.",
    },
)
ETA = (
    "FLOAT",
    {
        "default": 0.3,
        "min": 0.0,
        "max": 1.0,
        "step": 0.05,
        "tooltip": "TCD only: 0 is deterministic (DDIM), 1 noises as much as LCM. TCD's authors take 0.3 at 4 steps.",
    },
)


def sampler_options(name: str, eta: float, seed: int | None, pictures: list[int] | None = None) -> dict:
    """The options that the sampler's function takes."""
    options = {"seed": seed, "pictures": pictures} if name in NOISY else {}
    return {**options, "eta": eta} if name == "tcd" else options


def sampler_for(settings, steps: int, denoise: float):
    """The SAMPLER that a known file was made for, ours or the host's."""
    if settings.sampler not in METHODS:
        return made_for.host_sampler(settings.sampler)
    function, options = METHODS[settings.sampler][0], sampler_options(settings.sampler, settings.eta, None)
    # a file with a list of its own was trained on pure noise at its first point, also below the top
    own_start = denoise == 1 and str(steps) in settings.timesteps
    return sampling.as_sampler(with_unit_start(function) if own_start else function, options)


class FewStepSampler:
    TITLE = "FewStep Sampler"
    DESCRIPTION = "A few-step sampler for SamplerCustom. Pair it with FewStep Schedule."
    CATEGORY = "FewStep/sampling"
    FUNCTION = "build"
    RETURN_TYPES = ("SAMPLER",)

    @classmethod
    def INPUT_TYPES(cls):
        seed = {
            "default": -1,
            "min": -1,
            "max": 2**53,
            "tooltip": "Seed of the step noise. -1: the sampling node's. Set it where there is none (DisableNoise).",
        }
        unit = {
            "default": False,
            "tooltip": "For one-step weights asked below 999 (t = 800, 399): unit-variance noise.",
        }
        return {
            "required": {"sampler_name": SAMPLER_NAME, "eta": ETA, "noise_seed": ("INT", seed)},
            "optional": {"unit_start": ("BOOLEAN", unit)},
        }

    def build(self, sampler_name: str, eta: float, noise_seed: int, unit_start: bool = False):
        function, _ = METHODS[sampler_name]
        if unit_start:
            function = with_unit_start(function)
        options = sampler_options(sampler_name, eta, None if noise_seed < 0 else noise_seed)
        return (sampling.as_sampler(function, options),)


class FewStepKSampler:
    TITLE = "FewStep KSampler"
    DESCRIPTION = "Noise, schedule and few-step sampler in one node. Takes the place of the stock KSampler."
    CATEGORY = "FewStep/sampling"
    FUNCTION = "sample"
    RETURN_TYPES = ("LATENT",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "A model with a few-step LoRA, or a distilled one."}),
                "positive": ("CONDITIONING",),
                "negative": ("CONDITIONING", {"tooltip": "Has no effect at cfg 1."}),
                "latent_image": ("LATENT",),
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True}),
                "steps": (
                    "INT",
                    {"default": 4, "min": 1, "max": 50, "tooltip": "1-8; what the weights were made for."},
                ),
                "cfg": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 30.0,
                        "step": 0.1,
                        "tooltip": "1 for distilled weights: guidance is in them, and a step is one network pass.",
                    },
                ),
                "sampler_name": SAMPLER_NAME,
                "eta": ETA,
                "denoise": ("FLOAT", {"default": 1.0, "min": 0.01, "max": 1.0, "step": 0.01}),
            }
        }

    def sample(self, model, positive, negative, latent_image, seed, steps, cfg, sampler_name, eta, denoise):
        function, schedule = METHODS[sampler_name]
        sigmas = sigmas_of(model.get_model_object("model_sampling"), SCHEDULES[schedule](steps, denoise))
        options = sampler_options(sampler_name, eta, seed, latent_image.get("batch_index"))
        sampler = sampling.as_sampler(function, options)
        return (sampling.sample_custom(model, seed, cfg, positive, negative, sampler, sigmas, latent_image),)


class FewStepNoiseCorrection:
    TITLE = "FewStep Noise Correction"
    DESCRIPTION = (
        "Imagine Flash's noise correction around any deterministic sampler: the first step from pure noise keeps the "
        "noise that was drawn. Its authors see more vivid colours in few steps. No effect on one step, on image to "
        "image, and on flow models."
    )
    CATEGORY = "FewStep/sampling"
    FUNCTION = "wrap"
    RETURN_TYPES = ("SAMPLER",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"sampler": ("SAMPLER", {"tooltip": "A deterministic one, such as euler or dpmpp_2m."})}}

    def wrap(self, sampler):
        return (sampling.rewrapped(sampler, with_noise_correction),)


NODES = (FewStepSampler, FewStepKSampler, FewStepNoiseCorrection)
