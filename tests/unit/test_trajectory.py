"""TDM: on the exact teacher, against the published formulas, and where it is DMD."""

from dataclasses import replace

import pytest
import torch
from fewstep.samplers.ddim import sample_ddim
from fewstep.tests.helpers.exact_teacher import PATH, awake, error, some_batch, trained, undistilled
from fewstep.tests.helpers.gaussian import Mixture, examples, sd_sigmas
from fewstep.training import methods, score, trajectory
from fewstep.training.options import RoleOptions, ScoreOptions
from fewstep.training.options_trajectory import MOMENTUM, TrajectoryOptions
from fewstep.training.path import Path
from fewstep.training.roles import ModuleRoles

FLOW = Path(torch.linspace(1e-3, 1.0, 1000), flow=True)
PATHS = pytest.mark.parametrize("path", [Path(sd_sigmas()), FLOW], ids=["VP", "flow"])
FREE = TrajectoryOptions(guidance=1.0)


def some_roles(**others):
    return ModuleRoles({"teacher": Mixture(), "student": awake(1), "critic": awake(2), **others})


def test_tdm_beats_the_undistilled_sampler_at_its_defaults(tmp_path):
    options = replace(FREE, critic=RoleOptions(rate=4e-3, betas=MOMENTUM))
    data = replace(examples(), latents=None, shape=(2, 1, 1))
    made = trained(methods.tdm(options), tmp_path, 400, data, learning_rate=8e-4)
    for timesteps in options.lists():
        before, after = undistilled(list(timesteps)), error(made, sample_ddim, list(timesteps))
        assert after < 0.9 * before, f"{timesteps}: {before:.3f} -> {after:.3f}"


def step_gradient(loss, student_answer):
    return torch.autograd.grad(loss, student_answer)[0]


class Keeping:
    """A student whose last answer with gradient is kept."""

    def __init__(self, student):
        self.student = student

    def __call__(self, *asked):
        answer = self.student(*asked)
        if torch.is_grad_enabled():
            self.answer = answer
        return answer


def test_one_step_over_all_levels_is_dmd():
    """From 999 to the clean end, with the squared distance: the same noised picture, the same gradient on x0."""
    student, batch = Keeping(awake(1)), some_batch()
    roles = some_roles(student=student)
    one = replace(FREE, steps=(1,), top=1000, loss="l2", guidance=2.0)
    ours = step_gradient(trajectory.trajectory_matching(roles, PATH, batch, one)[0], student.answer)
    levels = {"t_min": one.t_min, "t_max": 999 - one.margin - 1}
    dmd = ScoreOptions(timesteps=(999,), stochastic=False, guidance=2.0, **levels)
    theirs = step_gradient(score.distribution_matching(roles, PATH, batch, dmd)[0], student.answer)
    assert theirs.abs().max() > 0 and torch.allclose(ours, theirs, rtol=1e-3, atol=1e-7)


@PATHS
@pytest.mark.parametrize("loss", ["huber", "l2"])
def test_a_critic_that_is_the_teacher_gives_no_gradient(path, loss):
    student = Keeping(awake(1))
    mixture = Mixture(flow=path.flow)
    roles = ModuleRoles({"teacher": mixture, "critic": mixture, "student": student})
    loss, logs = trajectory.trajectory_matching(roles, path, some_batch(), replace(FREE, loss=loss))
    assert logs["score"] < 1e-6 and step_gradient(loss, student.answer).abs().max() < 1e-6


@PATHS
@pytest.mark.parametrize("levels", ["segment", "above"])
def test_levels_lie_in_the_steps_own_segment(path, levels):
    """Of 1, 2 and 4 steps: above s and t_min, below t or top; the point at s lies on the student's trajectory."""
    options, batch = TrajectoryOptions(steps=(1, 2, 4), levels=levels), some_batch(2000)
    roles = ModuleRoles({"student": Mixture(flow=path.flow)})
    at = trajectory.place(roles, path, batch, options)
    x0 = roles("student", at.y, path.sigma(at.t), batch.cond)
    tau = trajectory.level(path, batch, at, x0, options, "score").tau
    upper = at.t if levels == "segment" else torch.full_like(at.t, 899)
    assert (tau > at.s).all() and (tau >= 20).all() and (tau < upper - 9).all()
    steps = {(899, -1), (899, 449), (449, -1), (899, 674), (674, 449), (449, 224), (224, -1)}
    assert set(zip(at.t.tolist(), at.s.tolist())) == steps


