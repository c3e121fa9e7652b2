"""Every method against an exact teacher, and where methods must coincide."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from fewstep.samplers import schedule
from fewstep.samplers.imagine_flash import sample_imagine_flash
from fewstep.samplers.lcm import sample_lcm
from fewstep.samplers.tcd import sample_tcd
from fewstep.tests.helpers.exact_teacher import CPU, PATH, awake, discriminator, error, some_batch, trained, undistilled
from fewstep.tests.helpers.fake_host import DiscreteSampling, Model
from fewstep.tests.helpers.gaussian import Mixture, examples
from fewstep.training import consistency, distances, methods, score, teacher
from fewstep.training.batch import DROP, END, TIME
from fewstep.training.config import TrainConfig
from fewstep.training.data import make_batch
from fewstep.training.feedback import feedback
from fewstep.training.loop import Trainer
from fewstep.training.method import total
from fewstep.training.on_images import with_feedback
from fewstep.training.options import (
    SWIFTBRUSH_SCORE,
    ConsistencyOptions,
    DiscriminatorOptions,
    DMDOptions,
    FeedbackOptions,
    ReconstructionOptions,
    RoleOptions,
    ScoreOptions,
    SwiftBrushOptions,
    TSCDOptions,
)
from fewstep.training.path import Path
from fewstep.training.rewards import RewardSum
from fewstep.training.roles import ModuleRoles
from fewstep.training.rollout import rollout
from fewstep.training.state import RunFolder
from fewstep.training.validation import HeldOut

FREE = {"guidance_min": 1.0, "guidance_max": 1.0}
JUMP = ConsistencyOptions(boundary=False, end="random", loss="l2", **FREE)


def prompts_alone():
    return replace(examples(), latents=None, shape=(2, 1, 1))


# --- exact teacher ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end, share", [("floor", 0.85), ("random", 0.85)], ids=["PCM", "TSCD"])
def test_segmented_students_beat_the_undistilled_sampler(end, share, tmp_path):
    jump = replace(JUMP, skip=100, solver_steps=3, end=end, target="ema")
    options = TSCDOptions(segments=(4,), phase_steps=(300,), distance=(1.0,), adversarial=(0.0,), consistency=jump)
    made = trained(methods.tscd(options), tmp_path, 300, ema_decay=0.9)
    timesteps = [999, 739, 499, 239]
    before, after = undistilled(timesteps), error(made, partial(sample_tcd, eta=0.0), timesteps)
    assert after < share * before, f"{before:.3f} -> {after:.3f}"


def test_tscd_over_its_phases_makes_a_one_step_student(tmp_path):
    jump = replace(JUMP, skip=100, solver_steps=3, target="ema")
    options = TSCDOptions(
        segments=(4, 2, 1),
        phase_steps=(150, 150, 300),
        distance=(1.0, 1.0, 1.0),
        adversarial=(0.0, 0.02, 0.02),
        previous_teacher=True,
        discriminator=DiscriminatorOptions(rate=1e-3, head_start=0),
        consistency=jump,
    )
    made = trained(methods.tscd(options), tmp_path, 600, ema_decay=0.9)
    for timesteps in ([999], [999, 499]):
        before, after = undistilled(timesteps), error(made, partial(sample_tcd, eta=0.0), timesteps)
        assert after < 0.8 * before, f"{timesteps}: {before:.3f} -> {after:.3f}"
    metrics = RunFolder(tmp_path).metrics()
    assert "discriminator_accuracy" not in metrics[0] and "discriminator_accuracy" in metrics[-1]


def test_lcf_takes_a_few_step_student_to_other_pictures(tmp_path):
    """The pictures lie on a smaller ring than those it was distilled on; no teacher is asked: the role is missing."""
    start = trained(methods.lcm(replace(JUMP, end="clean", boundary=True, skip=240, solver_steps=6)), tmp_path, 150)
    before = error(start, sample_lcm, [999, 499], scale=0.5)
    method = methods.lcf(ConsistencyOptions(skip=240, loss="l2", target="ema", **FREE))
    roles = ModuleRoles({"student": start, "target": copy.deepcopy(start)})
    config = TrainConfig(steps=200, batch_size=128, learning_rate=2e-3, ema_decay=0.9, decay="cosine")
    own = replace(examples(), latents=0.5 * examples().latents)
    Trainer(config, method, roles, PATH, own, RunFolder(tmp_path / "lcf"), CPU).run()
    after = error(roles.denoisers["target"], sample_lcm, [999, 499], scale=0.5)
    assert after < 0.6 * before, f"{before:.3f} -> {after:.3f}"


def test_imagine_flash_on_prompts_alone_beats_the_undistilled_sampler(tmp_path):
    """The data has no pictures: backward distillation that looked at one would raise."""
    options = ReconstructionOptions(guidance=1.0, gamma_max=600, teacher_steps=6)
    made = trained(methods.imagine_flash(options), tmp_path, 300, prompts_alone(), ema_decay=0.9)
    timesteps = list(options.timesteps)
    before = min(undistilled(timesteps), error(Mixture(), sample_imagine_flash, timesteps))
    after = error(made, sample_imagine_flash, timesteps)
    assert after < 0.8 * before, f"{before:.3f} -> {after:.3f}"


def test_fresh_noise_at_the_shifted_level_collapses_to_the_mean(tmp_path):
    """The trap: the target then does not depend on the student's input, and L2 averages over it."""
    own = ReconstructionOptions(guidance=1.0, gamma_max=900, teacher_steps=6)
    errors = {}
    for noise in ("own", "fresh"):
        method = methods.imagine_flash(replace(own, noise=noise))
        made = trained(method, tmp_path / noise, 300, prompts_alone(), ema_decay=0.9)
        errors[noise] = error(made, sample_imagine_flash, list(own.timesteps))
    assert errors["fresh"] > 1.5 * errors["own"], errors


