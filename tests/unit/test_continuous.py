"""sCM: on the exact teacher, in closed form, and as the limit of discrete consistency."""

from dataclasses import replace

import pytest
import torch
from fewstep.samplers.lcm import sample_lcm
from fewstep.samplers.schedule import expand
from fewstep.tests.helpers.exact_teacher import PATH, awake, error, some_batch, trained, undistilled
from fewstep.tests.helpers.gaussian import Mixture, Student, sd_sigmas
from fewstep.training import continuous, methods
from fewstep.training.consistency import consistency
from fewstep.training.method import total
from fewstep.training.options import ConsistencyOptions, DMDOptions
from fewstep.training.options_continuous import ContinuousOptions
from fewstep.training.path import Path
from fewstep.training.roles import ModuleRoles

FLOW = Path(torch.linspace(1e-3, 1.0, 1000), flow=True)
PATHS = pytest.mark.parametrize("path", [Path(sd_sigmas()), FLOW], ids=["VP", "flow"])
FREE = ContinuousOptions(guidance=1.0)
PLAIN = replace(FREE, normalise=False, warmup=0.0)


class Smooth(Student):
    """A correction with slow time features, which fades with the noise. With the other (features up to 16 log sigma)
    the run diverges; which difference is the cause was not measured."""

    def forward(self, y, sigma, cond):
        angle, label = torch.atan(sigma)[:, None], cond["label"].view(-1)
        time, one_hot = angle * torch.linspace(0, 2, 8), torch.stack([label == 0, label == 1], 1).float()
        x = y.view(-1, 2) / (1 + sigma**2).sqrt()[:, None]
        made = self.net(torch.cat([x, one_hot, time.sin(), time.cos()], 1))
        return self.teacher(y, sigma, cond) + (angle.sin() * made).view_as(y)


def test_scm_beats_the_undistilled_sampler_at_its_defaults(tmp_path):
    made = trained(methods.scm(FREE), tmp_path, 300, kind=Smooth, learning_rate=1e-3)
    for timesteps in ([999], [999, 499]):
        before, after = undistilled(timesteps), error(made, sample_lcm, timesteps)
        assert after < 0.75 * before, f"{timesteps}: {before:.3f} -> {after:.3f}"


STD = 0.7


class Gaussian(torch.nn.Module):
    """Of N(0, STD^2): the denoiser alpha STD^2 y / V, V = alpha^2 STD^2 + sigma^2; or its ODE's end STD y / V^0.5."""

    def __init__(self, path: Path, end: bool):
        super().__init__()
        self.path, self.end, self.gain = path, end, torch.nn.Parameter(torch.ones(()))

    def forward(self, y, sigma, cond):
        alpha = 1 - sigma if self.path.flow else torch.ones_like(sigma)
        total_variance = (alpha * STD) ** 2 + sigma**2
        return self.gain * y * expand(STD / total_variance.sqrt() if self.end else alpha * STD**2 / total_variance, y)


@PATHS
def test_the_tangent_of_the_exact_consistency_function_is_zero(path):
    """In closed form: along a Gaussian's ODE its end does not move; the teacher itself as student does."""
    teacher, lengths = Gaussian(path, end=False), {}
    batch = some_batch()
    for name, student in (("end", Gaussian(path, end=True)), ("teacher", teacher)):
        roles = ModuleRoles({"teacher": teacher, "student": student})
        lengths[name] = float(
            continuous.continuous_consistency(roles, path, batch, replace(PLAIN, step=1))[1]["tangent"]
        )
    assert lengths["end"] < 0.02 * lengths["teacher"], lengths


@PATHS
def test_scm_is_the_limit_of_discrete_consistency(path):
    """At one timestep its gradient on the student's answer, divided by the known weights, is the discrete one's."""
    teacher, batch = Mixture(flow=path.flow), some_batch()
    student = Student(teacher, path)
    torch.nn.init.normal_(student.net[-1].weight, std=0.3)
    grid, apart = ConsistencyOptions(boundary=False, end="clean", loss="l2", guidance_min=1.0, guidance_max=1.0), []
    for step in (100, 20, 4):
        answers = {}
        for name in ("discrete", "continuous"):
            answers[name] = gradient_of(name, student, teacher, path, batch, step, grid)
        discrete, made = (answers[name].flatten(1) for name in ("discrete", "continuous"))
        apart.append(float(1 - torch.cosine_similarity(discrete, made, dim=1).median()))
    assert apart[0] > apart[1] > apart[2] and apart[2] < 1e-3, apart


def gradient_of(name, student, teacher, path, batch, step, grid):
    """The gradient on the student's answer at t, for the same t in both: the discrete grid is every timestep."""
    seen = []

    def asked(y, sigma, cond):
        x0 = student(y, sigma, cond)
        if torch.is_grad_enabled():
            x0.retain_grad()
            seen.append(x0)
        return x0

    roles = ModuleRoles({"teacher": teacher, "student": asked})
    if name == "discrete":
        low = replace(batch, uniform=batch.uniform.clone())
        low.uniform[:, 0] = (step + batch.uniform[:, 0] * (1000 - step)).floor() / 1000 + 5e-4
        loss = consistency(roles, path, low, replace(grid, grid=1000, skip=step))[0]
    else:
        loss = continuous.continuous_consistency(roles, path, batch, replace(PLAIN, step=step))[0]
    loss.backward()
    return seen[0].grad


def test_a_normalised_tangent_has_the_same_direction_and_a_length_below_one():
    g = torch.randn((8, 2, 3, 3)) * torch.logspace(-3, 3, 8).view(-1, 1, 1, 1)
    made = continuous.normalised(g, 0.1)
    assert torch.allclose(torch.cosine_similarity(g.flatten(1), made.flatten(1), dim=1), torch.ones(8), atol=1e-5)
    lengths = made.square().mean((1, 2, 3)).sqrt()
    assert (lengths < 1).all() and lengths[-1] > 0.999 and (lengths[1:] > lengths[:-1]).all()


def test_the_second_part_of_the_tangent_comes_in_over_the_warm_up():
    roles = ModuleRoles({"teacher": Mixture(), "student": awake(1)})
    options = replace(PLAIN, warmup=0.5)

    def length(step):
        batch = some_batch(step=step, steps=100)
        return float(continuous.continuous_consistency(roles, PATH, batch, options)[1]["tangent"])

    full = float(continuous.continuous_consistency(roles, PATH, some_batch(), PLAIN)[1]["tangent"])
    assert length(0) != pytest.approx(full, rel=1e-3) and length(25) != pytest.approx(full, rel=1e-3)
    assert length(50) == length(99) == pytest.approx(full)


def test_added_to_dmd_it_is_the_sum_that_rcm_trains_on():
    both = total(methods.scm(FREE), methods.dmd(DMDOptions()), 1.0)
    assert [(turn.role, len(turn.terms), turn.every) for turn in both.turns] == [
        ("student", 1, 1),
        ("student", 1, 5),
        ("critic", 1, 1),
    ]
    assert both.sampler == "lcm" and both.trained == ("student", "critic")


@pytest.mark.parametrize("wrong", [{"step": 0}, {"warmup": 2.0}, {"guidance": 0.0}, {"c": 0.0}])
def test_what_makes_no_sense_gets_a_sentence(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ContinuousOptions(**wrong)
