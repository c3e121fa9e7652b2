"""Strategic stochastic sampling of trajectory consistency models (Zheng et al. 2024, "TCD", algorithm 4)."""

import math

import torch
from torch import Tensor

from .mask import keep
from .noise import seed_of, step_noise
from .schedule import alpha_of, is_flow, model_sampling_of, require_falling, timesteps_of


def inner_sigmas(model_sampling, sigmas: Tensor, timesteps: list[float], eta: float) -> Tensor:
    """sigma_s of the points that the deterministic jumps to `sigmas` [n] aim at, s = floor((1 - eta) t') <= t'.

    Flow models have no integer timesteps: sigma_s = (1 - eta) sigma'. At the end (sigma' = 0) a VP model jumps to
    t = 0, whose sigma is not 0 (alphas_cumprod[0] = 0.99915 for SD), as diffusers does.
    """
    if is_flow(model_sampling):
        return (1 - eta) * sigmas
    s = torch.tensor([float(math.floor((1 - eta) * max(t, 0))) for t in timesteps])
    inner = model_sampling.sigma(s).to(sigmas)
    inner = torch.where(sigmas > 0, torch.minimum(inner, sigmas), inner)
    # Without noise s = t', also where sigma' lies between two timesteps.
    return torch.where((s > 0).to(sigmas.device), sigmas, inner) if eta == 0 else inner


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
    flow, timesteps = is_flow(model_sampling), timesteps_of(model_sampling, sigmas)
    inner = inner_sigmas(model_sampling, sigmas, timesteps, eta)
    alphas, inner_alphas = alpha_of(model_sampling, sigmas), alpha_of(model_sampling, inner)
    seed, ones = seed_of(extra_args, seed), x.new_ones([x.shape[0]])
    for i in range(len(sigmas) - 1):
        sigma, sigma_next = sigmas[i], sigmas[i + 1]
        x0 = model(x, sigma * ones, **extra_args)
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigma, "sigma_hat": sigma, "denoised": x0})
        eps = (x - alphas[i] * x0) / sigma
        sigma_s, alpha_s = inner[i + 1], inner_alphas[i + 1]
        x = alpha_s * x0 + sigma_s * eps
        if sigma_next == 0:
            # t = 0 is not free of noise, so what a mask keeps would get some
            return keep(x if flow else x / (1 + sigma_s**2) ** 0.5, x0, extra_args)
        scale = alphas[i + 1] / alpha_s
        added = (sigma_next**2 - (scale * sigma_s) ** 2).clamp(min=0).sqrt()
        x = scale * x
        if added > 0:
            x = x + added * step_noise(x, seed, timesteps[i + 1], pictures)
    return x
