"""Terms on what the student makes from noise: backward distillation (Imagine Flash) and score matching (VSD, DMD)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..samplers.schedule import expand
from .adversarial import discriminate, generator_loss
from .batch import Batch
from .config import require
from .path import Path
from .rollout import grid_index, own_noise, rollout
from .terms import DROP, TIME, distance, guided, solve

STARTS, SHIFTS, NOISES, WEIGHTS = (
    ("backward", "forward"),
    ("schedule", "none", "random"),
    ("own", "fresh"),
    ("vsd", "dmd"),
)


def check_timesteps(timesteps: tuple[int, ...], name: str) -> None:
    falling = all(a > b for a, b in zip(timesteps, timesteps[1:]))
    inside = bool(timesteps) and timesteps[0] <= 999 and timesteps[-1] >= 0
    require(falling and inside, f"{name}: timesteps must fall within 999..0, got {list(timesteps)}.")


@dataclass(frozen=True, kw_only=True)
class ReconstructionOptions:
    """Imagine Flash (Kohler et al. 2024), sections 3.1-3.2. gamma(t), k and the loss weights are not published.

    start "forward" with shift "none" is step distillation, "forward" with "schedule" forward distillation, "forward"
    with "random", fresh noise and one teacher step ADD: the paper's rivals.
    """

    timesteps: tuple[int, ...] = (999, 666, 332)  # the student's steps; the paper's list is not published
    start: str = "backward"  # "backward": the student's own rollout; "forward": the picture with noise, as others do
    shift: str = "schedule"  # level the teacher starts from: gamma(t), "none" (x_t itself) or "random"
    gamma_max: float = 900.0  # gamma(t) = gamma_max (t / 999)^gamma_power: 900, 510, 192 for three steps
    gamma_power: float = 1.4
    noise: str = "own"  # of the shifted point: the trajectory's; with "fresh" noise L2 alone collapses to the mean
    teacher_steps: int = 4  # k
    guidance: float = 7.5  # of the teacher; learnt by the student, which samples without
    loss: str = "l2"
    distance: float = 1.0
    adversarial: float = 0.0

    def __post_init__(self):
        check_timesteps(self.timesteps, "Imagine Flash")
        require(self.start in STARTS, f"Imagine Flash: start must be backward or forward, got {self.start!r}.")
        require(self.shift in SHIFTS, f"Imagine Flash: shift must be schedule, none or random, got {self.shift!r}.")
        require(self.noise in NOISES, f"Imagine Flash: noise must be own or fresh, got {self.noise!r}.")
        require(0 < self.gamma_max <= 999, f"Imagine Flash: gamma_max must lie in 1..999, got {self.gamma_max}.")
        require(self.gamma_power > 0, f"Imagine Flash: gamma_power must be positive, got {self.gamma_power}.")
        require(self.teacher_steps >= 1, f"Imagine Flash: teacher_steps must be at least 1, got {self.teacher_steps}.")
        require(self.guidance > 0, f"Imagine Flash: guidance must be positive, got {self.guidance}. 1 is no guidance.")


def shifted(batch: Batch, t: Tensor, options: ReconstructionOptions) -> Tensor:
    """The level [b] that the teacher starts from."""
    if options.shift == "none":
        return t
    if options.shift == "random":
        return (batch.uniform[:, 1] * 1000).long().clamp(max=999)
    return (options.gamma_max * (t.float() / 999) ** options.gamma_power).round().long().clamp(0, 999)


def student_point(roles, path: Path, batch: Batch, options: ReconstructionOptions) -> tuple[Tensor, Tensor]:
    """(y_t, t): where the student stands, by its own steps or from a picture."""
    index = grid_index(batch, len(options.timesteps))
    t = torch.tensor(options.timesteps, device=index.device)[index]
    if options.start == "forward":
        return path.noise(batch.x0, batch.noise, t), t
    return rollout(roles, path, batch, list(options.timesteps), index), t


def reconstruction_pair(roles, path: Path, batch: Batch, options: ReconstructionOptions) -> tuple:
    """(student's x0, the teacher's x0 from the shifted point without gradient, t = -1)."""
    y, t = student_point(roles, path, batch, options)
    x0 = roles("student", y, path.sigma(t), batch.cond)
    with torch.no_grad():
        gamma, chi = shifted(batch, t, options), y
        if options.shift != "none":
            eps = own_noise(path, batch.noise, y, x0, t) if options.noise == "own" else batch.fresh("shift")
            chi = path.noise(x0, eps, gamma)
        end, scale = torch.full_like(t, -1), torch.full_like(path.sigma(t), options.guidance)
        target = solve(roles, path, batch, chi, gamma, end, scale, options.teacher_steps)
    return x0, target, end


def reconstruction(roles, path: Path, batch: Batch, options: ReconstructionOptions) -> tuple[Tensor, dict]:
    """|| sg teacher^k(q(x0s, eps, gamma(t))) - x0s ||^2 + weight adversarial."""
    x0, target, end = reconstruction_pair(roles, path, batch, options)
    loss = options.distance * distance(x0, target, options.loss)
    logs = {"reconstruction": loss.detach()}
    if options.adversarial:
        fooling = generator_loss(roles, path, batch, x0, end, path.timesteps)
        loss, logs["fooling"] = loss + options.adversarial * fooling, fooling.detach()
    return loss, logs


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """The score difference of SwiftBrush (Nguyen and Tran 2024; v2: Dao et al. 2024) and DMD (Yin et al. 2024).

    timesteps: the student's; one is the one-step student, t = 800 Hyper-SD's second product, more need a rollout.
    """

    timesteps: tuple[int, ...] = (999,)
    weight: str = "dmd"  # "dmd": over mean |x0 - real x0|; "vsd": s_t^2 on eps
    guidance: float = 7.5  # of the real score
    critic_guidance: float = 1.0  # of the fake score; SwiftBrush guides both
    t_min: int = 20
    t_max: int = 980
    stochastic: bool = True  # rollout with fresh noise (DMD2) or deterministic
    drop: float = 0.1  # share of critic samples with the empty prompt, needed where the critic is guided
    critic_weight: str = "eps"  # of the critic's loss: "eps", or "vsd": eps times a_t, as SwiftBrush
    adversarial: float = 0.0  # weight of the adversarial loss, the data's pictures against the student's
    features: str = "critic"  # what the discriminator's heads look at: the critic (DMD2) or the frozen "teacher"
    judging: float = 0.01  # weight of the discriminator's loss in the critic's; DMD2's value for SDXL

    def __post_init__(self):
        check_timesteps(self.timesteps, "Score matching")
        require(self.weight in WEIGHTS, f"Score matching: weight must be vsd or dmd, got {self.weight!r}.")
        require(self.critic_weight in ("eps", "vsd"), f"critic_weight must be eps or vsd, got {self.critic_weight!r}.")
        require(
            0 <= self.t_min < self.t_max <= 999,
            f"Score matching: 0 <= t_min < t_max <= 999, got {self.t_min}..{self.t_max}.",
        )
        require(self.guidance > 0 and self.critic_guidance > 0, "Score matching: guidance must be positive.")
        require(0 <= self.drop <= 1, f"Score matching: drop must lie in 0..1, got {self.drop}.")
        known = self.features in ("critic", "teacher")
        require(known, f"Score matching: features must be critic or teacher, got {self.features!r}.")


def made(roles, path: Path, batch: Batch, options) -> Tensor:
    """The student's x0 at one of its timesteps, reached by its own steps; only the last one carries gradient."""
    index = grid_index(batch, len(options.timesteps), column=1)
    t = torch.tensor(options.timesteps, device=index.device)[index]
    how = "fresh" if options.stochastic else "corrected"
    y = rollout(roles, path, batch, list(options.timesteps), index, how)
    return roles("student", y, path.sigma(t), batch.cond)


