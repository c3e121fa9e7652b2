"""The unit start against diffusers' one-step schedulers, and where it must do nothing."""

import pytest
import torch
from diffusers import LCMScheduler
from fewstep.samplers.lcm import sample_lcm
from fewstep.samplers.schedule import sigmas_of
from fewstep.samplers.unit_start import with_unit_start
from fewstep.tests.helpers.fake_host import DiscreteSampling, Model


def eps_net(x, t):
    """Some network in the papers' coordinates: eps(x_t, t)."""
    return torch.tanh(x * 0.7 + 0.001 * t) + 0.1 * x.flip(-1)


class Denoiser:
    """x0 in the host's coordinates, through the same network at a fixed timestep."""

    def __init__(self, timestep):
        self.timestep = timestep

    def __call__(self, y, sigma, cond):
        s = sigma.view(-1, 1, 1, 1)
        return y - s * eps_net(y / (1 + s**2).sqrt(), self.timestep)


def host_model(timestep, latent=None):
    model = Model(Denoiser(timestep), DiscreteSampling(), None)
    if latent is not None:
        model.latent_image = latent
    return model


@pytest.mark.parametrize("timestep", [399, 800])
def test_one_step_below_the_top_is_diffusers_own(timestep):
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    scheduler = LCMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    scheduler.set_timesteps(timesteps=[timestep], original_inference_steps=1000)
    theirs = scheduler.step(eps_net(noise, timestep), scheduler.timesteps[0], noise).prev_sample
    model = host_model(timestep, torch.zeros_like(noise))
    sigmas = sigmas_of(model.model_sampling, [timestep])
    ours = with_unit_start(sample_lcm)(model, noise * sigmas[0], sigmas)  # the host gives noise * sigma below the top
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max().clamp(min=1)
    weaker = sample_lcm(model, noise * sigmas[0], sigmas)
    assert (weaker - theirs).abs().max() > 1e-3


@pytest.mark.parametrize("timestep, latent", [(999, 0.0), (399, 1.0)], ids=["the top", "image to image"])
def test_elsewhere_it_changes_nothing(timestep, latent):
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    model = host_model(timestep, torch.full_like(x, latent))
    sigmas = sigmas_of(model.model_sampling, [timestep])
    assert torch.equal(with_unit_start(sample_lcm)(model, x, sigmas), sample_lcm(model, x, sigmas))
