"""Methods as they come: what each default must do, held against formulas and an exact teacher."""

import copy
from dataclasses import replace

import pytest
import torch
from fewstep.samplers.schedule import SCHEDULES, flow_sigma
from fewstep.tests.helpers.fake_host import FlowSampling
from fewstep.tests.helpers.gaussian import Mixture, Student, examples, sd_sigmas
from fewstep.tests.helpers.trainers import trainer
from fewstep.training import adversarial, method, methods, pairs, perception, teacher
from fewstep.training.batch import GUIDANCE, LEVEL
from fewstep.training.config import TrainConfig
from fewstep.training.data import make_batch
from fewstep.training.loop import Trainer
from fewstep.training.on_images import bound, with_feedback, with_perceptual
from fewstep.training.options import (
    ConsistencyOptions,
    DiscriminatorOptions,
    DMDOptions,
    FeedbackOptions,
    PairsOptions,
    PerceptionOptions,
    ReconstructionOptions,
    RoleOptions,
    ScoreOptions,
    SwiftBrushOptions,
    TSCDOptions,
)
from fewstep.training.path import Path
from fewstep.training.roles import ModuleRoles
from fewstep.training.state import RunFolder

CPU, PATH = torch.device("cpu"), Path(sd_sigmas())


def student(seed: int) -> Student:
    torch.manual_seed(seed)
    net = Student(Mixture(), PATH)
    torch.nn.init.normal_(net.net[-1].weight, std=0.3)
    return net


def batch_of(count: int = 64, **more):
    return replace(make_batch(examples(64), 0, 0, count, CPU), **more)


# --- discriminator ---------------------------------------------------------------------------------------------------


def test_every_head_has_the_same_say_whatever_the_size_of_its_map():
    large, small = torch.full((2, 4096), 3.0), torch.full((2, 4), -1.0)
    assert adversarial.hinge([large, small], 1).item() == pytest.approx((0 + 2) / 2)


@pytest.mark.parametrize("window", [1000, 500, 250, 125])
def test_levels_are_drawn_above_t_and_not_heaped_up_at_the_top(window):
    """Clamped, every level beyond 999 became 999."""
    batch = batch_of(1000, uniform=torch.rand(1000, 8, generator=torch.Generator().manual_seed(0)))
    t = torch.full((1000,), 899)
    level = adversarial.level_above(batch, t, window, DiscriminatorOptions())
    assert (level > t).all() and level.max() <= 999 and (level == 999).float().mean() < 0.05
    some = adversarial.level_above(
        batch, torch.full((1000,), -1), window, DiscriminatorOptions(level_min=50, level_max=90)
    )
    assert some.min() >= 50 and some.max() <= 90
    assert batch.uniform[:, LEVEL].std() > 0


def test_heads_are_told_level_and_prompt_and_begin_as_if_they_were_not():
    torch.manual_seed(0)
    heads = adversarial.Discriminator([4, 8], 16 + 6, width=8)
    features = [torch.randn(3, 4, 6, 6), torch.randn(3, 8, 2, 2)]
    cond = {"c_crossattn": torch.randn(3, 5, 6), "rows": torch.tensor([1, 2, 3])}
    told = [adversarial.conditions(torch.full((3,), sigma), cond) for sigma in (0.5, 5.0)]
    assert told[0].shape == (3, 22) and not torch.equal(*told)
    assert all(torch.equal(a, b) for a, b in zip(heads(features, told[0]), heads(features, told[1])))
    for head in heads.heads:
        torch.nn.init.normal_(head.tell.weight)
    assert all(not torch.allclose(a, b) for a, b in zip(heads(features, told[0]), heads(features, told[1])))


class Maps(ModuleRoles):
    """Roles whose discriminator sees the noised latents themselves as a map."""

    def discriminator_logits(self, y, sigma, cond):
        return self.discriminator([y / (1 + sigma**2).sqrt().view(-1, 1, 1, 1)], adversarial.conditions(sigma, {}))