def test_the_trajectory_is_the_samplers():
    """What the terms train on is what the ddim sampler passes through, step for step."""
    options, student, batch = TrajectoryOptions(), awake(1), some_batch()
    roles = some_roles(student=student)
    at = trajectory.place(roles, PATH, batch, options)
    y, grid = PATH.from_paper(batch.noise, torch.full((64,), 899)), [*options.timesteps(4), -1]
    for here, there in zip(grid, grid[1:]):
        t, s, on = torch.full((64,), here), torch.full((64,), there), at.t == here
        assert on.any() and torch.allclose(at.y[on], y[on], rtol=1e-3, atol=1e-4) and (at.s[on] == there).all()
        with torch.no_grad():
            y = PATH.move(y, student(y, PATH.sigma(t), batch.cond), t, s)


@PATHS
def test_the_critics_loss_is_the_authors(path):
    """Recomputed in the papers' unit-variance coordinates: mixed noise, importance, Min-SNR."""
    critic, student = awake(2), awake(1)
    roles = ModuleRoles({"critic": critic, "student": student})
    options, batch = TrajectoryOptions(), some_batch()
    at = trajectory.place(roles, path, batch, options)
    with torch.no_grad():
        x0 = student(at.y, path.sigma(at.t), batch.cond)
        eps = path.eps(at.y, x0, at.t)
    noised = trajectory.level(path, batch, at, x0, options, "denoise")
    (a_s, s_s), (a, s) = ([part.view(-1, 1, 1, 1) for part in path.coefficients(t)] for t in (at.s, noised.tau))
    beta = (s**2 - (a / a_s * s_s) ** 2).sqrt()
    z = batch.fresh("denoise")
    mixed = (a / a_s * s_s * eps + beta * z) / s
    x = a * x0 + s * mixed
    assert torch.allclose(path.paper_x(noised.y, noised.tau), x, rtol=1e-3, atol=1e-3)
    weight = torch.minimum((a / s) ** 2, torch.tensor(5.0))
    weight = weight * torch.exp((z**2).mean((1, 2, 3), True) / 2 - (mixed**2).mean((1, 2, 3), True) / 2)
    with torch.no_grad():
        wrong = critic(noised.y, path.sigma(noised.tau), batch.cond) - x0
        loss = trajectory.trajectory_denoising(roles, path, batch, options)[0]
    assert torch.allclose(loss, (weight * wrong**2).mean(), rtol=1e-2)


def test_each_turn_leaves_the_other_network_alone():
    student, critic = awake(1), awake(2)
    roles, batch = some_roles(student=student, critic=critic), some_batch()
    turns = {turn.role: turn.terms[0] for turn in methods.tdm(FREE).turns}
    for role, mine, other in (("critic", critic, student), ("student", student, critic)):
        for network in (mine, other):
            network.zero_grad()
        turns[role](roles, PATH, batch)[0].backward()
        assert mine.net[-1].weight.grad.abs().max() > 0
        assert role == "student" or all(p.grad is None for p in other.net.parameters())
        assert other.net[-1].weight.grad is None


def test_the_students_lists_are_those_it_was_trained_for():
    assert TrajectoryOptions().lists() == ((899,), (899, 449), (899, 674, 449), (899, 674, 449, 224))
    assert TrajectoryOptions(steps=(3, 4)).lists()[2] == (899, 599, 299)
    method = methods.tdm(TrajectoryOptions(steps=(1, 2), top=1000))
    assert method.timesteps_for(2) == [999, 499] and method.most == 2 and not method.images


@pytest.mark.parametrize(
    "wrong", [{"steps": ()}, {"steps": (4, 2)}, {"steps": (40,)}, {"top": 2000}, {"t_min": 900}, {"guidance": 0.0}]
)
def test_what_makes_no_sense_gets_a_sentence(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrajectoryOptions(**wrong)
