"""The score difference of SwiftBrush (VSD) and DMD, and the critic that estimates the student's score."""

import torch
from torch import Tensor

from ..samplers.schedule import expand
from .adversarial import discriminator_loss, generator_loss
from .batch import DROP, TIME, Batch
from .options import ScoreOptions
from .path import Path
from .rollout import rollout, student_step
from .teacher import guided


def generate(roles, path: Path, batch: Batch, options) -> Tensor:
    """The student's x0 at one of its timesteps, reached by its own steps; only the last one carries gradient."""
    index, t = student_step(batch, options.timesteps)
    how = "fresh" if options.stochastic else "corrected"
    y = rollout(roles, path, batch, options.timesteps, index, how)
    return roles("student", y, path.sigma(t), batch.cond)


def level(batch: Batch, options: ScoreOptions, low: int, high: int) -> Tensor:
    """The timestep [b] that a sample's x0 is noised to, in low..high.

    segment: from just above the student's next timestep to where it was asked for this x0, so that no two steps share a
    level. A critic of all steps' images at one level knows their mixture: a step that is right is pushed on until it
    makes up for the others (of two Gaussians, one held at a mean of 0.8, the other goes to 1.2 instead of 1).
    """
    if options.levels == "segment":
        index, _ = student_step(batch, options.timesteps)
        ends = torch.tensor([high, *options.timesteps[1:], low - 1], device=index.device)
        low, high = ends[index + 1] + 1, ends[index]
    return low + batch.randint(TIME, high - low + 1)


def score_gradient(roles, path: Path, batch: Batch, x0: Tensor, options: ScoreOptions) -> Tensor:
    """d KL / d x0 up to the weight: fake minus real prediction of the same noised x0.

    vsd: s^2 (eps_real - eps_fake) = a s (x0_fake - x0_real);  dmd: (x0_fake - x0_real) / mean |x0 - x0_real|.
    """
    t = level(batch, options, options.t_min, options.t_max)
    y, sigma = path.noise(x0, batch.fresh("score"), t), path.sigma(t)
    real = guided(roles, "teacher", y, sigma, batch, options.guidance)
    fake = guided(roles, "critic", y, sigma, batch, options.critic_guidance)
    return (score_weight(path, x0, real, t, options.weight) * (fake - real).float()).to(x0.dtype)


def score_weight(path: Path, x0: Tensor, real: Tensor, t: Tensor, kind: str) -> Tensor:
    """[b, 1, 1, 1], in fp32. vsd: a s;  dmd: 1 / mean |x0 - x0_real| of each sample."""
    if kind == "vsd":
        a, s = path.coefficients(t)
        return expand(a * s, x0).float()
    # DMD2 takes this mean in fp64, which MPS does not have; in fp32 it is good to 1e-6.
    return 1 / (x0 - real).float().abs().mean(dim=tuple(range(1, x0.ndim)), keepdim=True).clamp(min=1e-6)


def distribution_matching(roles, path: Path, batch: Batch, options: ScoreOptions) -> tuple[Tensor, dict]:
    """0.5 || x0 - sg(x0 - g) ||^2, whose gradient with respect to x0 is g / n; + weight adversarial (DMD2)."""
    x0 = generate(roles, path, batch, options)
    with torch.no_grad():
        gradient = score_gradient(roles, path, batch, x0.detach(), options)
    loss = 0.5 * (x0 - (x0 - gradient).detach()).square().mean()
    adversarial, logs = generator_loss(roles, path, batch, x0, batch.clean, options, path.timesteps)
    return loss + adversarial, {"score": gradient.square().mean().sqrt(), "generated_std": x0.detach().std(), **logs}


def generated_pair(roles, path: Path, batch: Batch, options: ScoreOptions) -> tuple[Tensor, Tensor, Tensor]:
    """(the student's images, the data's, t = -1), for a discriminator on the frozen teacher."""
    return generate(roles, path, batch, options), batch.x0, batch.clean


def denoising(roles, path: Path, batch: Batch, options: ScoreOptions) -> tuple[Tensor, dict]:
    """The critic learns the student's images: || eps - eps_critic ||^2, some of them under the empty prompt.

    As a discriminator (DMD2) it also learns to tell them from the data's, by heads on its own features.
    """
    with torch.no_grad():
        x0 = generate(roles, path, batch, options)
    t = level(batch, options, 0, path.timesteps - 1)
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
        against, more = discriminator_loss(roles, path, batch, x0, batch.x0, batch.clean, options, path.timesteps)
        loss, logs = loss + options.discriminator_weight * against, logs | more
    return loss, logs
