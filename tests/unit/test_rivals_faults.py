"""Faults seen in other few-step samplers, each as a test that ours must pass; and inputs that others trip over."""

import os

import pytest
import torch
from fewstep.samplers import schedule
from fewstep.samplers.ddim import sample_ddim
from fewstep.samplers.imagine_flash import sample_imagine_flash
from fewstep.samplers.lcm import sample_lcm
from fewstep.samplers.tcd import sample_tcd
from fewstep.samplers.unit_start import with_unit_start
from fewstep.tests.helpers.fake_host import DiscreteSampling, FlowSampling, Model, mixture_model

ALL = [sample_lcm, sample_tcd, sample_ddim, sample_imagine_flash]
NOISY = [sample_lcm, sample_tcd]


def shrinking(sampling=None) -> Model:
    """A cheap denoiser of latents of any shape."""
    return Model(lambda y, sigma, _: torch.tanh(y / (1 + sigma.view(-1, *[1] * (y.ndim - 1)))), sampling)


def latents(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def run(sampler, x=None, timesteps=(999, 759, 499, 259), sampling=None, seed=3, **options):
    model = shrinking(sampling or DiscreteSampling())
    sigmas = schedule.sigmas_of(model.model_sampling, list(timesteps))
    x = latents(1, 4, 8, 8) if x is None else x
    return sampler(model, x * sigmas[0], sigmas, {"seed": seed}, **options)


def test_eta_is_not_ignored():
    made = [run(sample_tcd, eta=eta) for eta in (0.0, 0.1, 0.5, 1.0)]
    assert all((a - b).abs().mean() > 0.01 for i, a in enumerate(made) for b in made[:i])


@pytest.mark.parametrize("sampler", ALL)
def test_no_nan_on_split_skipped_or_foreign_sigmas(sampler):
    """A list with its middle cut out, leftovers of SplitSigmas, and a stock list between timesteps."""
    model = shrinking(DiscreteSampling())
    sigmas = schedule.sigmas_of(model.model_sampling, schedule.lcm_timesteps(8))
    for part in (torch.cat([sigmas[:3], sigmas[5:]]), sigmas[3:], sigmas[:4], sigmas[-2:], sigmas * 0.97):
        assert sampler(model, latents(1, 4, 8, 8) * part[0], part, {"seed": 1}).isfinite().all()


@pytest.mark.parametrize("grid", [25, 100])
def test_the_training_grid_is_not_fixed_to_50_points(grid):
    stride = 1000 // grid
    points = schedule.lcm_timesteps(4, original_steps=grid)
    assert points[0] == 999 and all((t + 1) % stride == 0 for t in points)
    assert run(sample_lcm, timesteps=points).isfinite().all()


def test_a_patch_of_the_models_sampling_is_not_bypassed():
    """The MODEL's object patch decides, not the network's own schedule: other sigmas, other timesteps."""
    patched = DiscreteSampling(DiscreteSampling().sigmas * 2)

    class Patcher:
        def get_model_object(self, name):
            return {"model_sampling": patched}[name]

    model = shrinking(DiscreteSampling())
    model.model_patcher = Patcher()
    sigmas = schedule.sigmas_of(patched, [999, 499])
    by_patch = sample_tcd(model, latents(1, 4, 8, 8) * sigmas[0], sigmas, {"seed": 3})
    wholly = sample_tcd(shrinking(patched), latents(1, 4, 8, 8) * sigmas[0], sigmas, {"seed": 3})
    assert torch.equal(by_patch, wholly)


@pytest.mark.parametrize("sampler", NOISY)
def test_noise_does_not_depend_on_the_global_generator_nor_move_it(sampler):
    torch.manual_seed(1)
    first = run(sampler)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert torch.equal(run(sampler), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert (run(sampler, seed=4) - first).abs().mean() > 0.01


@pytest.mark.parametrize("sampler", NOISY)
def test_renoising_of_flow_models_keeps_their_variance(sampler):
    """x0 + sigma noise would be right for eps models only: at sigma = 0.8 a flow model wants 0.2 x0 + 0.8 noise."""
    model = Model(lambda y, sigma, _: torch.full_like(y, 3.0), FlowSampling())
    options = {"eta": 1.0} if sampler is sample_tcd else {}
    made = sampler(model, latents(1, 1, 256, 256), torch.tensor([1.0, 0.8]), {"seed": 3}, **options)
    assert made.mean() == pytest.approx(0.2 * 3, abs=0.02) and made.std() == pytest.approx(0.8, rel=0.02)


@pytest.mark.parametrize("sampling", [DiscreteSampling(), FlowSampling()], ids=["vp", "flow"])
@pytest.mark.parametrize("sampler", ALL)
def test_video_latents_pass_and_their_frames_get_their_own_noise(sampler, sampling):
    x = latents(2, 4, 1, 8, 8).expand(2, 4, 3, 8, 8)  # three equal frames
    made = run(sampler, x, sampling=sampling)
    assert made.shape == (2, 4, 3, 8, 8) and made.isfinite().all()
    frames_differ = (made[:, :, 0] - made[:, :, 1]).abs().mean() > 0.01
    assert frames_differ == (sampler in NOISY)


ASKED = pytest.mark.skipif(
    "FEWSTEP_TEST_INDUCTOR" not in os.environ,
    reason="compiling takes minutes on a busy machine and wants a C++ compiler: set FEWSTEP_TEST_INDUCTOR=1",
)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=ASKED)])
def test_a_compiled_model_gives_the_same_latents(backend):
    """torch.compile's own tracing and, when asked for, its real backend; each sampler on the same code."""
    torch._dynamo.reset()
    sampling = DiscreteSampling()
    model, sigmas = shrinking(sampling), schedule.sigmas_of(sampling, [999, 499])
    compiled = Model(torch.compile(model.denoiser, backend=backend), sampling)
    x = latents(1, 4, 8, 8) * sigmas[0]
    for sampler in ALL:
        made, plain = sampler(compiled, x, sigmas, {"seed": 1}), sampler(model, x, sigmas, {"seed": 1})
        assert torch.allclose(made, plain, atol=1e-5), sampler.__name__


