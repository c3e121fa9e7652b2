"""Deterministic DDIM (Song et al. 2020, eq. 12 with eta = 0): the sampler of trailing-timestep students."""

import torch
from torch import Tensor

from .schedule import alpha_of, model_sampling_of, require_falling


@torch.no_grad()
def sample_ddim(model, x: Tensor, sigmas: Tensor, extra_args=None, callback=None, disable=None) -> Tensor:
    """x' = alpha' x0 + sigma' eps with eps = (x - alpha x0) / sigma; ends on clean x0 (sigma' = 0)."""
    require_falling(sigmas)
    extra_args = extra_args or {}
    alphas, ones = alpha_of(model_sampling_of(model), sigmas), x.new_ones([x.shape[0]])
    for i in range(len(sigmas) - 1):
        sigma, sigma_next = sigmas[i], sigmas[i + 1]
        x0 = model(x, sigma * ones, **extra_args)
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigma, "sigma_hat": sigma, "denoised": x0})
        eps = (x - alphas[i] * x0) / sigma
        x = alphas[i + 1] * x0 + sigma_next * eps
    return x
