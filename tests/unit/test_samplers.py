"""The samplers against diffusers' schedulers, given the same noise, and against their own rules."""

import pytest
import torch
from fewstep.samplers import noise as step_noises
from fewstep.samplers import schedule
from fewstep.samplers.ddim import sample_ddim
from fewstep.samplers.imagine_flash import sample_imagine_flash, with_noise_correction
from fewstep.samplers.lcm import sample_lcm
from fewstep.samplers.tcd import sample_tcd
from fewstep.tests.helpers.fake_host import FlowSampling, mixture_model
from fewstep.tests.helpers.gaussian import Mixture

diffusers = pytest.importorskip("diffusers")
from fewstep.benchmarks.parity import compare  # noqa: E402 (it needs diffusers)

SEED = 11


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(
    "name, steps, options",
    [(name, n, options) for _, name, steps, options in compare.CASES for n in steps],
    ids=lambda value: str(value),
)
def test_samplers_agree_with_diffusers(name, steps, options, prediction):
    """Same timesteps, same latents to 1e-5 in fp32, in the VP coordinates."""
    assert compare.difference(name, steps, prediction, **options) <= 1e-5


@pytest.mark.parametrize("strength", [0.3, 0.5, 0.8])
def test_lcm_image_to_image_visits_diffusers_timesteps(strength):
    scheduler = diffusers.LCMScheduler(**compare.SD)
    scheduler.set_timesteps(4, strength=strength)
    assert schedule.lcm_timesteps(4, strength) == scheduler.timesteps.tolist()


def start(model, count: int = 4, seed: int = 5):
    noise = torch.randn((count, 2, 1, 1), generator=torch.Generator().manual_seed(seed))
    sigmas = schedule.sigmas_of(model.model_sampling, schedule.lcm_timesteps(4))
    return model.model_sampling.noise_scaling(sigmas[0], noise, torch.zeros_like(noise)), sigmas


SAMPLERS = [
    (sample_lcm, {}),
    (sample_tcd, {"eta": 0.0}),
    (sample_tcd, {"eta": 0.3}),
    (sample_tcd, {"eta": 1.0}),
    (sample_ddim, {}),
]


@pytest.mark.parametrize("flow", [False, True])
@pytest.mark.parametrize("sampler, options", SAMPLERS)
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_split_sigmas_equal_unsplit(sampler, options, flow, cut):
    model = mixture_model(torch.tensor([0, 1, 0, 1]), flow)
    x, sigmas = start(model)
    whole = sampler(model, x, sigmas, {"seed": SEED}, **options)
    half = sampler(model, x, sigmas[: cut + 1], {"seed": SEED}, **options)
    # The second node has no noise of its own, so the host passes seed 0 and the widget's seed counts.
    seeded = {} if sampler is sample_ddim else {"seed": SEED}
    assert torch.equal(sampler(model, half, sigmas[cut:], {"seed": 0}, **options, **seeded), whole)


@pytest.mark.parametrize("flow", [False, True])
@pytest.mark.parametrize("sampler, options", SAMPLERS)
def test_a_batch_equals_its_single_pictures(sampler, options, flow):
    """Picture i alone, under its index in the batch (the host's batch_index), is picture i of the batch."""
    labels = torch.tensor([0, 1, 0, 1])
    x, sigmas = start(mixture_model(labels, flow))
    whole = sampler(mixture_model(labels, flow), x, sigmas, {"seed": SEED}, **options)
    for i in range(4):
        index = {} if sampler is sample_ddim else {"pictures": [i]}
        model = mixture_model(labels[i : i + 1], flow)
        single = sampler(model, x[i : i + 1], sigmas, {"seed": SEED}, **options, **index)
        assert torch.allclose(single, whole[i : i + 1], atol=1e-6)


def test_step_noise_is_new_at_every_step_and_for_every_seed_and_picture():
    x = torch.empty(2, 4, 8, 8)
    drawn = [step_noises.step_noise(x, seed, t) for seed in (0, 1) for t in (759, 499)]
    pictures = torch.cat(drawn).flatten(1)
    assert torch.equal(drawn[0], step_noises.step_noise(x, 0, 759))
    correlation = torch.corrcoef(pictures) - torch.eye(len(pictures))
    assert correlation.abs().max() < 0.25
    initial = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    assert torch.corrcoef(torch.cat([initial, drawn[0]]).flatten(1))[:2, 2:].abs().max() < 0.25


@pytest.mark.parametrize("sampler, options", SAMPLERS)
def test_the_schedule_is_looked_up_once_a_run(sampler, options, monkeypatch):
    """Twice as many steps ask the table of timesteps no more often."""
    model, asked = mixture_model(torch.tensor([0, 1, 0, 1])), []
    for name in ("sigma", "timestep"):
        whole = getattr(model.model_sampling, name)
        monkeypatch.setattr(model.model_sampling, name, lambda value, f=whole: asked.append(1) or f(value))
    counts = []
    for steps in (4, 8):
        sigmas = schedule.sigmas_of(model.model_sampling, schedule.lcm_timesteps(steps))
        asked.clear()
        sampler(model, torch.zeros(4, 2, 1, 1), sigmas, {"seed": SEED}, **options)
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_eta_changes_the_picture():
    model = mixture_model(torch.zeros(64, dtype=torch.long))
    x, sigmas = start(model, 64)
    made = [sample_tcd(model, x, sigmas, {"seed": SEED}, eta=eta) for eta in (0.0, 0.3, 1.0)]
    assert (made[0] - made[1]).abs().mean() > 0.01 and (made[1] - made[2]).abs().mean() > 0.01


