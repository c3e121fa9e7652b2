"""Beside `compare`: zero terminal SNR and rectified flow against diffusers."""

from unittest import mock

import diffusers
import torch
from torch import Tensor

from ...samplers import schedule
from ...samplers.ddim import sample_ddim
from ...samplers.noise import step_noise
from ...tests.helpers.fake_host import DiscreteSampling, FlowSampling, Model
from . import compare

HOST_ABAR = 4.8973451890853435e-08  # where hosts clamp alphas_cumprod at t = 999; diffusers has 0 (TCD, LCM, DDIM)


def clamped() -> DiscreteSampling:
    """Lin et al. 2023, algorithm 1, on SD's schedule, as hosts have it."""
    sigmas = DiscreteSampling().sigmas.double()
    root = (1 / (sigmas**2 + 1)).sqrt()
    abar = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    abar[-1] = HOST_ABAR
    return DiscreteSampling(((1 - abar) / abar).sqrt().float())


def zero_snr(name: str, steps: int, **options) -> float:
    """max |ours - theirs| for v prediction with rescale_betas_zero_snr."""
    scheduler = compare.PAIRS[name][2](prediction_type="v_prediction", rescale_betas_zero_snr=True)
    with mock.patch.object(compare, "DiscreteSampling", clamped):
        sampler, grid, _, last_x0 = compare.PAIRS[name]
        scheduler.set_timesteps(steps)
        ours = compare.ours(sampler, grid(steps), "v_prediction", options)
        theirs = compare.theirs(scheduler, grid(steps), last_x0, options)
    return float((ours - theirs).abs().max())


def velocity(y: Tensor, sigma: float) -> Tensor:
    """A smooth stand-in for a flow network: it believes in an x0 of unit size."""
    x0 = torch.tanh(0.8 * y + 0.3 * torch.roll(y, 1, -1) + sigma / 2)
    return (y - x0) / sigma


def flow(name: str, steps: int, shift: float) -> float:
    """max |ours - theirs| on one list of sigmas: DDIM against Euler, LCM against FlowMatchLCMScheduler."""
    kind = diffusers.FlowMatchEulerDiscreteScheduler if name == "ddim" else diffusers.FlowMatchLCMScheduler
    scheduler, sampling = kind(shift=1.0), FlowSampling(shift)
    sigmas = schedule.sigmas_of(sampling, schedule.trailing_timesteps(steps))
    scheduler.set_timesteps(sigmas=sigmas[:-1].tolist())
    model = Model(lambda y, s, _: y - s.view(-1, 1, 1, 1) * velocity(y, float(s[0])), sampling)
    sampler = sample_ddim if name == "ddim" else compare.PAIRS[name][0]
    ours, y = sampler(model, compare.start(), sigmas, {"seed": compare.SEED}), compare.start()
    for sigma, following, t in zip(sigmas, sigmas[1:], scheduler.timesteps):
        noise = step_noise(y, compare.SEED, schedule.timestep_of(sampling, following))
        with mock.patch(f"{kind.__module__}.randn_tensor", mock.Mock(return_value=noise), create=True):
            y = scheduler.step(velocity(y, float(sigma)), t, y).prev_sample
    return float((ours - y).abs().max())


def table() -> str:
    rows = ["| sampler | steps | zero SNR, v | flow | flow, shift 3 |", "|---|---|---|---|---|"]
    for title, name, steps, options in compare.CASES:
        worst = f"{max(zero_snr(name, n, **options) for n in steps):.1e}"
        flows = [f"{max(flow(name, n, s) for n in range(1, 9)):.1e}" if name != "tcd" else "-" for s in (1.0, 3.0)]
        span = "1-8" if len(steps) == 8 else ", ".join(map(str, steps))
        rows.append(f"| {title} | {span} | {worst} | {flows[0]} | {flows[1]} |")
    return "\n".join(rows)
