"""The samplers on the host's own model_sampling classes, against data whose denoiser and whose ODE are closed forms.

The data are Gaussian, mean 0.4 and deviation 0.5, or a single point (deviation 0).
"""

import math

import pytest
import torch
from fewstep.samplers import schedule
from fewstep.samplers.ddim import sample_ddim
from fewstep.samplers.imagine_flash import initial_noise, sample_imagine_flash, with_noise_correction
from fewstep.samplers.lcm import sample_lcm
from fewstep.samplers.tcd import inner_sigmas, sample_tcd
from fewstep.tests.helpers.fake_host import Model

pytest.importorskip("comfy", reason="the embedded host is not installed here")
MEAN, STD = 0.4, 0.5
KINDS = ("eps", "v", "v, zero SNR", "flow", "flow, shift 3", "flow, Flux")
FLOWS = [kind for kind in KINDS if kind.startswith("flow")]


def sampling_of(kind: str):
    """The host's own model_sampling object, built as the host builds it."""
    from comfy import model_sampling as host

    if kind == "flow, Flux":
        made = type("Flux", (getattr(host, "ModelSamplingFlux", FluxSampling), host.CONST), {})()
        made.set_parameters(shift=0.8)  # of a picture of about 0.6 megapixels
        return made
    if kind.startswith("flow"):
        made = type("Flow", (host.ModelSamplingDiscreteFlow, host.CONST), {})()
        made.set_parameters(shift=3.0 if "shift" in kind else 1.0)
        return made
    prediction = host.EPS if kind == "eps" else host.V_PREDICTION
    made = type("Discrete", (host.ModelSamplingDiscrete, prediction), {})()
    if "zero" in kind:
        made.set_sigmas(zero_terminal(made.sigmas))
    return made


class FluxSampling(torch.nn.Module):
    """Flux's time shift, for hosts from before Flux: sigma = e^mu / (e^mu + 1/t - 1), and the time is sigma itself."""

    def set_parameters(self, shift: float):
        self.mu = shift

    def sigma(self, t):
        return math.exp(self.mu) / (math.exp(self.mu) + 1 / t - 1)

    def timestep(self, sigma):
        return sigma


def zero_terminal(sigmas: torch.Tensor) -> torch.Tensor:
    """Lin et al. 2023, algorithm 1, with the host's clamp of the last value."""
    root = (1 / (sigmas**2 + 1)).sqrt()
    abar = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    abar[-1] = 4.8973451890853435e-08
    return ((1 - abar) / abar).sqrt()


def model_of(kind: str, std: float = STD) -> Model:
    """The exact network output of this prediction type, made into x0 by the host's own calculate_denoised."""
    sampling = sampling_of(kind)

    def denoise(y, sigma, _):
        s = sigma.view(-1, 1, 1, 1)
        a = schedule.alpha_of(sampling, s)
        x0 = MEAN + a * std**2 / ((a * std) ** 2 + s**2) * (y - a * MEAN)
        if kind.startswith("v"):
            output = (y / (1 + s**2) - x0) * (1 + s**2).sqrt() / s
        else:
            output = (y - x0) / s
        return sampling.calculate_denoised(sigma, output, y)

    return Model(denoise, sampling)


def start(model, timesteps, count=16):
    noise = torch.randn((1, 1, count, count), generator=torch.Generator().manual_seed(4))
    sigmas = schedule.sigmas_of(model.model_sampling, timesteps)
    return noise, model.model_sampling.noise_scaling(sigmas[0], noise, torch.zeros_like(noise), True), sigmas


def deviation(sampling, sigma, std=STD):
    """Of the marginal at sigma: sqrt(alpha^2 std^2 + sigma^2)."""
    return ((schedule.alpha_of(sampling, sigma) * std) ** 2 + sigma**2).sqrt()


@pytest.mark.parametrize("kind", KINDS)
def test_ddim_walks_the_probability_flow(kind):
    """y(sigma') = a' m + (y - a m) dev' / dev; 1,000 steps of a first-order method come within 1 %."""
    model = model_of(kind)
    _, x, sigmas = start(model, schedule.trailing_timesteps(1000)[20:])
    a, dev = schedule.alpha_of(model.model_sampling, sigmas[0]), deviation(model.model_sampling, sigmas[0])
    exact = MEAN + (x - a * MEAN) / dev * STD
    assert (sample_ddim(model, x, sigmas, {}) - exact).abs().max() < 0.01 * 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 2, 4, 8])
