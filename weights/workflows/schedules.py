"""Sigmas of the host's schedules on a flow model, as far as they can be told without it."""

from ..families.settings import shifted

EVEN = ("simple", "sgm_uniform", "trailing", "SDTurboScheduler")  # schedules of N even steps from the top


def host_sigmas(name: str | None, steps: int | None, shift: float | None) -> list[float]:
    """The host's schedules on a flow model to three digits; nothing where they or the shift are not known."""
    if not isinstance(steps, int) or not 1 < steps < 1000:
        return [1.0, 0.0] if steps == 1 and name in EVEN else []
    if name == "linear_quadratic":
        return linear_quadratic(steps)
    if not isinstance(shift, int | float) or shift <= 0:
        return []
    if name in EVEN:
        return shifted(steps, shift)
    return [*shifted(steps - 1, shift)[:-1], 0.001, 0.0] if name == "normal" else []


def linear_quadratic(steps: int, threshold: float = 0.025) -> list[float]:
    """Mochi's schedule as the host has it: even steps down to 1 - threshold in the first half, then a parabola to 0."""
    half = steps // 2
    rest = steps - half
    a = (half - threshold * steps) / (half * rest**2)
    b = threshold / half - 2 * (half - threshold * steps) / rest**2
    first = [threshold * j / half for j in range(half)]
    return [1 - t for t in (*first, *(a * j * j + b * j + a * half**2 for j in range(half, steps)), 1.0)]
