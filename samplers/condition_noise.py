"""Noise on the condition that fades along the sampling (Sadat et al. 2024, "CADS", equations 4 and 5).

A few-step student gives nearly the same image for every seed of a prompt; a prompt that is a little unclear while the
layout forms gives that variety back. CADS keeps sqrt(gamma) y + s sqrt(1 - gamma) n and rescales to y's mean and
deviation; here the noise has the deviation of y to begin with, which keeps both. One step from the top fades nothing,
so gamma does not fall to 0 there but to 1 - amount, and each picture keeps its own noise over all steps.
"""

import torch
from torch import Tensor

from .noise import generator_for

SALT = "fewstep/condition-noise/1"


def weight_at(time: float, amount: float, fade: float) -> float:
    """1 - gamma: `amount` at time 1 (pure noise), falling linearly to 0 at time `fade` < 1, and 0 below."""
    return amount * min(max((time - fade) / (1 - fade), 0.0), 1.0)


def noised(condition: Tensor, weight: float, seed: int, pictures: list[int]) -> Tensor:
    """y + noise for rows [b, tokens, width], the picture of each row given by its index; weight: 1 - gamma.

    m + sqrt(gamma) (y - m) + sqrt(1 - gamma) std(y) n, mean and deviation over each row.
    """
    if weight <= 0:
        return condition
    noise = torch.stack(
        [torch.randn(condition.shape[1:], generator=generator_for(SALT, seed, index)) for index in pictures]
    ).to(condition)
    axes = tuple(range(1, condition.ndim))
    mean, std = condition.mean(axes, keepdim=True), condition.std(axes, keepdim=True)
    return mean + (1 - weight) ** 0.5 * (condition - mean) + weight**0.5 * std * noise