@pytest.mark.parametrize("name", ["swiftbrush", "dmd"])
def test_score_matching_on_prompts_alone_beats_the_undistilled_step(name, tmp_path):
    kind = DMDOptions if name == "dmd" else SwiftBrushOptions
    scores = replace(kind().score, guidance=1.0, critic_guidance=1.0)
    options = replace(kind(), score=scores, student_every=3, critic=RoleOptions(rate=4e-3))
    made = trained(
        getattr(methods, name)(options), tmp_path, 900, prompts_alone(), learning_rate=1e-3, decay="constant"
    )
    before, after = undistilled([999]), error(made, sample_lcm, [999])
    assert after < 0.6 * before, f"{before:.3f} -> {after:.3f}"


class Blind(torch.nn.Module):
    """A score that says nothing: as teacher and critic it leaves the adversarial loss alone."""

    def forward(self, y, sigma, cond):
        return torch.zeros_like(y)


class Shift(torch.nn.Module):
    """A generator of one number for each coordinate: x0 = 0.3 z + shift."""

    def __init__(self):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(2, 1, 1))

    def forward(self, y, sigma, cond):
        return 0.3 * y / (1 + sigma**2).sqrt().view(-1, 1, 1, 1) + self.shift


@pytest.mark.parametrize("features", ["critic", "teacher"])
def test_the_adversarial_loss_alone_takes_a_generator_to_the_pictures(features, tmp_path):
    """Pictures 0.3 z + (1, -0.5), the generator starts at 0.3 z."""
    score = ScoreOptions(guidance=1.0, adversarial=1.0, features=features, discriminator_weight=1.0)
    heads = DiscriminatorOptions(rate=1e-3, head_start=0)
    score = replace(score, discriminator=heads)
    method = methods.dmd(DMDOptions(score=score, student_every=1, critic=RoleOptions(rate=1e-3)))
    noise = torch.randn((4096, 2, 1, 1), generator=torch.Generator().manual_seed(3))
    target = torch.tensor([1.0, -0.5]).view(2, 1, 1)
    roles = ModuleRoles(
        {"student": Shift(), "teacher": Blind(), "critic": Blind()}, discriminator(), method.discriminator_features
    )
    if features == "teacher":  # nothing of this critic can learn
        method = replace(method, turns=tuple(turn for turn in method.turns if turn.role != "critic"))
    config = TrainConfig(steps=400, batch_size=128, learning_rate=1e-2, decay="cosine", save_every=10_000)
    data = replace(examples(), latents=0.3 * noise + target)
    Trainer(config, method, roles, PATH, data, RunFolder(tmp_path), CPU).run()
    made = roles.denoisers["student"].shift.detach()
    assert (made - target).abs().max() < 0.25, made.flatten()
    assert "discriminator_accuracy" in RunFolder(tmp_path).metrics()[-1]


