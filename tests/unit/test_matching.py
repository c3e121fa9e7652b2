"""Distribution matching: the rate of its student, the guidance it comes to rest at, the levels of its steps."""

from dataclasses import replace

import pytest
import torch
from fewstep.tests.helpers.exact_teacher import PATH, awake, some_batch, trained
from fewstep.tests.helpers.gaussian import Mixture, examples
from fewstep.training import methods
from fewstep.training.batch import STEP, TIME, Batch
from fewstep.training.options import DMDOptions, ScoreOptions
from fewstep.training.roles import ModuleRoles
from fewstep.training.score import denoising, distribution_matching, level, score_gradient
from fewstep.training.state import RunFolder
from fewstep.training.teacher import solve


def prompts_alone():
    return replace(examples(), latents=None, shape=(2, 1, 1))


def test_a_critics_head_start_leaves_the_student_its_warm_up(tmp_path):
    """Twelve steps: the critic rises from the first on, the student from its own first, the ninth."""
    method = methods.dmd(DMDOptions(student_every=1, critic_head_start=8))
    trained(method, tmp_path, 12, prompts_alone(), warmup=4, learning_rate=1e-3, decay="constant", batch_size=4)
    rates = [record.get("learning_rate") for record in RunFolder(tmp_path).metrics()]
    assert rates[:8] == [None] * 8 and rates[8:] == [0.25e-3, 0.5e-3, 0.75e-3, 1e-3]


class Scaled:
    """The exact denoiser of the data times c."""

    def __init__(self, c: float):
        self.c = c

    def __call__(self, y, sigma, cond):
        return self.c * Mixture()(y / self.c, sigma / self.c, cond)


def pull(c: float, guidance: float, critic_guidance: float, weight: str) -> float:
    """d loss / d c of the generator x0 = c data whose exact score the critic is: above 0 it shrinks, below it grows."""
    options = ScoreOptions(weight=weight, guidance=guidance, critic_guidance=critic_guidance)
    roles, batch = ModuleRoles({"teacher": Mixture(), "critic": Scaled(c)}), some_batch(2048)
    gradient = score_gradient(roles, PATH, batch, c * batch.x0, options)
    return float((gradient * batch.x0).sum((1, 2, 3)).mean())


@pytest.mark.parametrize("weight", ["vsd", "dmd"])
@pytest.mark.parametrize("guidance", [1.0, 4.5])
def test_equally_guided_scores_come_to_rest_at_the_unguided_teacher(guidance, weight):
    """SwiftBrush: the two guidances cancel, whatever they are."""
    assert pull(1.0, guidance, guidance, weight) == 0
    assert pull(0.95, guidance, guidance, weight) < 0 < pull(1.05, guidance, guidance, weight)


@pytest.mark.parametrize("weight", ["vsd", "dmd"])
def test_a_critic_guided_less_leaves_guidance_to_the_student(weight):
    assert pull(1.0, 2.0, 1.0, weight) < pull(1.0, 2.0, 1.5, weight) < 0


SEVERAL = ScoreOptions(timesteps=(500, 300, 120, 39), levels="segment", t_max=700)


def test_every_level_belongs_to_one_step():
    """Each step has all levels from its own timestep down to the next one's, the first and last also what is left."""
    batch = some_batch(4)
    batch.uniform[:, STEP] = torch.tensor([0.1, 0.3, 0.6, 0.9])
    seen = []
    for share in torch.linspace(0, 1 - 1e-6, 2000):
        batch.uniform[:, TIME] = share
        seen.append(level(batch, SEVERAL, 20, 700))
    ends = [(int(step.min()), int(step.max())) for step in torch.stack(seen).T]
    assert ends == [(301, 700), (121, 300), (40, 120), (20, 39)]


