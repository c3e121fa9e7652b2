"""One sampling by several MODELs in turn: high- and low-noise experts, or a base that takes the first step.

Where a MODEL hands over, the latent goes on as it lies in the sampler, noise and all: it is not scaled back, decoded to
the VAE's scale or noised again. With one MODEL in every stage the result is that of a single run, masks included.
"""

from collections.abc import Callable
from functools import wraps
from typing import NamedTuple
from uuid import uuid4

from torch import Tensor

from ..samplers.schedule import require_numbers
from . import sampling
from .guider import StepGuider
from .progress import preview_callback


class Stage(NamedTuple):
    """A MODEL's part: its sigmas [n + 1], of which the last is the next stage's first, and a guidance scale a step."""

    model: object
    sigmas: Tensor
    scales: list[float]


class Handover:
    """Wraps a sampler's function so that each call begins with the latent that the one before ended on."""

    def __init__(self):
        self.latent: Tensor | None = None

    def __call__(self, function: Callable) -> Callable:
        @wraps(function)
        def resumed(model, x, sigmas, *args, **options):
            x = x if self.latent is None else self.latent.to(x)
            self.latent = function(model, x, sigmas, *args, **options)
            return self.latent

        return resumed


def sample_stages(stages: list[Stage], seed: int, positive, negative, sampler, latent: dict) -> dict:
    """LATENT of all stages, one after the other, from the noise of the seed and the latent's batch_index."""
    import comfy.sample

    if not stages:
        return latent
    samples = sampling.fix_channels(stages[0].model, latent["samples"])
    noise = comfy.sample.prepare_noise(samples, seed, latent.get("batch_index"))
    return {
        **latent,
        "samples": run(stages, seed, positive, negative, sampler, samples, noise, latent.get("noise_mask")),
    }


def run(
    stages: list[Stage],
    seed: int,
    positive,
    negative,
    sampler,
    samples: Tensor,
    noise: Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    """Latents of all stages, from `noise` on `samples`.

    A sampler of the host that draws noise gets another seed in each stage: it would begin with the same noise again.
    Ours know by their timestep which noise is next, and keep the seed.
    """
    for stage in stages:
        require_numbers(stage.sigmas)
    handover, first = Handover(), 0
    sampler = sampling.rewrapped(keep_seed(sampler, seed), handover)
    total = sum(len(stage.sigmas) - 1 for stage in stages)
    for number, stage in enumerate(stages):
        guider = StepGuider(stage.model, positive, negative, stage.scales)
        made = guider.sample(
            noise,
            samples,
            sampler,
            stage.sigmas,
            denoise_mask=mask,
            callback=counted_on(preview_callback(stage.model, total), first, total),
            disable_pbar=False,
            seed=(seed + number) % 2**64,
        )
        first += len(stage.sigmas) - 1
    return sampling.put_away(made)


def keep_seed(sampler, seed: int):
    """The same SAMPLER; one of ours that takes the sampling node's seed has it written in."""
    if getattr(sampler, "extra_options", {}).get("seed", seed) is not None:
        return sampler
    return type(sampler)(sampler.sampler_function, {**sampler.extra_options, "seed": seed}, sampler.inpaint_options)


def counted_on(callback: Callable, first: int, total: int) -> Callable:
    """The host's callback of a sampling loop, counted over all stages."""
    return lambda step, x0, x, _: callback(first + step, x0, x, total)


def split(models: tuple, sigmas: Tensor, boundary: float, scales: list[float]) -> list[Stage]:
    """(high, low) and their sigmas: a step that begins at `boundary` or above is the high-noise MODEL's.

    A part without a step is left out, so that its MODEL is not loaded.
    """
    cut = int((sigmas[:-1] >= boundary - 1e-6).sum())
    high = Stage(models[0], sigmas[: cut + 1], scales)
    low = Stage(models[1], sigmas[cut:], scales[min(cut, len(scales) - 1) :])
    return [stage for stage in (high, low) if len(stage.sigmas) > 1]


def with_first(stage: Stage, model, scale: float) -> list[Stage]:
    """The stage with its first step taken by another MODEL under a guidance scale of its own."""
    first = Stage(model, stage.sigmas[:2], [scale])
    rest = stage._replace(sigmas=stage.sigmas[1:], scales=stage.scales[1:] or stage.scales)
    return [first, rest] if len(rest.sigmas) > 1 else [first]


def without_patches(model):
    """The MODEL's clone without its LoRAs and merges.

    The host tells clones of one network apart by this mark alone when it decides whether weights lie there already.
    """
    plain = model.clone()
    plain.patches = {}
    plain.patches_uuid = uuid4()
    return plain
