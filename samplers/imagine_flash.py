"""Imagine Flash sampling (Kohler et al. 2024): deterministic backward steps with noise correction.

At t = T the input is pure noise, yet SD's schedule leaves a_T = 0.068 there, so the noise that the network predicts is
not the noise that was drawn. The first step therefore uses the drawn noise:

    x_t' = a_t' x0(x_T) + s_t' eps        eps: the initial noise, = x_T
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .ddim import sample_ddim
from .schedule import TRAIN_TIMESTEPS, alpha_of, is_flow, model_sampling_of, require_numbers, timestep_of


def initial_noise(model_sampling, y: Tensor, sigma: Tensor) -> Tensor:
    """The unit noise that y = x_T / a_T was made of at the top of the schedule: y / sqrt(1 + sigma^2); y for flow."""
    return y / sigma if is_flow(model_sampling) else y / (1 + sigma**2) ** 0.5


def corrects(model_sampling, sigmas: Tensor) -> bool:
    """Whether there is a first step to correct: from pure noise, and to a point that still has noise.

    Image-to-image starts below the top, and a single step goes straight to x0: both stay as they are. A first step
    split from the rest is told from a single one by where it ends.
    """
    if len(sigmas) < 2:
        return False
    from_the_top = round(timestep_of(model_sampling, sigmas[0])) >= TRAIN_TIMESTEPS - 1
    return from_the_top and bool(sigmas[1] > 0)


def with_noise_correction(sampler: Callable) -> Callable:
    """The corrected first step, then any deterministic sampler on the remaining sigmas."""

    @torch.no_grad()
    def corrected(model, x: Tensor, sigmas: Tensor, extra_args=None, callback=None, disable=None, **options) -> Tensor:
        require_numbers(sigmas)
        extra_args = extra_args or {}
        model_sampling = model_sampling_of(model)
        if not corrects(model_sampling, sigmas):
            return sampler(model, x, sigmas, extra_args, callback, disable, **options)
        x0 = model(x, sigmas[0] * x.new_ones([x.shape[0]]), **extra_args)
        if callback is not None:
            callback({"x": x, "i": 0, "sigma": sigmas[0], "sigma_hat": sigmas[0], "denoised": x0})
        noise = initial_noise(model_sampling, x, sigmas[0])
        x = alpha_of(model_sampling, sigmas[1]) * x0 + sigmas[1] * noise
        if len(sigmas) == 2:
            return x  # the rest is the next node's
        return sampler(model, x, sigmas[1:], extra_args, one_later(callback), disable, **options)

    return corrected


def one_later(callback: Callable | None) -> Callable | None:
    """The callback of the remaining steps, counted on from the first."""
    if callback is None:
        return None
    return lambda state: callback({**state, "i": state["i"] + 1})


sample_imagine_flash = with_noise_correction(sample_ddim)