@pytest.mark.parametrize("name", ["lcm", "tcd", "ddim", "imagine_flash"])
def test_a_single_point_is_found_from_anywhere(kind, steps, name):
    """The denoiser of one point is that point; a VP model's TCD keeps diffusers' last 3 % of noise."""
    sampler = {"lcm": sample_lcm, "tcd": sample_tcd, "ddim": sample_ddim, "imagine_flash": sample_imagine_flash}[name]
    model = model_of(kind, std=0.0)
    _, x, sigmas = start(model, schedule.lcm_timesteps(steps))
    made = sampler(model, x, sigmas, {})
    rest = 0.03 * 5 if name == "tcd" and not kind.startswith("flow") else 2e-3
    assert (made - MEAN).abs().max() < rest


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("eta", [None, 0.0, 0.3, 1.0], ids=["lcm", "tcd 0", "tcd 0.3", "tcd 1"])
def test_mean_and_variance_of_the_noisy_samplers(kind, eta):
    """Both moments of a linear denoiser propagate exactly; 65,536 values know a deviation to 0.3 %."""
    model = model_of(kind)
    sampling = model.model_sampling
    _, x, sigmas = start(model, [999, 759, 499, 259], 256)
    sigmas = sigmas[:-1]
    made = sample_lcm(model, x, sigmas, {}) if eta is None else sample_tcd(model, x, sigmas, {}, eta=eta)
    centre, variance = x.mean(), x.var()
    timesteps = schedule.timesteps_of(sampling, sigmas)
    inner = sigmas * 0 if eta is None else inner_sigmas(sampling, sigmas, timesteps, eta)
    for sigma, following, s in zip(sigmas, sigmas[1:], inner[1:]):
        a, a_next = schedule.alpha_of(sampling, sigma), schedule.alpha_of(sampling, following)
        gain = a * STD**2 / ((a * STD) ** 2 + sigma**2)
        scale = a_next / schedule.alpha_of(sampling, s)
        jump = scale * (schedule.alpha_of(sampling, s) * gain + s * (1 - a * gain) / sigma)
        centre = a_next * MEAN + jump * (centre - a * MEAN)
        variance = jump**2 * variance + following**2 - (scale * s) ** 2
    assert made.mean() == pytest.approx(float(centre), abs=0.02)
    assert made.std() == pytest.approx(float(variance.sqrt()), rel=0.015)


@pytest.mark.parametrize("kind", ["v, zero SNR", *FLOWS])
def test_noise_correction_does_nothing_where_the_start_is_pure_noise(kind):
    model = model_of(kind)
    noise, x, sigmas = start(model, [999, 666, 332])
    assert torch.allclose(initial_noise(model.model_sampling, x, sigmas[0]), noise, atol=1e-6)
    corrected = with_noise_correction(sample_ddim)(model, x, sigmas, {})
    assert torch.allclose(corrected, sample_ddim(model, x, sigmas, {}), atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("timesteps", [[999], [749, 499, 249]], ids=["one step", "image to image"])
def test_noise_correction_leaves_one_step_and_image_to_image_alone(kind, timesteps):
    model = model_of(kind)
    _, x, sigmas = start(model, timesteps)
    assert torch.equal(sample_imagine_flash(model, x, sigmas, {}), sample_ddim(model, x, sigmas, {}))


@pytest.mark.parametrize("kind", ["eps", "v"])
def test_noise_correction_matters_where_the_schedule_leaks(kind):
    model = model_of(kind)
    _, x, sigmas = start(model, [999, 666, 332])
    assert (sample_imagine_flash(model, x, sigmas, {}) - sample_ddim(model, x, sigmas, {})).abs().mean() > 0.005


@pytest.mark.parametrize("mu", [0.5, 0.8, 1.15])
def test_the_flux_shift_reaches_the_schedule(mu):
    """The trailing list under e^mu / (e^mu + 1/t - 1) with t = (timestep + 1) / 1000: even times, shifted."""
    sampling = sampling_of("flow, Flux")
    sampling.set_parameters(shift=mu)
    made = schedule.sigmas_of(sampling, schedule.trailing_timesteps(4))
    shifted = [math.exp(mu) * t / (1 + (math.exp(mu) - 1) * t) for t in (1, 0.75, 0.5, 0.25, 0)]
    assert torch.allclose(made, torch.tensor(shifted), atol=1e-6)