def test_tcd_without_noise_is_ddim_until_the_last_step():
    model = mixture_model(torch.tensor([0, 1, 0, 1]))
    x, sigmas = start(model)
    assert torch.allclose(
        sample_tcd(model, x, sigmas[:-1], {}, eta=0.0), sample_ddim(model, x, sigmas[:-1], {}), atol=1e-6
    )


@pytest.mark.parametrize("sampler, options", SAMPLERS)
def test_flow_models_end_on_the_data(sampler, options):
    """50 steps on a rectified-flow model with the exact velocity reach the mixture's modes."""
    labels = torch.arange(256) % 2
    model = mixture_model(labels, flow=True)
    noise = torch.randn((256, 2, 1, 1), generator=torch.Generator().manual_seed(1))
    sigmas = schedule.sigmas_of(FlowSampling(), schedule.trailing_timesteps(50))
    assert sigmas[0] == 1
    made = sampler(model, noise, sigmas, {"seed": SEED}, **options).flatten(1)
    from fewstep.tests.helpers.gaussian import centers

    nearest = torch.cdist(made, centers())
    assert (nearest.argmin(1) % 2 == labels).float().mean() > 0.98
    assert nearest.min(1).values.mean() < 0.25


def test_callback_gets_the_denoised_picture():
    seen = []
    model = mixture_model(torch.tensor([0, 1, 0, 1]))
    x, sigmas = start(model)
    sample_lcm(model, x, sigmas, {"seed": SEED}, seen.append)
    assert [entry["i"] for entry in seen] == [0, 1, 2, 3]
    assert all(entry["denoised"].shape == x.shape for entry in seen)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: schedule.lcm_timesteps(0), "steps must lie in 1..50"),
        (lambda: schedule.lcm_timesteps(51), "steps must lie in 1..50"),
        (lambda: schedule.lcm_timesteps(4, 0.02), "raise denoise"),
        (lambda: schedule.trailing_timesteps(0), "steps must lie in 1..1000"),
        (lambda: schedule.parse_timesteps("999, x"), "expected integers"),
        (lambda: schedule.parse_timesteps("249, 999"), "falling"),
        (lambda: schedule.parse_timesteps("1000"), "999..0"),
        (lambda: schedule.parse_timesteps(""), "falling"),
        (lambda: sample_tcd(None, torch.zeros(1), torch.zeros(2), eta=1.5), "eta must lie in 0..1"),
        (lambda: step_noises.step_noise(torch.zeros(2, 1), 0, 1, [0]), "picture indices"),
    ],
)
def test_impossible_settings_are_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_models_own_patched_sampling_is_used():
    """A model_sampling patch on the MODEL counts, not the one of the network underneath."""

    class Patcher:
        def get_model_object(self, name):
            assert name == "model_sampling"
            return "patched"

    class Guider:
        model_patcher = Patcher()
        inner_model = None

    class Wrapper:
        inner_model = Guider()

    assert schedule.model_sampling_of(Wrapper()) == "patched"
    with pytest.raises(TypeError, match="model_sampling"):
        schedule.model_sampling_of(object())


def test_known_timestep_lists():
    assert schedule.lcm_timesteps(4) == [999, 759, 499, 259]
    assert schedule.lcm_timesteps(8) == [999, 879, 759, 639, 499, 379, 259, 139]
    assert schedule.trailing_timesteps(4) == [999, 749, 499, 249]
    assert schedule.trailing_timesteps(3) == [999, 666, 332]
    assert schedule.parse_timesteps("999, 749 499,249") == [999, 749, 499, 249]


def test_the_exact_teacher_is_a_denoiser():
    """At small sigma it returns its input, at large sigma the mean of the class."""
    mixture, cond = Mixture(), {"label": torch.tensor([[0]])}
    x = torch.tensor([[1.3, 0.0]]).view(1, 2, 1, 1)
    assert torch.allclose(mixture(x, torch.tensor([0.001]), cond), x, atol=1e-4)
    assert mixture(x, torch.tensor([100.0]), cond).abs().max() < 0.05


# --- Imagine Flash: noise correction ---------------------------------------------------------------------------------


def flash(labels, timesteps, flow=False, scale=True):
    """(corrected, plain DDIM) from the same pure noise on a schedule."""
    model = mixture_model(labels, flow)
    noise = torch.randn((len(labels), 2, 1, 1), generator=torch.Generator().manual_seed(2))
    sigmas = schedule.sigmas_of(model.model_sampling, timesteps)
    x = model.model_sampling.noise_scaling(sigmas[0], noise, torch.zeros_like(noise), max_denoise=scale)
    return sample_imagine_flash(model, x, sigmas, {}), sample_ddim(model, x, sigmas, {}), noise, sigmas, model