def test_heads_on_the_critic_train_it_too_and_leave_the_student_alone(tmp_path):
    """DMD2: the classification loss reaches the critic's own weights; its turn leaves no gradient on the student."""
    heads = DiscriminatorOptions(head_start=0)
    score = ScoreOptions(guidance=1.0, adversarial=1.0, discriminator_weight=1.0, discriminator=heads)
    method = methods.dmd(DMDOptions(score=score))
    critic_turn = next(turn for turn in method.turns if turn.role == "critic")
    assert {turn.role for turn in method.turns} == {"student", "critic"} and method.images
    roles = ModuleRoles({role: awake(n) for n, role in enumerate(("student", "critic"))}, discriminator(), "critic")
    (term,) = critic_turn.terms
    term(roles, PATH, some_batch())[0].backward()
    assert all(p.grad is not None for name, p in roles.parameters("critic").items() if "teacher" not in name)
    assert all(p.grad is None for p in roles.parameters("student").values())


# --- coincidences ----------------------------------------------------------------------------------------------------


def some_roles() -> ModuleRoles:
    return ModuleRoles({"teacher": Mixture(), "student": awake(1), "target": awake(2), "critic": awake(3)})


def test_one_segment_ending_at_clean_is_lcm_without_scalings():
    roles, batch = some_roles(), some_batch()
    lcm = consistency.consistency(roles, PATH, batch, ConsistencyOptions(boundary=False, skip=100, **FREE))[0]
    jumped = partial(consistency.jump, options=replace(JUMP, skip=100))
    t, s, _ = consistency.trajectory(PATH, batch, replace(JUMP, end="clean", skip=100))
    y = PATH.noise(batch.x0, batch.noise, t)
    end = torch.full_like(t, -1)
    with torch.no_grad():
        y_s = PATH.move(y, roles("teacher", y, PATH.sigma(t), batch.cond), t, s)
        by_jump = distances.distance(
            jumped(roles, "student", PATH, y, t, end, batch.cond),
            jumped(roles, "student", PATH, y_s, s, end, batch.cond),
            "huber",
        )
    assert torch.allclose(lcm, by_jump, rtol=1e-5)


def test_tscd_whose_end_is_drawn_at_the_floor_is_pcm():
    roles, batch = some_roles(), some_batch()
    batch.uniform[:, END] = 0
    tscd = consistency.consistency(roles, PATH, batch, replace(JUMP, segments=4, skip=60))[0]
    pcm = consistency.consistency(roles, PATH, batch, replace(JUMP, segments=4, skip=60, end="floor"))[0]
    assert torch.equal(tscd, pcm)


def test_an_end_at_s_makes_the_target_the_teachers_own_step():
    roles, batch = some_roles(), some_batch()
    batch.uniform[:, END] = 1 - 1e-7
    options = replace(JUMP, segments=2, skip=60)
    t, s, end = consistency.trajectory(PATH, batch, options)
    assert torch.equal(end, s)
    _, target, _ = consistency.consistency_pair(roles, PATH, batch, options)
    y = PATH.noise(batch.x0, batch.noise, t)
    step = PATH.move(y, roles("teacher", y, PATH.sigma(t), batch.cond), t, s)
    assert torch.allclose(target, PATH.paper_x(step, s), atol=1e-5)