def test_the_levels_of_one_step_are_all_of_them():
    roles, batch = ModuleRoles({"teacher": Mixture(), "critic": awake(1), "student": awake(2)}), some_batch()
    for term in (distribution_matching, denoising):
        losses = [term(roles, PATH, batch, ScoreOptions(levels=levels))[0] for levels in ("all", "segment")]
        assert torch.equal(*losses)
    several = [term(roles, PATH, batch, replace(SEVERAL, levels=levels))[0] for levels in ("all", "segment")]
    assert not torch.isclose(*several)


@pytest.mark.parametrize("wrong", [(999, 499, 10), (999, 990)])
def test_a_step_without_levels_is_refused(wrong):
    with pytest.raises(ValueError, match="levels segment needs later timesteps in 20..979"):
        ScoreOptions(timesteps=wrong, levels="segment")


class Line:
    """The exact denoiser of two classes N(+-mean, std^2) on a line, pictures [b, 1, 1, 1]; the empty prompt is both."""

    def __init__(self, mean: float, std: float):
        self.mean, self.variance = mean, std**2

    def __call__(self, y, sigma, cond):
        label, noise = cond["label"].view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1) ** 2
        right = torch.sigmoid(2 * self.mean * y / (self.variance + noise))  # the share of the class at +mean
        mean = self.mean * (2 * torch.where(label < 0, right, label) - 1)
        return (self.variance * y + noise * mean) / (self.variance + noise)


TEACHER = Line(1.0, 0.5)


def on_the_line(count: int, seed: int) -> Batch:
    random = torch.Generator().manual_seed(seed)
    label = torch.arange(count, dtype=torch.float32).remainder(2)[:, None]
    noise, fresh = torch.randn(2, count, 1, 1, 1, generator=random)
    uniform = torch.rand(count, 6, generator=random)
    return Batch(None, noise, {"label": label}, {"label": label * 0 - 1}, uniform, lambda name: fresh)


def at_rest(guidance: float, critic_guidance: float) -> tuple[float, float]:
    """(mean, std) where a student N(+-mean, std^2) stays under score_gradient, with an exact critic of its images."""
    options = ScoreOptions(weight="vsd", guidance=guidance, critic_guidance=critic_guidance)
    mean, std, seen = 1.3, 0.3, []
    for step in range(400):
        batch = on_the_line(4096, step)
        sign, z = 2 * batch.cond["label"].view(-1, 1, 1, 1) - 1, batch.noise
        roles = ModuleRoles({"teacher": TEACHER, "critic": Line(mean, std)})
        gradient = score_gradient(roles, PATH, batch, mean * sign + std * z, options)
        mean -= 0.3 * float((gradient * sign).mean())
        std -= 0.3 * float((gradient * z).mean())
        seen.append((mean, std))
    return tuple(torch.tensor(seen[200:]).mean(0).tolist())


def drawn(guidance: float) -> tuple[float, float]:
    """(mean, std) of what the teacher draws from noise at that guidance, by its ODE in 200 steps."""
    batch = on_the_line(4096, 0)
    top = torch.full((len(batch),), 999)
    y = PATH.from_paper(batch.noise, top)
    x0 = solve(ModuleRoles({"teacher": TEACHER}), PATH, batch, y, top, batch.clean, guidance, 200)
    towards = x0 * (2 * batch.cond["label"].view(-1, 1, 1, 1) - 1)
    return float(towards.mean()), float(towards.std())


def test_what_two_guidances_aim_at_is_what_another_cfg_draws():
    """Alike: what none draws; 1.5 beside 1 and 2 beside 1.5: about what cfg 2 draws; 2 beside 1: beyond cfg 3."""
    two, three = drawn(2.0), drawn(3.0)
    assert at_rest(4.5, 4.5) == pytest.approx((1.0, 0.5), abs=0.04)
    assert at_rest(1.5, 1.0) == pytest.approx(two, abs=0.06)
    assert at_rest(2.0, 1.5) == pytest.approx(two, abs=0.06)
    beyond = at_rest(2.0, 1.0)
    assert beyond[0] > three[0] > two[0] and beyond[1] < three[1] < two[1]
