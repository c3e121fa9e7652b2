"""The unit start: one-step weights that were trained below the top of the schedule.

Hyper-SDXL's one-step U-Net is asked at t = 800, DMD2's at t = 399, and both were given pure noise of unit variance
there. The host gives noise * sigma, in the papers' coordinates s_t * noise: 2 % too weak at 800, 24 % at 399.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .schedule import TRAIN_TIMESTEPS, is_flow, model_sampling_of, require_numbers, timestep_of


def starts_below_the_top(model, sigmas: Tensor) -> bool:
    """Whether sampling starts from an empty latent at a VP model's timestep below the last one."""
    model_sampling = model_sampling_of(model)
    latent = getattr(model, "latent_image", None)  # the host's wrapper knows it; other callers start from noise
    empty = latent is None or not bool(torch.count_nonzero(latent))
    if not empty or is_flow(model_sampling) or len(sigmas) < 2:
        return False
    return round(timestep_of(model_sampling, sigmas[0])) < TRAIN_TIMESTEPS - 1


def with_unit_start(sampler: Callable) -> Callable:
    """y = sqrt(1 + sigma^2) noise instead of sigma noise at the first step; at the top both are the host's own."""

    @torch.no_grad()
    def started(model, x: Tensor, sigmas: Tensor, extra_args=None, callback=None, disable=None, **options) -> Tensor:
        require_numbers(sigmas)
        if starts_below_the_top(model, sigmas):
            x = x * ((1 + sigmas[0] ** 2).sqrt() / sigmas[0])
        return sampler(model, x, sigmas, extra_args, callback, disable, **options)

    return started