@pytest.mark.parametrize("segments", [1, 2, 4, 8])
@pytest.mark.parametrize("skip", [20, 100])
def test_no_interval_is_empty_and_no_jump_leaves_its_segment(segments, skip):
    batch = some_batch()
    options = replace(JUMP, segments=segments, skip=skip)
    for index in range(50):
        batch.uniform[:, TIME] = (index + 0.5) / 50
        t, s, end = consistency.trajectory(PATH, batch, options)
        floor = consistency.floor_of(t, options)
        assert (t == (index + 1) * 20 - 1).all() and (floor <= end).all() and (end <= s).all() and (s < t).all()


def test_a_critic_that_is_the_teacher_gives_no_gradient():
    roles = ModuleRoles({"teacher": Mixture(), "critic": Mixture(), "student": awake(1)})
    options = ScoreOptions(guidance=2.0, critic_guidance=2.0)
    gradient = score.score_gradient(roles, PATH, some_batch(), some_batch().x0, options)
    assert (gradient == 0).all()


def test_swiftbrush_at_its_defaults_is_the_papers():
    """Both scores guided by 4.5, the student's gradient s^2 (eps_real - eps_fake), the critic's eps weighted by a_t,
    turn about; all recomputed here from the published formulas."""
    method, roles, batch = methods.swiftbrush(SwiftBrushOptions()), some_roles(), some_batch()
    student, critic = method.turns
    assert (student.role, student.every, critic.role, critic.every) == ("student", 1, "critic", 1)
    rates = {role: method.training(role, TrainConfig()) for role in ("student", "critic")}
    assert rates["critic"][:4] == (1e-3, 64, 128.0, "to_q, to_v") and rates["student"][1:3] == (256, 512.0)

    def eps(role: str, y, t):
        x0 = [roles(role, y, PATH.sigma(t), cond) for cond in (batch.cond, batch.uncond)]
        with_text, without = (PATH.eps(y, x, t) for x in x0)
        return without + 4.5 * (with_text - without)

    x0 = roles("student", PATH.from_paper(batch.noise, batch.clean + 1000), PATH.sigma(batch.clean + 1000), batch.cond)
    t = 20 + batch.randint(TIME, 961)
    a, s = (part.view(-1, 1, 1, 1) for part in PATH.coefficients(t))
    y = PATH.noise(x0, batch.fresh("score"), t)
    gradient = s**2 * (eps("teacher", y, t) - eps("critic", y, t))
    (term,) = student.terms
    loss = term(roles, PATH, batch)[0]
    assert term.weight == 1 and torch.allclose(loss, 0.5 * gradient.square().mean(), rtol=1e-3)

    t = batch.randint(TIME, 1000)
    a, noise = PATH.coefficients(t)[0].view(-1, 1, 1, 1), batch.fresh("denoise")
    y = PATH.noise(x0, noise, t)
    dropped = batch.uniform[:, DROP] < 0.1
    cond = {"label": torch.where(dropped[:, None], batch.uncond["label"], batch.cond["label"])}
    error = a * (PATH.eps(y, roles("critic", y, PATH.sigma(t), cond), t) - noise)
    assert torch.allclose(critic.terms[0](roles, PATH, batch)[0], error.square().mean(), rtol=1e-3)


def test_dmd_under_swiftbrushs_numbers_is_swiftbrush_and_under_its_own_is_not():
    roles, batch, own = some_roles(), some_batch(), DMDOptions()
    theirs = replace(own, score=SWIFTBRUSH_SCORE, student_every=1)
    losses = [
        [turn.terms[0](roles, PATH, batch)[0] for turn in method.turns]
        for method in (methods.swiftbrush(SwiftBrushOptions()), methods.dmd(theirs), methods.dmd(own))
    ]
    assert torch.equal(torch.stack(losses[0]), torch.stack(losses[1]))
    assert not torch.isclose(losses[0][0], losses[2][0])


