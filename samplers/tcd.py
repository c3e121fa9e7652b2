"""Strategic stochastic sampling of trajectory consistency models (Zheng et al. 2024, "TCD", algorithm 4)."""

import math

import torch
from torch import Tensor

from .noise import seed_of, step_noise
from .schedule import alpha_of, is_flow, model_sampling_of, require_falling, timestep_of


def inner_sigma(model_sampling, sigma_next: Tensor, eta: float) -> Tensor:
    """sigma_s of the point that the deterministic jump aims at, s = floor((1 - eta) t') <= t'.

    Flow models have no integer timesteps: sigma_s = (1 - eta) sigma'. At the end (sigma' = 0) a VP model jumps to
    t = 0, whose sigma is not 0 (alphas_cumprod[0] = 0.99915 for SD), as diffusers does.
    """
    if is_flow(model_sampling):
        return (1 - eta) * sigma_next
    timestep = max(timestep_of(model_sampling, sigma_next), 0)
    if timestep > 0 and eta == 0:
        return sigma_next  # also where sigma' lies between two timesteps
    s = model_sampling.sigma(torch.tensor(float(math.floor((1 - eta) * timestep)))).to(sigma_next)
    return torch.minimum(s, sigma_next) if sigma_next > 0 else s


def kept(x: Tensor, x0: Tensor, extra_args: dict) -> Tensor:
    """x where an inpainting mask is 1, x0 where it is 0: there x0 is the picture, and t = 0 would add noise to it."""
    mask = extra_args.get("denoise_mask")
    return x if mask is None else x0 + mask * (x - x0)


@torch.no_grad()
def sample_tcd(
    model,
    x: Tensor,
    sigmas: Tensor,
    extra_args=None,
    callback=None,
    disable=None,
    *,
    eta: float = 0.3,
    seed: int | None = None,
    pictures: list[int] | None = None,
) -> Tensor:
    """Jump to s = (1 - eta) t', then noise back up to t'. eta 0 is DDIM, eta 1 noises from t = 0 as LCM does.

        x_s  = alpha_s x0 + sigma_s eps
        x_t' = (alpha'/alpha_s) x_s + sqrt(sigma'^2 - (alpha'/alpha_s)^2 sigma_s^2) z

    The last step of a VP model returns a_0 x_s at t = 0, which is the latent diffusers' TCDScheduler returns.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"TCD sampler: eta must lie in 0..1, got {eta}. 0.3 is the paper's value at 4 steps.")
    require_falling(sigmas)
    extra_args = extra_args or {}
    model_sampling = model_sampling_of(model)
    seed, ones = seed_of(extra_args, seed), x.new_ones([x.shape[0]])
    for i in range(len(sigmas) - 1):
        sigma, sigma_next = sigmas[i], sigmas[i + 1]
        x0 = model(x, sigma * ones, **extra_args)
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigma, "sigma_hat": sigma, "denoised": x0})
        eps = (x - alpha_of(model_sampling, sigma) * x0) / sigma
        sigma_s = inner_sigma(model_sampling, sigma_next, eta)
        alpha_s, alpha_next = alpha_of(model_sampling, sigma_s), alpha_of(model_sampling, sigma_next)
        x = alpha_s * x0 + sigma_s * eps
        if sigma_next == 0:
            return kept(x if is_flow(model_sampling) else x / (1 + sigma_s**2) ** 0.5, x0, extra_args)
        scale = alpha_next / alpha_s
        added = (sigma_next**2 - (scale * sigma_s) ** 2).clamp(min=0).sqrt()
        x = scale * x
        if added > 0:
            x = x + added * step_noise(x, seed, timestep_of(model_sampling, sigma_next), pictures)
    return x
