"""Few-step samplers: as a SAMPLER for SamplerCustom, and as one node that does it all."""

from ..host import sampling
from ..samplers.guidance import scales_of
from ..samplers.imagine_flash import with_noise_correction
from ..samplers.registry import SAMPLERS, timesteps_for
from ..samplers.schedule import sigmas_of
from ..samplers.unit_start import with_unit_start
from .guidance import BY_STEP

SAMPLER_NAME = (
    list(SAMPLERS),
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
        chosen = SAMPLERS[sampler_name]
        function = with_unit_start(chosen.function) if unit_start else chosen.function
        return (sampling.as_sampler(function, chosen.keywords(eta, None if noise_seed < 0 else noise_seed)),)


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
            },
            "optional": {
                "cfg_by_step": ("STRING", {"default": "", "tooltip": f"Instead of cfg, if not empty. {BY_STEP}"})
            },
        }

    def sample(
        self, model, positive, negative, latent_image, seed, steps, cfg, sampler_name, eta, denoise, cfg_by_step=""
    ):
        chosen = SAMPLERS[sampler_name]
        timesteps = timesteps_for(chosen.schedule, steps, denoise)
        sigmas = sigmas_of(model.get_model_object("model_sampling"), timesteps)
        sampler = sampling.as_sampler(chosen.function, chosen.keywords(eta, seed, latent_image.get("batch_index")))
        scales = scales_of(cfg_by_step) if cfg_by_step.strip() else cfg
        return (sampling.sample_custom(model, seed, scales, positive, negative, sampler, sigmas, latent_image),)


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