def test_the_vsd_gradient_is_the_papers():
    """s_t^2 (eps_real - eps_fake), from the papers' own eps; and the loss hands it to x0 unchanged."""
    roles, batch = some_roles(), some_batch()
    options = ScoreOptions(weight="vsd", guidance=1.0)
    x0 = batch.x0.clone().requires_grad_()
    gradient = score.score_gradient(roles, PATH, batch, batch.x0, options)
    t = (20 + (batch.uniform[:, 0] * 961).long()).clamp(max=980)
    a, s = (c.view(-1, 1, 1, 1) for c in PATH.coefficients(t))
    x = a * batch.x0 + s * batch.fresh("score")
    eps = [(x - a * roles(r, x / a, PATH.sigma(t), batch.cond)) / s for r in ("teacher", "critic")]
    assert torch.allclose(gradient, s**2 * (eps[0] - eps[1]), atol=1e-4)
    (0.5 * (x0 - (x0 - gradient).detach()).square().mean()).backward()
    assert torch.allclose(x0.grad, gradient / x0.numel(), atol=1e-9)


@pytest.mark.parametrize("solver", ["dpmsolver", "dpmsolver++"])
def test_second_order_solvers_are_nearer_to_the_exact_trajectory(solver):
    roles, batch = ModuleRoles({"teacher": Mixture()}), some_batch()
    t, s = torch.full((64,), 699), torch.full((64,), 299)
    y, scale = PATH.noise(batch.x0, batch.noise, t), torch.ones(64)
    exact = teacher.solve(roles, PATH, batch, y, t, s, scale, 400)

    def miss(solver: str, steps: int) -> float:
        return float((teacher.solve(roles, PATH, batch, y, t, s, scale, steps, solver=solver) - exact).square().mean())

    assert miss(solver, 4) < 0.5 * miss("ddim", 8)


def test_a_rollout_is_the_imagine_flash_sampler(tmp_path):
    student, batch = awake(1), some_batch()
    roles = ModuleRoles({"student": student})
    timesteps, index = [999, 666, 332], torch.arange(64) % 3
    y = rollout(roles, PATH, batch, timesteps, index)
    model = Model(student, DiscreteSampling(), batch.cond)
    sigmas = schedule.sigmas_of(model.model_sampling, timesteps)
    seen = []
    sample_imagine_flash(
        model, PATH.from_paper(batch.noise, torch.full((64,), 999)), sigmas, callback=lambda s: seen.append(s["x"])
    )
    for n in range(3):
        assert torch.allclose(y[index == n], seen[n][index == n], atol=1e-4)


def test_one_network_in_flow_and_vp_coordinates_has_one_trajectory_loss():
    """y_flow = (1 - sigma_f) y_vp with sigma_f = sigma / (1 + sigma): the same points, so the same x0 jumps."""
    vp, flow = PATH, Path(PATH.sigmas / (1 + PATH.sigmas), flow=True)
    net = awake(1)

    def seen_by_flow(y, sigma, cond):
        return net(y / (1 - sigma).view(-1, 1, 1, 1), sigma / (1 - sigma), cond)

    options = ConsistencyOptions(boundary=False, skip=100, loss="l2", **FREE)
    a = consistency.consistency(ModuleRoles({"teacher": net, "student": net}), vp, some_batch(), options)[0]
    b = consistency.consistency(
        ModuleRoles({"teacher": seen_by_flow, "student": seen_by_flow}), flow, some_batch(), options
    )[0]
    assert torch.allclose(a, b, rtol=1e-3)


# --- terms -----------------------------------------------------------------------------------------------------------


