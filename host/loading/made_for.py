"""What a known file was made for, on the host: its sampler, its schedule, and the sampling it sets on a MODEL."""

import torch
from torch import Tensor

from ...samplers import schedule
from ...samplers.schedule import SCHEDULES
from ...weights.families import Settings
from ...weights.families.settings import HOST_SCHEDULES


def timesteps_of(settings: Settings, steps: int, denoise: float = 1.0) -> list[int]:
    """The file's own list for this number of steps, where it has one and starts from noise; else its schedule's."""
    if denoise == 1 and str(steps) in settings.timesteps:
        return settings.timesteps[str(steps)]
    return SCHEDULES[settings.schedule](steps, denoise)


def sigmas_of(model_sampling, settings: Settings, steps: int, denoise: float = 1.0) -> Tensor:
    """SIGMAS of a file: its exact ones, its second pass's (denoise below 1), the host's schedule, or its timesteps'.

    Raises ValueError when exact sigmas are asked for other steps, image to image, or a model that is no flow model.
    """
    if not settings.sigmas and settings.schedule in HOST_SCHEDULES:
        return host_sigmas(model_sampling, settings.schedule, steps, denoise)
    if not settings.sigmas:
        return schedule.sigmas_of(model_sampling, timesteps_of(settings, steps, denoise))
    if not schedule.is_flow(model_sampling):
        raise ValueError(f"{settings.family} is for a flow model, and this model is none. Load its own base.")
    if denoise < 1 and steps == len(settings.second) - 1:
        return torch.tensor(settings.second)
    if str(steps) not in settings.sigmas or denoise != 1:
        raise ValueError(
            f"{settings.family} has exact sigmas for {', '.join(settings.sigmas)} steps at denoise 1, not for {steps} "
            f"at {denoise:g}. Set these, or choose sigmas with FewStep Schedule."
        )
    return torch.tensor(settings.sigmas[str(steps)])


def host_sigmas(model_sampling, name: str, steps: int, denoise: float) -> Tensor:
    """The host's own schedule, of which denoise below 1 takes the last steps, as the stock BasicScheduler does."""
    from comfy import samplers

    whole = samplers.calculate_sigmas(model_sampling, name, int(steps / denoise))
    return whole[-(steps + 1) :]


def host_sampler(name: str):
    """A SAMPLER of the host by its menu's name. Raises ValueError where this host has none of that name."""
    from comfy import samplers
    from comfy.k_diffusion import sampling

    if name not in samplers.SAMPLER_NAMES and not hasattr(sampling, f"sample_{name}"):
        raise ValueError(f"needs the host's sampler {name}, which this ComfyUI does not have. Update ComfyUI.")
    return samplers.sampler_object(name)


def points_of(settings: Settings, sigmas: Tensor, steps: int, denoise: float) -> str:
    """What the report says of the schedule: timesteps where the file has them, else sigmas."""
    if settings.sigmas or settings.schedule in HOST_SCHEDULES:
        second = f"; a second pass takes {listed(settings.second)}" if settings.second and denoise == 1 else ""
        return f"sigmas {listed(sigmas.tolist())}{second}"
    return f"timesteps {listed(timesteps_of(settings, steps, denoise))}"


def listed(points) -> str:
    return ", ".join(f"{point:.6g}" for point in points)


def with_shift(model, settings: Settings):
    """A clone with the sampling that the file needs, or the model itself where it needs none."""
    if not settings.shift_node:
        return model
    return SHIFTERS[settings.shift_node](model, settings.shift)


def minimax_h3_shift(model, shift: float, audio: float = 3.0):
    """Video and audio shifts by the host's own node, which its network reads; 3 for audio in every source."""
    import nodes

    node = nodes.NODE_CLASS_MAPPINGS.get("MiniMaxH3SigmaShift")
    if node is None:
        raise ValueError("needs the node MiniMaxH3SigmaShift, which this ComfyUI does not have. Update ComfyUI.")
    return node.execute(model, shift, audio)[0]


SHIFTERS = {"MiniMaxH3SigmaShift": minimax_h3_shift}  # by the node that a row names
