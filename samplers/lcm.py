"""Multistep consistency sampling (Luo et al. 2023, "Latent Consistency Models", algorithm 3)."""

import torch
from torch import Tensor

from .mask import keep
from .noise import seed_of, step_noise
from .schedule import is_flow, model_sampling_of, require_falling, timesteps_of

SIGMA_DATA = 0.5
TIMESTEP_SCALING = 10.0


def boundary_scalings(timestep: float | Tensor) -> tuple:
    """(c_skip, c_out) of the consistency function f = c_skip x_t + c_out x0, so that f(x_0, 0) = x_0.

    c_skip = 0.25 / ((10 t)^2 + 0.25),  c_out = 10 t / sqrt((10 t)^2 + 0.25), t the integer timestep.
    """
    scaled = timestep * TIMESTEP_SCALING
    c_skip = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2)
    c_out = scaled / (scaled**2 + SIGMA_DATA**2) ** 0.5
    return c_skip, c_out


def consistency(x0: Tensor, y: Tensor, sigma: Tensor, timestep: float) -> Tensor:
    """f(x_t) from the host's y = x_t / a_t, with a_t = 1 / sqrt(1 + sigma^2)."""
    c_skip, c_out = boundary_scalings(timestep)
    return c_skip * y / (1 + sigma**2) ** 0.5 + c_out * x0


@torch.no_grad()
def sample_lcm(
    model,
    x: Tensor,
    sigmas: Tensor,
    extra_args=None,
    callback=None,
    disable=None,
    *,
    seed: int | None = None,
    pictures: list[int] | None = None,
) -> Tensor:
    """x0 = f(x_t); then noise it anew to the next sigma. The last step returns x0.

    x: [b, c, ...] noised to sigmas[0]; sigmas: [n + 1], falling, in the host's units. Flow models use x0 itself for f.
    """
    require_falling(sigmas)
    extra_args = extra_args or {}
    model_sampling = model_sampling_of(model)
    flow, timesteps = is_flow(model_sampling), timesteps_of(model_sampling, sigmas)
    seed, ones = seed_of(extra_args, seed), x.new_ones([x.shape[0]])
    for i in range(len(sigmas) - 1):
        x0 = model(x, sigmas[i] * ones, **extra_args)
        if not flow:
            # near t = 0 f is mostly x_t, whose noise must not stay on what a mask keeps
            x0 = keep(consistency(x0, x, sigmas[i], timesteps[i]), x0, extra_args)
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": x0})
        x = x0
        if sigmas[i + 1] > 0:
            noise = step_noise(x, seed, timesteps[i + 1], pictures)
            x = model_sampling.noise_scaling(sigmas[i + 1], noise, x0)
    return x
