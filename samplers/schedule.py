"""Timesteps, sigmas and the two coordinate systems.

The host's samplers hold y = alpha x0 + sigma eps. For VP models (SD, eps or v prediction) alpha = 1: y is the paper's
x_t divided by a_t, and sigma = s_t / a_t. For flow models alpha = 1 - sigma. Everything here asks the model's own
`model_sampling` which of the two it is, so custom betas, zero terminal SNR and shifted flow schedules come along.
"""

import torch
from torch import Tensor

TRAIN_TIMESTEPS = 1000


def model_sampling_of(model) -> torch.nn.Module:
    """The `model_sampling` a sampler must use: the MODEL's patched one where there is a patcher, else the first found.

    Raises TypeError when neither the model nor anything it wraps has one.
    """
    while model is not None:
        if hasattr(model, "model_patcher"):
            return model.model_patcher.get_model_object("model_sampling")
        if hasattr(model, "model_sampling"):
            return model.model_sampling
        model = getattr(model, "inner_model", None)
    raise TypeError("FewStep: the sampler was called with a model that has no model_sampling.")


def expand(values: Tensor, x: Tensor) -> Tensor:
    """[b] -> [b, 1, 1, ...], to broadcast against x."""
    return values.reshape(values.shape + (1,) * (x.ndim - values.ndim))


def alpha_of(model_sampling, sigma: Tensor) -> Tensor:
    """What multiplies x0 at `sigma` in the sampler's coordinates: 1 for VP, 1 - sigma for flow. Same shape as sigma."""
    return model_sampling.noise_scaling(sigma, torch.zeros_like(sigma), torch.ones_like(sigma))


def is_flow(model_sampling) -> bool:
    """True for rectified-flow models (the host's CONST), False for VP models (eps and v prediction)."""
    return alpha_of(model_sampling, torch.tensor(0.5)).item() < 1


def require_timesteps(model_sampling) -> None:
    """Refuse VP models whose time is not 0..999 (EDM: CosXL, Playground v2.5), where every list here is meaningless.

    The host's "Distilled" tables round to every 20th timestep, so as much is allowed.
    """
    middle = model_sampling.sigma(torch.tensor(500.0))
    if abs(float(model_sampling.timestep(middle)) - 500) > 20:
        raise ValueError(
            "FewStep: this model has no 1,000 timesteps (EDM or continuous), which few-step schedules need. "
            "Use a stock sampler and scheduler, or an SD, SDXL or flow model."
        )


def flow_sigma(model_sampling, timestep: int) -> float:
    """The sigma of a flow model at a timestep in 0..999: time (t + 1) / 1000 under the model's own shift; 999 is noise.

    Not its percent_to_sigma, which leaves the shift out in early hosts.
    """
    whole = float(model_sampling.timestep(torch.tensor(1.0)))  # how the model counts time: to 1000, or to 1 (Flux)
    return min(float(model_sampling.sigma((timestep + 1) / TRAIN_TIMESTEPS * whole)), 1.0)


def timesteps_of(model_sampling, sigmas: Tensor) -> list[float]:
    """The timestep in 0..999 that belongs to each of `sigmas` [n]; -1 for sigma = 0, where no noise is left."""
    if is_flow(model_sampling):
        return [sigma * TRAIN_TIMESTEPS - 1 for sigma in sigmas.tolist()]
    require_timesteps(model_sampling)
    found = model_sampling.timestep(sigmas).tolist()
    return [float(t) if sigma > 0 else -1.0 for t, sigma in zip(found, sigmas.tolist())]


def timestep_of(model_sampling, sigma: Tensor) -> float:
    """The timestep of one sigma."""
    return timesteps_of(model_sampling, sigma.reshape(1))[0]


def sigmas_of(model_sampling, timesteps: list[int]) -> Tensor:
    """SIGMAS [n + 1] in fp32 for timesteps in 0..999, closed by 0."""
    if is_flow(model_sampling):
        return torch.tensor([flow_sigma(model_sampling, t) for t in timesteps] + [0.0])
    require_timesteps(model_sampling)
    return torch.tensor([float(model_sampling.sigma(torch.tensor(float(t)))) for t in timesteps] + [0.0])


def listed(sigmas: Tensor, most: int = 8) -> str:
    """The first sigmas, for an error."""
    return ", ".join(f"{float(sigma):.3g}" for sigma in sigmas[:most]) + (", ..." if len(sigmas) > most else "")


def require_numbers(sigmas: Tensor) -> None:
    """Refuse sigmas that are infinite, not numbers or negative: every sampler would give a latent of NaN for them."""
    if not bool((sigmas.isfinite() & (sigmas >= 0)).all()):
        raise ValueError(
            f"FewStep Sampler: the sigmas must be finite and not negative, got {listed(sigmas)}. Look at the node on "
            "the sampling node's sigmas input; FewStep Schedule gives the model's own."
        )


