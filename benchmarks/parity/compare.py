"""Our samplers beside diffusers' schedulers: one network, one start, one step noise."""

from unittest import mock

import diffusers
import torch
from torch import Tensor

from ...samplers import schedule
from ...samplers.ddim import sample_ddim
from ...samplers.lcm import sample_lcm
from ...samplers.noise import step_noise
from ...samplers.tcd import sample_tcd
from ...tests.helpers.fake_host import DiscreteSampling, Model

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TRAILING = {"timestep_spacing": "trailing", "clip_sample": False, "set_alpha_to_one": True}
SHAPE, SEED = (2, 4, 8, 8), 11
# name: (our sampler, our timesteps, their scheduler, whether their result is the last x0)
PAIRS = {
    "lcm": (sample_lcm, schedule.lcm_timesteps, lambda **o: diffusers.LCMScheduler(**SD, **o), True),
    "tcd": (sample_tcd, schedule.lcm_timesteps, lambda **o: diffusers.TCDScheduler(**SD, **o), False),
    "ddim": (
        sample_ddim,
        schedule.trailing_timesteps,
        lambda **o: diffusers.DDIMScheduler(**SD, **TRAILING, **o),
        False,
    ),
}


def network(x: Tensor, t: int, prediction: str) -> Tensor:
    """A smooth stand-in for a U-Net, of the paper's x_t and the integer timestep: it believes in an x0 of unit size."""
    sigma = DiscreteSampling().sigmas[t]
    a, s = 1 / (1 + sigma**2).sqrt(), sigma / (1 + sigma**2).sqrt()
    x0 = torch.tanh(0.8 * x + 0.3 * torch.roll(x, 1, -1) + t / 2000)
    eps = (x - a * x0) / s
    return eps if prediction == "epsilon" else a * eps - s * x0


def denoiser(prediction: str):
    """x0 in the host's coordinates from `network`, as the host's EPS and V_PREDICTION compute it."""
    table = DiscreteSampling()

    def x0(y: Tensor, sigma: Tensor, _) -> Tensor:
        s = sigma.view(-1, 1, 1, 1)
        out = network(y / (1 + s**2).sqrt(), int(table.timestep(sigma[:1])), prediction)
        return y - s * out if prediction == "epsilon" else y / (1 + s**2) - s * out / (1 + s**2).sqrt()

    return x0


def start() -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))


def theirs(scheduler, timesteps: list[int], last_x0: bool, options: dict) -> Tensor:
    """The scheduler's own loop, with our step noise in place of its generator's."""
    x, step = start(), None
    for t, following in zip(timesteps, [*timesteps[1:], -1]):
        noise = mock.Mock(return_value=step_noise(x, SEED, following))
        with mock.patch(f"{type(scheduler).__module__}.randn_tensor", noise):
            step = scheduler.step(network(x, t, scheduler.config.prediction_type), t, x, **options)
        x = step.prev_sample
    return step.denoised if last_x0 else x


def ours(sampler, timesteps: list[int], prediction: str, options: dict) -> Tensor:
    """The same start in the host's coordinates: y = x / a = x sqrt(1 + sigma^2)."""
    model = Model(denoiser(prediction), DiscreteSampling())
    sigmas = schedule.sigmas_of(model.model_sampling, timesteps)
    return sampler(model, start() * (1 + sigmas[0] ** 2).sqrt(), sigmas, {"seed": SEED}, **options)


def difference(name: str, steps: int, prediction: str, **options) -> float:
    """max |ours - theirs| of the final latents, after checking that both visit the same timesteps."""
    sampler, grid, make, last_x0 = PAIRS[name]
    scheduler = make(prediction_type=prediction)
    scheduler.set_timesteps(steps)
    timesteps = grid(steps)
    assert timesteps == scheduler.timesteps.tolist(), f"{name}, {steps} steps: {timesteps}"
    a, b = ours(sampler, timesteps, prediction, options), theirs(scheduler, timesteps, last_x0, options)
    return float((a - b).abs().max())


CASES = [
    ("LCM", "lcm", range(1, 9), {}),
    ("TCD, eta 0", "tcd", range(1, 9), {"eta": 0.0}),
    ("TCD, eta 0.3", "tcd", range(1, 9), {"eta": 0.3}),
    ("TCD, eta 1", "tcd", range(1, 9), {"eta": 1.0}),
    # diffusers steps by 1000 // N, not to the next listed timestep: the same thing where 1000 / N is whole
    ("DDIM, trailing", "ddim", (1, 2, 4, 5, 8), {}),
]


def table() -> str:
    """The largest difference over all step counts, as Markdown."""
    rows = ["| sampler | steps | eps | v |", "|---|---|---|---|"]
    for title, name, steps, options in CASES:
        worst = [max(difference(name, n, p, **options) for n in steps) for p in ("epsilon", "v_prediction")]
        span = "1-8" if len(steps) == 8 else ", ".join(map(str, steps))
        rows.append(f"| {title} | {span} | {worst[0]:.1e} | {worst[1]:.1e} |")
    return "\n".join(rows)