def test_the_hinge_leaves_good_pictures_alone_and_fades():
    roles, batch = some_roles(), some_batch(prompts=["a"] * 64)
    options = FeedbackOptions(timesteps=(999,), alpha=0.5, fade_steps=10)

    def loss_at(score: float, step: int = 0):
        batch.step = step
        reward = lambda pictures, prompts: pictures.flatten(1).sum(1) * 0 + score  # noqa: E731
        return feedback(roles, PATH, batch, options, reward, lambda latents: latents)[0].item()

    assert loss_at(0.6) == 0 and loss_at(0.2) == pytest.approx(0.3) and loss_at(0.2, 5) == pytest.approx(0.15)
    assert loss_at(0.2, 10) == 0


def test_a_method_on_pictures_says_so_when_there_are_none():
    batch = make_batch(prompts_alone(), 0, 0, 4, CPU)
    with pytest.raises(ValueError, match="prompts alone"):
        consistency.consistency(some_roles(), PATH, batch, ConsistencyOptions(**FREE))


def test_a_sum_of_methods_has_the_terms_of_both():
    first = methods.lcm(ConsistencyOptions(**FREE))
    second = methods.swiftbrush(SwiftBrushOptions(student_every=1))
    both = total(first, second, 0.5)
    student, critic = both.turns
    assert [term.weight for term in student.terms] == [1.0, 0.5] and critic.role == "critic"
    assert set(both.roles) == {"student", "target", "critic"} and both.images
    rewarded = with_feedback(second, FeedbackOptions(weight=3.0), RewardSum([]))
    assert [term.weight for term in total(first, rewarded, 0.5).on_images] == [1.5]


@pytest.mark.parametrize(
    "kind, options, message",
    [
        (ReconstructionOptions, {"loss": "lpips"}, "loss must be l2 or huber, got 'lpips'"),
        (ReconstructionOptions, {"shift": "far"}, "shift must be one of schedule, none, random"),
        (ReconstructionOptions, {"timesteps": (333, 666)}, r"timesteps must fall within 999..0, got \[333, 666\]"),
        (ReconstructionOptions, {"gamma_power": 0.0}, "gamma_power must be positive, got 0.0"),
        (ScoreOptions, {"features": "student"}, "features must be critic or teacher"),
        (DMDOptions, {"student_every": 0}, "student_every must be at least 1, got 0"),
        (FeedbackOptions, {"timesteps": (9, 99)}, r"timesteps must fall within 999..0, got \[9, 99\]"),
    ],
)
def test_impossible_options_are_refused_in_words(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_phases_take_turns_without_gap_or_overlap():
    method = methods.tscd(TSCDOptions(phase_steps=(3, 2, 2, 1), previous_teacher=True))
    due = [[t.terms[0].options.segments for t in method.turns if t.role == "student" and t.due(n)] for n in range(10)]
    assert due == [[8], [8], [8], [4], [4], [2], [2], [1], [1], [1]]
    assert method.handovers == (3, 5, 7) and "previous" in method.roles
    plain = methods.tscd(TSCDOptions())
    assert not plain.handovers and plain.roles == ("student", "target", "discriminator")


def test_the_held_out_error_falls_with_training_and_is_zero_for_a_perfect_student(tmp_path):
    batch = make_batch(prompts_alone(), 0, 0, 64, CPU, stream="held-out")
    held = HeldOut(PATH, batch, [999, 759, 499, 259], 1.0, 50)
    fresh = ModuleRoles({"teacher": Mixture(), "student": Mixture()})
    options = replace(JUMP, end="clean", boundary=True, skip=240, solver_steps=6)
    learnt = trained(methods.lcm(replace(options, target="ema")), tmp_path, 200, ema_decay=0.9)
    before = held.error(fresh, "student")
    assert held.error(ModuleRoles({"teacher": Mixture(), "student": learnt}), "student") < 0.7 * before
    many = HeldOut(PATH, batch, list(range(999, 0, -20)), 1.0, 50)
    assert many.error(fresh, "student") < 0.1 * before
