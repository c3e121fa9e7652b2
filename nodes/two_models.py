"""One sampling by two models: the high- and low-noise experts of Wan 2.2, or a base and its few-step student."""

import torch

from ..host import stages
from ..samplers.guidance import scales_of
from .guidance import BY_STEP
from .widgets import choice, number, seed, socket, text

AS_THE_OTHERS, GUIDED_BASE = "as the others", "with first_cfg, without LoRA"


class FewStepTwoModelSampler:
    TITLE = "FewStep Two-Model Sampler"
    DESCRIPTION = (
        "One sampling by two models: the first down to the boundary, the second from there, the noise that is left "
        "handed over as it is. For Wan 2.2's high- and low-noise models; or the base first and its few-step student "
        "after it, which brings back variety."
    )
    SEARCH_ALIASES = ["wan 2.2", "high noise", "low noise", "moe", "two models", "lightx2v"]
    CATEGORY = "FewStep/sampling"
    FUNCTION = "sample"
    RETURN_TYPES = ("LATENT", "STRING")
    RETURN_NAMES = ("latent", "report")
    OUTPUT_TOOLTIPS = (
        "For VAE Decode.",
        "Which model took which steps.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        boundary = "A sigma. Wan 2.2: 0.875 from text, 0.9 from an image. SD: up to 14.6."
        first = "Against the slow motion of Wan 2.2 with a speed LoRA: the first step guided, without it."
        return {
            "required": {
                "high_model": socket("MODEL", "Takes the steps that begin at the boundary or above."),
                "low_model": socket("MODEL", "Takes the steps below it."),
                "positive": socket("CONDITIONING", "For both models."),
                "negative": socket("CONDITIONING", "For both, on the steps whose cfg is not 1."),
                "latent_image": socket("LATENT", "Empty, an image to change, or one with a mask."),
                "noise_seed": seed("Of the noise that sampling starts from."),
                "cfg": text(f"Over the steps of both models. {BY_STEP}", default="1"),
                "sampler": socket("SAMPLER", "From FewStep Load LoRA, FewStep Sampler or KSamplerSelect."),
                "sigmas": socket("SIGMAS", "The whole list; or the high model's part, and sigmas_low its rest."),
                "boundary": number((0.0, 1000.0, 0.001), boundary, default=0.875),
                "first_step": choice(first, [AS_THE_OTHERS, GUIDED_BASE], default=AS_THE_OTHERS),
                "first_cfg": number((0.0, 100.0, 0.1), "Guidance of that first step.", default=3.5),
            },
            "optional": {
                "sigmas_low": socket("SIGMAS", "Goes on where sigmas ends, as FewStep Load LoRA gives it."),
                "first_model": socket("MODEL", "For the first step, instead of high_model without its LoRAs."),
            },
        }

    def sample(
        self,
        high_model,
        low_model,
        positive,
        negative,
        latent_image,
        noise_seed,
        cfg,
        sampler,
        sigmas,
        boundary,
        first_step,
        first_cfg,
        sigmas_low=None,
        first_model=None,
    ):
        whole = sigmas if sigmas_low is None else joined(sigmas, sigmas_low)
        parts = stages.split((high_model, low_model), whole, boundary, scales_of(cfg))
        if first_step == GUIDED_BASE and parts and parts[0].model is high_model:
            bare = first_model or stages.without_patches(high_model)
            parts = [*stages.with_first(parts[0], bare, first_cfg), *parts[1:]]
        latent = stages.sample_stages(parts, noise_seed, positive, negative, sampler, latent_image)
        names = {id(high_model): "high_model", id(low_model): "low_model"}
        return (latent, "\n".join(line(part, names.get(id(part.model), "first step")) for part in parts))


def joined(high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """One list out of two that meet."""
    if not len(high) or not len(low) or abs(float(high[-1] - low[0])) > 1e-3 * max(float(low[0]), 1e-3):
        ends = [f"{float(part[at]):g}" if len(part) else "nothing" for part, at in ((high, -1), (low, 0))]
        raise ValueError(
            f"sigmas_low must begin where sigmas ends: {ends[1]} against {ends[0]}. Take both from the two files of "
            "one pair, or one whole list in sigmas alone."
        )
    return torch.cat([high, low[1:].to(high)])


def line(part: stages.Stage, name: str) -> str:
    """ "high_model: sigmas 1, 0.9375, 0.833; cfg 1"."""
    sigmas = ", ".join(f"{float(sigma):.4g}" for sigma in part.sigmas)
    steps = len(part.sigmas) - 1
    scales = [*part.scales[:steps], *part.scales[-1:] * (steps - len(part.scales))]
    return f"{name}: sigmas {sigmas}; cfg {', '.join(f'{scale:g}' for scale in scales)}"


NODES = (FewStepTwoModelSampler,)