def told_rightly(rate: float, turns: int) -> float:
    """The mean share that fresh heads tell rightly in their last turns: smooth maps against the same with blocks."""
    torch.manual_seed(0)
    options = ReconstructionOptions(adversarial=0.1, discriminator=DiscriminatorOptions(rate=rate, level_max=250))
    roles = Maps({}, adversarial.Discriminator([4], 16))
    optimizer = torch.optim.AdamW(roles.discriminator.parameters(), lr=rate, betas=options.discriminator.betas)
    shares = []
    for step in range(turns):
        generator = torch.Generator().manual_seed(step)
        coarse = torch.randn(16, 4, 3, 3, generator=generator)
        real = torch.nn.functional.interpolate(coarse, size=12, mode="bilinear")
        fake = torch.nn.functional.interpolate(coarse, size=12, mode="nearest")
        uniform = torch.rand(16, 8, generator=generator)
        fresh = lambda name, step=step: torch.randn(16, 4, 12, 12, generator=torch.Generator().manual_seed(step))  # noqa: E731
        batch = batch_of(16, noise=real, uniform=uniform, fresh=fresh)
        loss, logs = adversarial.discriminator_loss(roles, PATH, batch, fake, real, batch.clean, options)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        shares.append(logs["discriminator_accuracy"].item())
    return sum(shares[-10:]) / 10


def test_fresh_heads_learn_at_their_default_rate():
    assert told_rightly(DiscriminatorOptions().rate, 80) > 0.7
    assert told_rightly(1e-5, 80) < 0.6  # the rate of published, trained heads


def test_the_student_hears_of_the_discriminator_after_its_head_start():
    options = TSCDOptions(segments=(2, 1), phase_steps=(10, 10), distance=(1.0, 1.0), adversarial=(0.1, 0.1))
    table = methods.tscd(replace(options, discriminator=DiscriminatorOptions(head_start=4)))
    starts = [term.options.adversarial_from for turn in table.turns if turn.role == "student" for term in turn.terms]
    assert starts == [4, 14]
    roles, quiet = ModuleRoles({}), batch_of(4, step=13)
    phase = table.options_of(ConsistencyOptions)[-1]
    assert adversarial.generator_loss(roles, PATH, quiet, quiet.x0, quiet.clean, phase) == (0.0, {})


def test_imagine_flash_holds_the_datas_images_for_real():
    roles = ModuleRoles({"teacher": Mixture(), "student": student(1)})
    batch, options = batch_of(), ReconstructionOptions(adversarial=0.1)
    from fewstep.training.reconstruction import reconstruction_pair

    assert torch.equal(reconstruction_pair(roles, PATH, batch, options)[1], batch.x0)
    retouched = reconstruction_pair(roles, PATH, batch, replace(options, real="teacher"))[1]
    assert not torch.allclose(retouched, batch.x0, atol=0.1)
    assert methods.imagine_flash(options).images and not methods.imagine_flash(ReconstructionOptions()).images


# --- averages, roles, numbers off the device -------------------------------------------------------------------------


def test_a_young_average_forgets_its_start_and_begins_anew_with_each_phase(tmp_path):
    table = methods.tscd(
        TSCDOptions(segments=(2, 1), phase_steps=(30, 30), distance=(1.0,) * 2, adversarial=(0.0,) * 2)
    )
    run = trainer(tmp_path, 60, method=table, ema_decay=0.9, names=("student", "target"))
    decays = []
    for run.step in (0, 9, 29, 30, 39, 59):
        decays.append(round(run.decay(), 4))
    first = [1 / 10, 10 / 19, 30 / 39]
    assert decays == pytest.approx([*first, *first], abs=1e-4)
    run.step = 59
    run.config = replace(run.config, ema_decay=0.5)
    assert run.decay() == 0.5


def test_the_student_of_the_phase_before_is_the_average(tmp_path):
    phases = {"segments": (2, 1), "phase_steps": (3, 3), "distance": (1.0,) * 2, "adversarial": (0.0,) * 2}
    table = methods.tscd(TSCDOptions(**phases, previous_teacher=True))
    roles = ModuleRoles({"teacher": Mixture(), **{name: student(1) for name in ("student", "target", "previous")}})
    config = TrainConfig(steps=4, batch_size=8, learning_rate=1e-2, ema_decay=0.9)
    average = {}

    def note(step, record):
        if step == 3:
            average.update({name: p.detach().clone() for name, p in roles.weights("target").items()})

    Trainer(config, table, roles, PATH, examples(64), RunFolder(tmp_path), CPU, on_step=note).run()
    kept = roles.weights("previous")
    assert all(torch.equal(average[name], p) for name, p in kept.items())
    assert any(not torch.equal(p, roles.weights("student")[name]) for name, p in kept.items())


