"""A guidance scale for each step: "3, 1, 1, 1" costs one pass more than none, and lets a negative prompt work."""

from bisect import bisect_right

TOLERANCE = 1e-5  # relative: sigmas go through other precisions on their way to the network


def scales_of(text: str) -> list[float]:
    """ "3, 1, 1, 1" -> [3.0, 1.0, 1.0, 1.0]: one for each step; the last stands for all after it."""
    try:
        scales = [float(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise ValueError(f"cfg by step: expected numbers such as 3, 1, 1, 1, got {text!r}.") from error
    if not scales or not all(0 <= scale <= 100 for scale in scales):
        raise ValueError(f"cfg by step: expected one to many numbers in 0..100 such as 3, 1, 1, 1, got {text!r}.")
    return scales


def step_of(sigma: float, sigmas: list[float]) -> int:
    """The step i whose part sigmas[i] >= sigma > sigmas[i + 1] of falling sigmas [n + 1] holds sigma; 0 above them all.

    A sampler that looks at both ends of a step (Heun) is at the next step's beginning there.
    """
    reached = bisect_right([-s for s in sigmas], -sigma * (1 - TOLERANCE))  # how many sigmas are larger or equal
    return max(reached - 1, 0)


def scale_at(sigma: float, sigmas: list[float], scales: list[float]) -> float:
    """The guidance scale of the step that holds sigma."""
    return scales[min(step_of(sigma, sigmas), len(scales) - 1)]
