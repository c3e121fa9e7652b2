"""Few-step samplers: as a SAMPLER for SamplerCustom, and as one node that does it all."""

from dataclasses import replace

from ..host import sampling
from ..host.loading.sampler import attached, points_of, sampler_for
from ..samplers.guidance import scales_of
from ..samplers.imagine_flash import with_noise_correction
from ..samplers.registry import SAMPLERS
from ..samplers.unit_start import with_unit_start
from ..weights import families
from .guidance import BY_STEP
from .widgets import AUTO, DENOISE, NEGATIVE, POSITIVE, choice, number, seed, socket, text, whole, yes_no

WHICH = (
    "lcm: LCM, LCM-LoRA. tcd: TCD, unified Hyper-SD. ddim: Hyper-SD N-step, Lightning, PCM. imagine_flash: ddim with "
    "noise correction."
)
ETA = number(
    (0.0, 1.0, 0.05),
    "tcd only: 0 is deterministic, 1 noises as much as LCM. TCD's authors take 0.3 at 4 steps; unified Hyper-SD 1, "
    "lower for more detail.",
    default=0.3,
)
PLAIN = {name: families.Settings(name, name, known.schedule, (1, 50), 4) for name, known in SAMPLERS.items()}
UNKNOWN = "The model does not say what it was made for: sampled as an LCM. Load it by FewStep Load LoRA or Load Model."


class FewStepSampler:
    TITLE = "FewStep Sampler"
    DESCRIPTION = "A few-step sampler for SamplerCustom. Pair it with FewStep Schedule."
    SEARCH_ALIASES = ["lcm", "tcd", "ddim", "imagine flash", "hyper-sd", "lightning", "pcm", "consistency sampler"]
    CATEGORY = "FewStep/sampling"
    FUNCTION = "build"
    RETURN_TYPES = ("SAMPLER",)
    OUTPUT_TOOLTIPS = ("For SamplerCustom and SamplerCustomAdvanced.",)

    @classmethod
    def INPUT_TYPES(cls):
        noise = "Of the noise between steps. -1: the sampling node's. Set it where that has none (DisableNoise)."
        unit = (
            "For one-step weights asked below 999 (Hyper-SDXL's U-Net at 800, DMD2's at 399): they were trained on "
            "noise of unit variance there. The loaders turn it on where a file wants it."
        )
        return {
            "required": {
                "sampler_name": choice(WHICH, list(SAMPLERS), default="lcm"),
                "eta": ETA,
                "noise_seed": whole(2**53, noise, -1, default=-1, control_after_generate=False),
            },
            "optional": {"unit_start": yes_no(unit, default=False, advanced=True)},
        }

    def build(self, sampler_name: str, eta: float, noise_seed: int, unit_start: bool = False):
        chosen = SAMPLERS[sampler_name]
        function = with_unit_start(chosen.function) if unit_start else chosen.function
        return (sampling.as_sampler(function, chosen.keywords(eta, None if noise_seed < 0 else noise_seed)),)


class FewStepKSampler:
    TITLE = "FewStep KSampler"
    DESCRIPTION = (
        "Noise, schedule and few-step sampler in one node, in place of the stock KSampler. As it comes it samples a "
        "model the way its few-step LoRA or checkpoint was made for."
    )
    SEARCH_ALIASES = ["ksampler", "few-step", "lcm", "tcd", "hyper-sd", "lightning", "turbo", "pcm", "dmd", "txt2img"]
    CATEGORY = "FewStep/sampling"
    FUNCTION = "sample"
    RETURN_TYPES = ("LATENT", "STRING")
    RETURN_NAMES = ("latent", "report")
    OUTPUT_TOOLTIPS = ("For VAE Decode.", "How it was sampled, and what does not fit the model.")

    @classmethod
    def INPUT_TYPES(cls):
        cfg = (
            "0: what the model was made for, 1 for most. Above 1 a step is two network passes, and distilled weights "
            "burn: LCM-LoRA stands at most 2."
        )
        of_model = "With a few-step LoRA on it, or distilled. FewStep Load LoRA, Load Model and Distill say on it how."
        return {
            "required": {
                "model": socket("MODEL", of_model),
                "seed": seed("Of the initial noise and of the noise between steps."),
                "steps": whole(50, "What the weights were made for; 4 suits most, 1-8 the rest.", default=4),
                "cfg": number((0.0, 30.0, 0.1), cfg, default=0.0),
                "sampler_name": choice(f"auto: as the model was made for. {WHICH}", [AUTO, *SAMPLERS], default=AUTO),
                "eta": ETA,
                "positive": POSITIVE,
                "negative": NEGATIVE,
                "latent_image": socket("LATENT", "An empty one, or the start of image to image. Masks are kept."),
                "denoise": DENOISE,
            },
            "optional": {"cfg_by_step": text(f"Instead of cfg, if not empty. {BY_STEP}", default="", advanced=True)},
        }

    def sample(
        self, model, seed, steps, cfg, sampler_name, eta, positive, negative, latent_image, denoise, cfg_by_step=""
    ):
        settings, notes = settings_for(model, sampler_name, eta, steps, cfg)
        scales = scales_of(cfg_by_step) if cfg_by_step.strip() else cfg or settings.cfg
        sampler, sigmas = sampler_for(model, settings, steps, denoise, latent_image.get("batch_index"))
        latent = sampling.sample_custom(model, seed, scales, positive, negative, sampler, sigmas, latent_image)
        said = cfg_by_step.strip() or f"{scales:g}"
        how = f"{settings.family}: {settings.sampler}, {points_of(settings, sigmas, steps, denoise)}, cfg {said}"
        return latent, "\n".join([how, *(f"Note: {note}" for note in notes)])


def settings_for(model, sampler_name: str, eta: float, steps: int, cfg: float) -> tuple[families.Settings, list[str]]:
    """How to sample, and what does not fit: the model's own settings, or those of a sampler that the user chose."""
    own, strength = attached(model)
    if sampler_name != AUTO:
        return replace(PLAIN[sampler_name], eta=eta), []
    if own is None:
        return PLAIN["lcm"], [UNKNOWN]
    notes, (low, high) = families.advice(own, steps, strength, ""), own.cfg_range
    if cfg and not low <= cfg <= high:
        span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        notes.append(
            f"{own.family} was made for cfg {span}, not {cfg:g}. With cfg 0 this node takes what it was made for."
        )
    return own, notes


class FewStepNoiseCorrection:
    TITLE = "FewStep Noise Correction"
    DESCRIPTION = (
        "Imagine Flash's noise correction around any deterministic sampler: the first step from pure noise keeps the "
        "noise that was drawn. Its authors see more vivid colours in few steps. No effect on one step, on image to "
        "image, and on flow models."
    )
    SEARCH_ALIASES = ["imagine flash", "noise correction"]
    CATEGORY = "FewStep/sampling"
    FUNCTION = "wrap"
    RETURN_TYPES = ("SAMPLER",)
    OUTPUT_TOOLTIPS = ("The same sampler, corrected.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"sampler": socket("SAMPLER", "A deterministic one, such as euler or dpmpp_2m.")}}

    def wrap(self, sampler):
        return (sampling.rewrapped(sampler, with_noise_correction),)


NODES = (FewStepSampler, FewStepKSampler, FewStepNoiseCorrection)