def score_gradient(roles, path: Path, batch: Batch, x0: Tensor, options: ScoreOptions) -> Tensor:
    """d KL / d x0 up to the weight: fake minus real prediction of the same noised x0.

    vsd: s^2 (eps_real - eps_fake) = a s (x0_fake - x0_real);  dmd: (x0_fake - x0_real) / mean |x0 - x0_real|.
    """
    t = options.t_min + (batch.uniform[:, TIME] * (options.t_max - options.t_min + 1)).long()
    t = t.clamp(max=options.t_max)
    y, sigma = path.noise(x0, batch.fresh("score"), t), path.sigma(t)
    scales = [torch.full_like(sigma, g) for g in (options.guidance, options.critic_guidance)]
    real = guided(roles, "teacher", y, sigma, batch.cond, batch.uncond, scales[0])
    fake = guided(roles, "critic", y, sigma, batch.cond, batch.uncond, scales[1])
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
    logs = {"score": gradient.square().mean().sqrt(), "made_std": x0.detach().std()}
    if options.adversarial:
        fooling = generator_loss(roles, path, batch, x0, clean_end(batch), path.timesteps)
        loss, logs["fooling"] = loss + options.adversarial * fooling, fooling.detach()
    return loss, logs


def clean_end(batch: Batch) -> Tensor:
    """t = -1 of every sample: clean pictures."""
    return torch.full((len(batch),), -1, device=batch.noise.device)


