"""Terms on what the student makes from noise: backward distillation (Imagine Flash) and score matching (VSD, DMD)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..samplers.schedule import expand
from .adversarial import discriminate, generator_loss
from .batch import DROP, STEP, TIME, Batch
from .config import check_fields, require
from .path import Path
from .rollout import own_noise, rollout, student_step
from .terms import distance, guided, solve


@dataclass(frozen=True, kw_only=True)
class ReconstructionOptions:
    """Imagine Flash (Kohler et al. 2024), sections 3.1-3.2. gamma(t), k and the loss weights are not published.

    start "forward" with shift "none" is step distillation, "forward" with "schedule" forward distillation, "forward"
    with "random", fresh noise and one teacher step ADD: the paper's rivals.
    """

    timesteps: tuple[int, ...] = (999, 666, 332)  # the student's steps; the paper's list is not published
    start: Literal["backward", "forward"] = "backward"  # from the student's own rollout, or from the noised picture
    shift: Literal["schedule", "none", "random"] = "schedule"  # the teacher starts at gamma(t), x_t, any level
    gamma_max: float = 900.0  # gamma(t) = gamma_max (t / 999)^gamma_power: 900, 510, 192 for three steps
    gamma_power: float = 1.4
    noise: Literal["own", "fresh"] = "own"  # at gamma(t), the trajectory's; fresh with L2 alone collapses to the mean
    teacher_steps: int = 4  # k
    guidance: float = 7.5  # of the teacher; learnt by the student, which samples without
    loss: Literal["l2", "huber"] = "l2"
    distance: float = 1.0
    adversarial: float = 0.0

    def __post_init__(self):
        checked = {"counts": ("teacher_steps",), "positive": ("gamma_power",), "falling": ("timesteps",)}
        check_fields(self, "Imagine Flash: ", **checked)
        require(0 < self.gamma_max <= 999, f"Imagine Flash: gamma_max must lie in 1..999, got {self.gamma_max}.")
        require(self.guidance > 0, f"Imagine Flash: guidance must be positive, got {self.guidance}. 1 is no guidance.")


def shifted(batch: Batch, t: Tensor, options: ReconstructionOptions) -> Tensor:
    """gamma(t) [b]: the level that the teacher starts from."""
    if options.shift == "none":
        return t
    if options.shift == "random":
        return batch.randint(STEP, 1000)
    return (options.gamma_max * (t.float() / 999) ** options.gamma_power).round().long().clamp(0, 999)


def reconstruction_pair(roles, path: Path, batch: Batch, options: ReconstructionOptions) -> tuple:
    """(student's x0, the teacher's x0 from the shifted point without gradient, t = -1)."""
    index, t = student_step(batch, options.timesteps, TIME)
    if options.start == "forward":
        y = path.noise(batch.x0, batch.noise, t)
    else:
        y = rollout(roles, path, batch, options.timesteps, index)  # x_T->t
    x0 = roles("student", y, path.sigma(t), batch.cond)  # x0s
    with torch.no_grad():
        gamma, chi = shifted(batch, t, options), y
        if options.shift != "none":
            eps = own_noise(path, batch.noise, y, x0, t) if options.noise == "own" else batch.fresh("shift")
            chi = path.noise(x0, eps, gamma)  # q(x0s, eps, gamma(t))
        target = solve(roles, path, batch, chi, gamma, batch.clean, options.guidance, options.teacher_steps)
    return x0, target, batch.clean


def reconstruction(roles, path: Path, batch: Batch, options: ReconstructionOptions) -> tuple[Tensor, dict]:
    """weight || sg teacher^k(q(x0s, eps, gamma(t))) - x0s ||^2 + weight adversarial."""
    x0, target, end = reconstruction_pair(roles, path, batch, options)
    loss = options.distance * distance(x0, target, options.loss)
    fooling, logs = generator_loss(roles, path, batch, x0, end, path.timesteps, options.adversarial)
    return loss + fooling, {"reconstruction": loss.detach(), **logs}


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """The score difference of SwiftBrush (Nguyen and Tran 2024; v2: Dao et al. 2024) and DMD (Yin et al. 2024).

    timesteps: the student's; one is the one-step student, t = 800 Hyper-SD's second product, more need a rollout.
    """

    timesteps: tuple[int, ...] = (999,)
    weight: Literal["vsd", "dmd"] = "dmd"  # of the score difference: see score_gradient
    guidance: float = 7.5  # of the real score
    critic_guidance: float = 1.0  # of the fake score; SwiftBrush guides both
    t_min: int = 20
    t_max: int = 980
    stochastic: bool = True  # rollout with fresh noise (DMD2) or deterministic
    drop: float = 0.1  # share of critic samples with the empty prompt, needed where the critic is guided
    critic_weight: Literal["eps", "vsd"] = "eps"  # of the critic's loss; vsd: eps times a_t, as SwiftBrush
    adversarial: float = 0.0  # weight of the adversarial loss, the data's pictures against the student's
    features: Literal["critic", "teacher"] = "critic"  # what the heads look at: the critic (DMD2), the frozen teacher
    judging: float = 0.01  # weight of the discriminator's loss in the critic's; DMD2's value for SDXL

    def __post_init__(self):
        check_fields(self, "Score matching: ", falling=("timesteps",))
        low, high = self.t_min, self.t_max
        require(0 <= low < high <= 999, f"Score matching: 0 <= t_min < t_max <= 999, got {low}..{high}.")
        require(self.guidance > 0 and self.critic_guidance > 0, "Score matching: guidance must be positive.")
        require(0 <= self.drop <= 1, f"Score matching: drop must lie in 0..1, got {self.drop}.")


def made(roles, path: Path, batch: Batch, options) -> Tensor:
    """The student's x0 at one of its timesteps, reached by its own steps; only the last one carries gradient."""
    index, t = student_step(batch, options.timesteps)
    how = "fresh" if options.stochastic else "corrected"
    y = rollout(roles, path, batch, options.timesteps, index, how)
    return roles("student", y, path.sigma(t), batch.cond)