def require_falling(sigmas: Tensor) -> None:
    """Refuse what no few-step sampler can walk: sigmas that rise, are not numbers, or reach 0 before the end."""
    require_numbers(sigmas)
    falling = bool((sigmas[1:] <= sigmas[:-1]).all()) and bool((sigmas[:-1] > 0).all())
    if not falling:
        raise ValueError(
            f"FewStep Sampler: the sigmas must fall and reach 0 only at their end, got {listed(sigmas)}. Use FewStep "
            "Schedule or a stock scheduler, without FlipSigmas; a joined list needs one sampling node for each part."
        )


def lcm_timesteps(steps: int, denoise: float = 1.0, original_steps: int = 50) -> list[int]:
    """`steps` points of the grid that LCM and TCD students are trained on: 999, 759, 499, 259 for 4 of 50.

    The grid is t_i = (i + 1) 1000 / original_steps - 1; image-to-image keeps its lowest `denoise` part.
    Source: Luo et al. 2023 (LCM), section 4.3; TCD uses the same grid.
    """
    kept = int(original_steps * denoise)
    if not 1 <= steps <= kept:
        raise ValueError(
            f"LCM schedule: steps must lie in 1..{kept} ({original_steps} original steps x denoise {denoise:g}), "
            f"got {steps}. Take fewer steps, or raise denoise or original_steps."
        )
    stride = TRAIN_TIMESTEPS // original_steps
    grid = [(i + 1) * stride - 1 for i in range(kept)][::-1]
    return [grid[j * kept // steps] for j in range(steps)]


def trailing_timesteps(steps: int, denoise: float = 1.0) -> list[int]:
    """`steps` evenly spaced timesteps that begin at the top: 999, 749, 499, 249 for 4.

    For Hyper-SD N-step, Lightning, PCM, DMD2 and Imagine Flash weights. Source: Lin et al. 2023, table 2, "trailing".
    """
    top = round(TRAIN_TIMESTEPS * denoise)
    if not 1 <= steps <= top:
        raise ValueError(f"Trailing schedule: steps must lie in 1..{top} at denoise {denoise:g}, got {steps}.")
    return [round(top - j * top / steps) - 1 for j in range(steps)]


def segment_floors(segments: int, original_steps: int = 50) -> list[int]:
    """The lowest timestep of each of `segments` parts of the grid, rising: 0, 239, 499, 739 for 4 of 50.

    Cut on grid indices, floor(i original_steps / segments): cut on timesteps, as Hyper-SD's equation 11 has it, some
    points of the grid would have no room below them in their segment. The floor is the grid point under the cut.
    """
    if not 1 <= segments <= original_steps:
        raise ValueError(f"Segments: expected 1..{original_steps} (points of the training grid), got {segments}.")
    stride = TRAIN_TIMESTEPS // original_steps
    return [max(i * original_steps // segments * stride - 1, 0) for i in range(segments)]


def segment_timesteps(steps: int, denoise: float = 1.0, original_steps: int = 50) -> list[int]:
    """The points at which a student of `steps` segments jumps, each to the floor of its segment: 999, 739, 499, 239.

    Image-to-image starts inside a segment and has only the floors below it left: 499, 239 for 4 steps at denoise 0.5.
    Source: Ren et al. 2024 (Hyper-SD), section 3.1.
    """
    kept = int(original_steps * denoise)
    if kept < 1:
        raise ValueError(
            f"Segment schedule: nothing is left of {original_steps} original steps at denoise {denoise:g}. Raise it."
        )
    top = TRAIN_TIMESTEPS // original_steps * kept - 1
    return [top, *(floor for floor in segment_floors(steps, original_steps)[:0:-1] if floor < top)]


def parse_timesteps(text: str) -> list[int]:
    """An explicit list such as "999, 749, 499, 249": falling integers in 0..999."""
    try:
        timesteps = [int(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise ValueError(
            f"Explicit schedule: expected integers such as 999, 749, 499, 249, got {text[:80]!r}."
        ) from error
    falling = all(a > b for a, b in zip(timesteps, timesteps[1:]))
    if not timesteps or not falling or timesteps[0] >= TRAIN_TIMESTEPS or timesteps[-1] < 0:
        raise ValueError(f"Explicit schedule: expected falling timesteps in 999..0, got {text[:80]!r}.")
    return timesteps


SCHEDULES = {"lcm": lcm_timesteps, "trailing": trailing_timesteps, "segments": segment_timesteps}