def made_pair(roles, path: Path, batch: Batch, options: ScoreOptions) -> tuple[Tensor, Tensor, Tensor]:
    """(the student's pictures, the data's, t = -1), for a discriminator on the frozen teacher."""
    return made(roles, path, batch, options), batch.x0, clean_end(batch)


def denoising(roles, path: Path, batch: Batch, options: ScoreOptions) -> tuple[Tensor, dict]:
    """The critic learns the student's pictures: || eps - eps_critic ||^2, some of them under the empty prompt.

    As a discriminator (DMD2) it also learns to tell them from the data's, by heads on its own features.
    """
    with torch.no_grad():
        x0 = made(roles, path, batch, options)
    t = (batch.uniform[:, TIME] * path.timesteps).long().clamp(max=path.timesteps - 1)
    y = path.noise(x0, batch.fresh("denoise"), t)
    cond = dropped(batch.cond, batch.uncond, batch.uniform[:, DROP] < options.drop)
    a, s = path.coefficients(t)
    per_x0 = 1 / s if path.flow else a / s  # error of v (flow) or eps (VP) by error of x0
    if options.critic_weight == "vsd":
        per_x0 = a * per_x0
    error = expand(per_x0, x0) * (roles("critic", y, path.sigma(t), cond) - x0)
    loss = error.square().mean()
    logs = {"critic": loss.detach()}
    if options.adversarial and options.features == "critic":
        pair = (x0, batch.x0, clean_end(batch))
        judged, found = discriminate(roles, path, batch, lambda *_: pair, path.timesteps)
        loss, logs = loss + options.judging * judged, logs | found
    return loss, logs


def dropped(cond, uncond, drop: Tensor):
    """The empty prompt where drop [b] says so."""
    if isinstance(cond, dict):
        return {key: dropped(cond[key], uncond[key], drop) for key in cond}
    return torch.where(drop.view(-1, *[1] * (cond.ndim - 1)), uncond, cond)


def to_pictures(roles, path: Path, batch: Batch, options: ScoreOptions) -> tuple[Tensor, dict]:
    """Regularisation to given pictures: || x0_student(q(x0, eps, t)) - x0 ||^2 at the student's first timestep.

    SwiftBrush v2 keeps 5 % of such data ("Ours*") without saying how; DMD's pairs need a teacher's noise for each.
    """
    t = torch.full((len(batch),), options.timesteps[0], device=batch.noise.device)
    x0 = roles("student", path.noise(batch.x0, batch.noise, t), path.sigma(t), batch.cond)
    loss = distance(x0, batch.x0, "l2")
    return loss, {"to_pictures": loss.detach()}