def test_the_first_step_keeps_the_drawn_noise():
    """x_t' = a' x0(x_T) + s' eps with the initial noise eps, in closed form."""
    labels = torch.arange(64) % 2
    made, _, noise, sigmas, model = flash(labels, [999, 666])
    x = noise * (1 + sigmas[0] ** 2).sqrt()
    x0 = model(x, sigmas[0] * torch.ones(64))
    first = x0 + sigmas[1] * noise
    assert torch.allclose(made, model(first, sigmas[1] * torch.ones(64)), atol=1e-5)


def test_noise_correction_raises_the_share_of_x0_by_the_papers_arithmetic():
    """At t' the coefficient of x0 grows by s' a_T: 27.9 % of a' at 749, 20.0 % at 666, 11.0 % at 499."""
    table = compare.DiscreteSampling().sigmas
    a, s = 1 / (1 + table**2).sqrt(), table / (1 + table**2).sqrt()
    for t, share in ((749, 0.279), (666, 0.200), (499, 0.110)):
        x0, noise = torch.tensor(0.7), torch.tensor(-0.4)
        corrected = a[t] * x0 + s[t] * noise
        predicted = (noise - a[999] * x0) / s[999]  # the network's noise at T for x_T = noise
        plain = a[t] * x0 + s[t] * predicted
        gain = (corrected - plain - s[t] * noise * (1 - 1 / s[999])) / (a[t] * x0)
        assert gain.item() == pytest.approx(share, abs=0.002)


@pytest.mark.parametrize("cut", [1, 2, 3])
@pytest.mark.parametrize("inner", [sample_ddim, sample_tcd], ids=["imagine_flash", "wrapped"])
def test_noise_correction_is_kept_where_the_sigmas_are_split(inner, cut):
    """A first node of one step ends above 0: there is a rest to go, and it is no single step."""
    model, sampler = mixture_model(torch.tensor([0, 1, 0, 1])), with_noise_correction(inner)
    x, sigmas = start(model)
    whole = sampler(model, x, sigmas, {"seed": SEED})
    half = sampler(model, x, sigmas[: cut + 1], {"seed": SEED})
    assert torch.equal(sampler(model, half, sigmas[cut:], {"seed": SEED}), whole)


@pytest.mark.parametrize(
    "timesteps, flow, why",
    [
        ([999], False, "one step"),
        ([749, 499, 249], False, "image to image below the top"),
        ([999, 666, 332], True, "flow models at sigma 1"),
    ],
)
def test_noise_correction_is_the_identity_for(timesteps, flow, why):
    made, plain, *_ = flash(torch.arange(64) % 2, timesteps, flow)
    assert torch.allclose(made, plain, atol=1e-6), why


def test_noise_correction_is_the_identity_at_zero_terminal_snr():
    """Where a_T = 0 the network's noise is the drawn one; hosts clamp a_T, so to 1e-3."""
    sampling = compare.DiscreteSampling()
    abar = 1 / (1 + sampling.sigmas**2)
    root = abar.sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])  # Lin et al. 2023, algorithm 1
    abar = (root**2).clamp(min=4.8973451890853435e-08)
    model = mixture_model(torch.arange(64) % 2)
    model.model_sampling = compare.DiscreteSampling(((1 - abar) / abar).sqrt())
    noise = torch.randn((64, 2, 1, 1), generator=torch.Generator().manual_seed(2))
    sigmas = schedule.sigmas_of(model.model_sampling, [999, 666, 332])
    x = noise * (1 + sigmas[0] ** 2).sqrt()
    made, plain = sample_imagine_flash(model, x, sigmas, {}), sample_ddim(model, x, sigmas, {})
    assert torch.allclose(made, plain, atol=1e-3) and not torch.isnan(made).any()


def test_noise_correction_changes_two_and_more_steps():
    for timesteps in ([999, 499], [999, 666, 332]):
        made, plain = (
            compare.ours(sampler, timesteps, "epsilon", {}) for sampler in (sample_imagine_flash, sample_ddim)
        )
        assert (made - plain).abs().mean() > 0.005


def test_noise_correction_wraps_any_sampler_and_counts_its_steps_on():
    seen, calls = [], []

    def inner(model, x, sigmas, extra_args, callback, disable, **options):
        calls.append((len(sigmas), options))
        return sample_ddim(model, x, sigmas, extra_args, callback)

    model = mixture_model(torch.tensor([0, 1, 0, 1]))
    x, sigmas = start(model)
    made = with_noise_correction(inner)(model, x, sigmas, {}, seen.append, None, s_churn=0.0)
    assert calls == [(4, {"s_churn": 0.0})] and [state["i"] for state in seen] == [0, 1, 2, 3]
    assert torch.equal(made, sample_imagine_flash(model, x, sigmas, {}))
