"""A host's model as a sampler sees it, in a few lines: `model(x, sigma) -> x0` and its `model_sampling`."""

import torch
from torch import Tensor

from .gaussian import Mixture, sd_sigmas


class DiscreteSampling:
    """VP schedules (eps and v prediction): y = x0 + sigma eps on a table of 1,000 sigmas."""

    def __init__(self, sigmas: Tensor | None = None):
        self.sigmas = sd_sigmas() if sigmas is None else sigmas

    def noise_scaling(self, sigma, noise, latent, max_denoise=False):
        return latent + noise * (torch.sqrt(1 + sigma**2) if max_denoise else sigma)

    def timestep(self, sigma):
        return (self.sigmas.log()[:, None] - sigma.log()).abs().argmin(0).view(sigma.shape)

    def sigma(self, timestep):
        low = timestep.floor().long()
        log = torch.lerp(self.sigmas.log()[low], self.sigmas.log()[timestep.ceil().long()], timestep.frac())
        return log.exp()


class FlowSampling:
    """Rectified flow with a time shift: y = (1 - sigma) x0 + sigma eps."""

    def __init__(self, shift: float = 3.0):
        self.shift = shift

    def noise_scaling(self, sigma, noise, latent, max_denoise=False):
        return sigma * noise + (1 - sigma) * latent

    def timestep(self, sigma):
        return sigma * 1000

    def sigma(self, timestep):
        time = timestep / 1000
        return self.shift * time / (1 + (self.shift - 1) * time)


class Model:
    """A denoiser with its model_sampling; keeps the timesteps it was called at."""

    def __init__(self, denoiser, model_sampling, cond=None):
        self.denoiser, self.model_sampling, self.cond, self.visited = denoiser, model_sampling, cond, []

    def __call__(self, x, sigma, **_):
        self.visited.append(float(sigma[0]))
        return self.denoiser(x, sigma, self.cond)


def mixture_model(labels: Tensor, flow: bool = False) -> Model:
    """The exact teacher behind a sampler's interface."""
    sampling = FlowSampling() if flow else DiscreteSampling()
    return Model(Mixture(flow), sampling, {"label": labels.view(-1, 1)})