@pytest.mark.parametrize("sampler", ALL)
@pytest.mark.parametrize("sigmas", [[], [0.0], [2.0]], ids=["empty", "zero", "one"])
def test_leftover_sigmas_without_a_step_change_nothing(sampler, sigmas):
    x = latents(1, 4, 8, 8)
    assert torch.equal(sampler(shrinking(DiscreteSampling()), x, torch.tensor(sigmas), {}), x)


@pytest.mark.parametrize("sampler", ALL)
@pytest.mark.parametrize(
    "sigmas",
    [[0.0, 1.0, 14.6], [5.0, 1.0, 2.0, 0.0], [5.0, 0.0, 0.0]],
    ids=["flipped", "rising", "zero before the end"],
)
def test_sigmas_that_cannot_be_walked_are_refused_in_words(sampler, sigmas):
    with pytest.raises(ValueError, match="the sigmas must fall and reach 0 only at their end, got"):
        sampler(mixture_model(torch.zeros(1, dtype=torch.long)), latents(1, 2, 1, 1), torch.tensor(sigmas), {})


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("flow", [False, True])
@pytest.mark.parametrize("sampler", [*ALL, with_unit_start(sample_lcm)], ids=lambda value: value.__name__)
@pytest.mark.parametrize("sigmas", [[NAN, 1.0, 0.0], [INF, 1.0, 0.0], [5.0, 1.0, -1.0], [1.0, NAN], [INF]], ids=str)
def test_sigmas_that_are_no_numbers_are_refused_in_words(sampler, flow, sigmas):
    model = mixture_model(torch.zeros(1, dtype=torch.long), flow)
    with pytest.raises(ValueError, match="FewStep Sampler: the sigmas must be finite and not negative, got .*FewStep"):
        sampler(model, latents(1, 2, 1, 1), torch.tensor(sigmas), {})


class Inpainted(Model):
    """As the host inpaints: outside the mask the network sees the image at its noise, and x0 is the image."""

    def __init__(self, image, noise, model_sampling):
        super().__init__(lambda y, sigma, _: torch.tanh(y), model_sampling)
        self.image, self.noise = image, noise

    def __call__(self, x, sigma, denoise_mask=None, **_):
        scale = sigma.view(-1, 1, 1, 1)
        x = x * denoise_mask + self.model_sampling.noise_scaling(scale, self.noise, self.image) * (1 - denoise_mask)
        return super().__call__(x, sigma) * denoise_mask + self.image * (1 - denoise_mask)


def near_zero(name: str, table: torch.Tensor) -> torch.Tensor:
    """SIGMAS that end near 0: Karras' and exponential, as the host has them, or explicit timesteps."""
    if name == "karras":
        ramp, low, high = torch.linspace(0, 1, 6), table[0] ** (1 / 7), table[-1] ** (1 / 7)
        return torch.cat([(high + ramp * (low - high)) ** 7, torch.zeros(1)])
    if name == "exponential":
        return torch.cat([torch.linspace(table[-1].log(), table[0].log(), 6).exp(), torch.zeros(1)])
    return torch.cat([table[[999, 499, int(name)]], torch.zeros(1)])


@pytest.mark.parametrize("sampler", ALL, ids=lambda value: value.__name__)
@pytest.mark.parametrize("name", ["karras", "exponential", "1", "0", "259"])
def test_what_a_mask_keeps_stays_on_lists_that_end_near_zero(sampler, name):
    """Also in latents as wide as SD's (deviation 4.7); what is half masked lies between."""
    sampling = DiscreteSampling()
    sigmas = near_zero(name, sampling.sigmas)
    image, noise = 4.7 * latents(1, 4, 8, 8, seed=1), latents(1, 4, 8, 8, seed=2)
    mask = torch.ones(1, 1, 8, 8)
    mask[..., :4] = 0
    x = sampling.noise_scaling(sigmas[0], noise, image)
    made = sampler(Inpainted(image, noise, sampling), x, sigmas, {"seed": 3, "denoise_mask": mask})
    assert (made - image)[..., :4].abs().max() < 1e-4 and (made - image)[..., 4:].abs().mean() > 0.1