def score_gradient(roles, path: Path, batch: Batch, x0: Tensor, options: ScoreOptions) -> Tensor:
    """d KL / d x0 up to the weight: fake minus real prediction of the same noised x0.

    vsd: s^2 (eps_real - eps_fake) = a s (x0_fake - x0_real);  dmd: (x0_fake - x0_real) / mean |x0 - x0_real|.
    """
    t = options.t_min + batch.randint(TIME, options.t_max - options.t_min + 1)
    y, sigma = path.noise(x0, batch.fresh("score"), t), path.sigma(t)
    real = guided(roles, "teacher", y, sigma, batch, options.guidance)
    fake = guided(roles, "critic", y, sigma, batch, options.critic_guidance)
    if options.weight == "vsd":
        a, s = path.coefficients(t)
        return expand(a * s, x0) * (fake - real)
    scale = (x0 - real).double().abs().mean(dim=tuple(range(1, x0.ndim)), keepdim=True).clamp(min=1e-6)
    return ((fake - real).double() / scale).to(x0.dtype)


def distribution_matching(roles, path: Path, batch: Batch, options: ScoreOptions) -> tuple[Tensor, dict]:
    """0.5 || x0 - sg(x0 - g) ||^2, whose gradient with respect to x0 is g / n; + weight adversarial (DMD2)."""
    x0 = made(roles, path, batch, options)
    with torch.no_grad():
        gradient = score_gradient(roles, path, batch, x0.detach(), options)
    loss = 0.5 * (x0 - (x0 - gradient).detach()).square().mean()
    fooling, logs = generator_loss(roles, path, batch, x0, batch.clean, path.timesteps, options.adversarial)
    return loss + fooling, {"score": gradient.square().mean().sqrt(), "made_std": x0.detach().std(), **logs}


def made_pair(roles, path: Path, batch: Batch, options: ScoreOptions) -> tuple[Tensor, Tensor, Tensor]:
    """(the student's pictures, the data's, t = -1), for a discriminator on the frozen teacher."""
    return made(roles, path, batch, options), batch.x0, batch.clean


def denoising(roles, path: Path, batch: Batch, options: ScoreOptions) -> tuple[Tensor, dict]:
    """The critic learns the student's pictures: || eps - eps_critic ||^2, some of them under the empty prompt.

    As a discriminator (DMD2) it also learns to tell them from the data's, by heads on its own features.
    """
    with torch.no_grad():
        x0 = made(roles, path, batch, options)
    t = batch.randint(TIME, path.timesteps)
    y = path.noise(x0, batch.fresh("denoise"), t)
    drop = batch.uniform[:, DROP] < options.drop
    cond = {name: torch.where(expand(drop, value), batch.uncond[name], value) for name, value in batch.cond.items()}
    a, s = path.coefficients(t)
    per_x0 = 1 / s if path.flow else a / s  # error of v (flow) or eps (VP) by error of x0
    if options.critic_weight == "vsd":
        per_x0 = a * per_x0
    error = expand(per_x0, x0) * (roles("critic", y, path.sigma(t), cond) - x0)
    loss = error.square().mean()
    logs = {"critic": loss.detach()}
    if options.adversarial and options.features == "critic":
        pair = (x0, batch.x0, batch.clean)
        judged, found = discriminate(roles, path, batch, lambda *_: pair, path.timesteps)
        loss, logs = loss + options.judging * judged, logs | found
    return loss, logs


def to_pictures(roles, path: Path, batch: Batch, options: ScoreOptions) -> tuple[Tensor, dict]:
    """Regularisation to given pictures: || x0_student(q(x0, eps, t)) - x0 ||^2 at the student's first timestep.

    SwiftBrush v2 keeps 5 % of such data ("Ours*") without saying how; DMD's pairs need a teacher's noise for each.
    """
    t = torch.full_like(batch.clean, options.timesteps[0])
    x0 = roles("student", path.noise(batch.x0, batch.noise, t), path.sigma(t), batch.cond)
    loss = distance(x0, batch.x0, "l2")
    return loss, {"to_pictures": loss.detach()}