def test_each_role_trains_by_its_own_numbers_where_the_run_leaves_them_open():
    table = methods.swiftbrush(SwiftBrushOptions())
    own = {role: table.training(role, TrainConfig()) for role in ("student", "critic", "target", "discriminator")}
    assert own["student"].rate == 1e-5 and own["critic"].rate == 1e-3 and own["target"] == own["student"]
    assert own["critic"].layers == "to_q, to_v" and own["student"].layers == "all"
    given = table.training("student", TrainConfig(learning_rate=3e-4, rank=8))
    assert (given.rate, given.rank, given.alpha) == (3e-4, 8, 16.0)  # the paper's alpha is twice the rank
    assert table.training("critic", TrainConfig(learning_rate=3e-4, rank=8)) == own["critic"]
    half = TrainConfig(rank=64, alpha=32.0)  # a critic whose LoRA is left open is scaled as the student's
    assert methods.dmd(DMDOptions()).training("critic", half)[1:3] == (64, 32.0)
    named = methods.dmd(DMDOptions(critic=RoleOptions(rate=1e-4, alpha=16.0)))
    assert named.training("critic", half)[1:3] == (64, 16.0)
    assert methods.lcm(ConsistencyOptions()).training("student", TrainConfig()).rate == 1e-4


def test_a_step_asks_the_device_once_for_each_turn(tmp_path, monkeypatch):
    """Losses and logs come in one transfer; no bool() or float() of a tensor waits besides."""
    counts = {"tolist": 0, "__float__": 0, "__bool__": 0}
    run = trainer(tmp_path, 3)
    run.resume()
    for name in counts:
        whole = getattr(torch.Tensor, name)

        def counted(self, *args, name=name, whole=whole):
            counts[name] += self.numel() > 0 and (name != "tolist" or self.ndim == 1)
            return whole(self, *args)

        monkeypatch.setattr(torch.Tensor, name, counted)
    run.train_step()
    assert counts == {"tolist": 1, "__float__": 0, "__bool__": 0}, counts


# --- pairs, starts below the top -------------------------------------------------------------------------------------


def test_pairs_ask_the_student_with_unit_noise_and_take_the_images_own_noise():
    drawn = torch.randn(64, 2, 1, 1, generator=torch.Generator().manual_seed(5))
    batch, seen = batch_of(image_noise=drawn), {}

    def ask(y, sigma, cond):
        seen.update(y=y, sigma=sigma)
        return y

    x0, target = pairs.regression_pair(ModuleRoles({"student": ask}), PATH, batch, PairsOptions(timestep=399))
    assert torch.equal(target, batch.x0) and seen["sigma"][0] == pytest.approx(1.1606, abs=1e-3)
    assert torch.allclose(seen["y"], drawn * (1 + 1.1606**2) ** 0.5, rtol=1e-3)


def test_without_known_noises_the_teachers_way_begins_at_the_top():
    """Unit noise at t = 399 is no point of the teacher's way: asked from there it would draw another image."""
    asked, batch = [], batch_of()

    def ask(y, sigma, cond):
        asked.append((y, sigma[0].item()))
        return Mixture()(y, sigma, cond)

    roles, options = ModuleRoles({"teacher": ask, "student": student(1)}), PairsOptions(timestep=399, guidance=1.0)
    _, target = pairs.regression_pair(roles, PATH, batch, options)
    assert len(asked) == options.teacher_steps and asked[0][1] == pytest.approx(14.6146, abs=1e-3)
    assert torch.allclose(asked[0][0], PATH.from_paper(batch.noise, torch.full((64,), 999)))
    assert target.abs().max() < 2.5 and target.std() > 0.5  # points on the ring


def test_pairs_beat_the_undistilled_step_at_their_defaults(tmp_path):
    """And below the top they need no 14.6-fold exact network: 399 is nearer than 999 after as many steps."""
    errors = {}
    noise = torch.randn(2048, 2, 1, 1, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(2048) % 2
    cond = {"label": labels[:, None]}
    whole = batch_of(64, noise=noise, cond=cond, uncond={"label": torch.full_like(cond["label"], -1)})
    top = torch.full((2048,), 999)
    images = teacher.solve(
        ModuleRoles({"teacher": Mixture()}), PATH, whole, PATH.from_paper(noise, top), top, top * 0 - 1, 1.0, 40
    )
    data = replace(examples(2048), latents=images, noises=noise, prompts=labels.tolist())
    for t in (399, 999):
        torch.manual_seed(0)
        net = Student(Mixture(), PATH)
        table = methods.pairs(PairsOptions(timestep=t))
        config = TrainConfig(steps=300, batch_size=128, learning_rate=4e-3, decay="cosine", save_every=10_000)
        Trainer(config, table, ModuleRoles({"student": net}), PATH, data, RunFolder(tmp_path / str(t)), CPU).run()
        at = torch.full((2048,), t)
        with torch.no_grad():
            y = PATH.from_paper(noise, at)
            errors[t] = (net(y, PATH.sigma(at), cond) - images).square().mean().item()
            before = (Mixture()(PATH.from_paper(noise, top), PATH.sigma(top), cond) - images).square().mean().item()
    assert errors[399] < 0.5 * before and errors[399] < errors[999], (errors, before)


def test_the_perceptual_distance_is_lpips_with_equal_weights_and_reaches_the_student():
    """Maps of one channel vector each: || u(a) - u(b) ||^2 = 2 - 2 cos(a, b), whatever their lengths."""
    drawn = torch.randn(64, 2, 1, 1, generator=torch.Generator().manual_seed(5))
    batch, shift = batch_of(image_noise=drawn), torch.nn.Parameter(torch.tensor([0.5, -0.2]).view(2, 1, 1))
    roles = ModuleRoles({"student": lambda y, sigma, cond: batch.x0 + shift})
    options = PairsOptions(perceptual=0.25)
    loss, _ = pairs.perceptual(
        roles, PATH, batch, options, lambda images: [images, 3 * images], lambda latents: latents
    )
    cosine = torch.nn.functional.cosine_similarity(batch.x0 + shift, batch.x0, 1)
    assert torch.allclose(loss, (2 - 2 * cosine).mean(), atol=1e-5)
    loss.backward()
    assert shift.grad.abs().min() > 0
    whole = bound(with_perceptual(methods.pairs(options), options, lambda images: [images]), lambda latents: latents)
    assert [term.weight for term in whole.turns[0].terms] == [1.0, 0.25] and whole.options == options


def test_dmd_below_the_top_feeds_unit_noise_and_says_so_in_its_timesteps():
    table, seen = methods.dmd(DMDOptions(score=ScoreOptions(timesteps=(399,)), regression_weight=0.25)), []

    def ask(y, sigma, cond):
        seen.append((y.std().item(), sigma[0].item()))
        return y

    roles = ModuleRoles({"student": ask, "teacher": Mixture(), "critic": Mixture()})
    for term in table.turns[0].terms:
        term(roles, PATH, batch_of())
    assert table.timesteps == ((399,),) and table.timesteps_for(1) == [399]
    assert all(sigma == pytest.approx(1.1606, abs=1e-3) and std == pytest.approx(1.53, rel=0.2) for std, sigma in seen)


# --- flow ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["ddim", "dpmsolver", "dpmsolver++"])
def test_solvers_agree_on_a_flow_model_from_the_very_top(solver):
    """At t = 999 alpha is 0, by which DPM-Solver-2's own step would divide."""
    sampling = FlowSampling(3.0)
    path = Path(torch.tensor([flow_sigma(sampling, t) for t in range(1000)]), flow=True)
    roles, batch = ModuleRoles({"teacher": Mixture(flow=True)}), batch_of()
    t, s = torch.full((64,), 999), torch.full((64,), 899)
    y = path.noise(batch.x0, batch.noise, t)
    exact = teacher.solve(roles, path, batch, y, t, s, 1.0, 100)
    error = (teacher.solve(roles, path, batch, y, t, s, 1.0, 2, solver=solver) - exact).abs().max()
    assert torch.isfinite(error) and error < 1e-3


# --- feedback --------------------------------------------------------------------------------------------------------


class Bright:
    """A reward on a scale of its own."""

    name, alpha, span = "bright", 6.5, (1.0, 10.0)

    def __call__(self, images, prompts):
        return images.flatten(1).mean(1)


@pytest.mark.parametrize(
    "table, stochastic, timesteps",
    [
        (methods.tscd(TSCDOptions()), False, (999, 759, 499, 259)),
        (methods.imagine_flash(ReconstructionOptions()), False, (999, 666, 332)),
        (methods.lcm(ConsistencyOptions()), True, (999, 759, 499, 259)),
        (methods.dmd(DMDOptions(score=ScoreOptions(timesteps=(399,)))), True, (399,)),
    ],
    ids=["TSCD", "ImagineFlash", "LCM", "DMD"],
)
def test_feedback_follows_the_students_own_sampler_and_the_rewards_own_scale(table, stochastic, timesteps):
    options = with_feedback(table, FeedbackOptions(), Bright()).on_images[0].options
    assert (options.stochastic, options.timesteps, options.alpha) == (stochastic, timesteps, 6.5)
    assert with_feedback(table, FeedbackOptions(alpha=2.0), Bright()).on_images[0].options.alpha == 2.0


def test_the_weight_fades_to_zero_by_the_runs_end_unless_told_otherwise():
    fading = FeedbackOptions()
    assert [fading.fading(step, 100) for step in (0, 50, 100)] == [1.0, 0.5, 0.0]
    assert FeedbackOptions(fade="none").fading(99, 100) == 1.0 and FeedbackOptions(fade_steps=10).fading(5, 100) == 0.5


def test_feedback_alone_leaves_the_methods_own_losses_out():
    alone = bound(
        with_feedback(methods.lcm(ConsistencyOptions()), FeedbackOptions(), Bright(), alone=True), lambda x: x
    )
    (turn,) = alone.turns
    assert [type(term.options) for term in turn.terms] == [FeedbackOptions] and not alone.images
    assert alone.sampler == "lcm" and alone.trained == ("student",)


def test_perception_denoises_from_the_noised_image_down_to_a_lower_step():
    """x0 is noised to t_a; the student's own steps go on from there, and x0' is said at one below."""
    asked = []

    def ask(y, sigma, cond):
        asked.append(PATH.table.sub(sigma[0]).abs().argmin().item() - 1)
        return y * 0

    batch = batch_of(32)
    perception.denoised(ModuleRoles({"student": ask}), PATH, batch, PerceptionOptions(timesteps=(759, 499, 259)))
    assert asked[0] == 759 and set(asked[:-1]) <= {759, 499} and len(asked) in (2, 3)
    assert batch.uniform[:, GUIDANCE].std() > 0


# --- what a file says ------------------------------------------------------------------------------------------------


def test_students_of_another_grid_carry_their_own_timesteps():
    assert methods.lcm(ConsistencyOptions()).timesteps == ()
    lists = methods.lcm(ConsistencyOptions(grid=20, skip=50)).timesteps
    assert lists[0] == (999,) and lists[3] == (999, 749, 499, 249) and len(lists) == 8
    jump = ConsistencyOptions(boundary=False, end="random", target="ema", grid=20, skip=50)
    one = {"phase_steps": (1,), "distance": (1.0,), "adversarial": (0.0,)}
    four = methods.tscd(TSCDOptions(segments=(4,), **one, consistency=jump))
    assert four.timesteps_for(4) == [999, 749, 499, 249]
    usual = methods.tscd(TSCDOptions(segments=(4,), **one))
    assert usual.timesteps_for(4) == SCHEDULES["segments"](4)


def test_tscd_has_skip_and_guidance_by_phase_and_hands_its_eta_on():
    table = methods.tscd(TSCDOptions(skip=(20, 40, 100, 200), guidance=(2.0, 3.0, 4.0, 5.0), eta=0.3))
    phases = table.options_of(ConsistencyOptions)
    assert [phase.skip for phase in phases] == [20, 40, 100, 200] and table.eta == 0.3
    assert [(phase.guidance_min, phase.guidance_max) for phase in phases] == [(g, g) for g in (2.0, 3.0, 4.0, 5.0)]
    with pytest.raises(ValueError, match="skip needs one number, or one for each of the 4 phases"):
        TSCDOptions(skip=(20, 40))


def test_a_misspelt_option_is_an_error_and_no_empty_list():
    table = methods.lcm(ConsistencyOptions())
    with pytest.raises(AttributeError):
        [options.guidance_maximum for options in table.options_of(ConsistencyOptions)]
    assert copy.copy(table) == table and method.total(table, table, 1.0).name == "LCM+LCM"
