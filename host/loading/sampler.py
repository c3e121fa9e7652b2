"""The SAMPLER and SIGMAS that a known few-step file wants."""

from collections.abc import Iterable

import torch
from torch import Tensor

from ...samplers import schedule
from ...samplers.registry import SAMPLERS, timesteps_for
from ...samplers.unit_start import with_unit_start
from ...weights.families import Settings
from ...weights.families.settings import HOST_SCHEDULES
from .. import sampling
from ..sockets import Model
from . import stock_sampling

ATTACHED = "fewstep_settings"  # in model_options, which the host copies from clone to clone


def attach(model: Model, settings: Settings, strength: float = 1.0) -> Model:
    """A clone of the MODEL that carries how it wants to be sampled, and how strongly the file lies on it."""
    clone = model.clone()
    clone.model_options[ATTACHED] = (settings, strength)
    return clone


def attached(model: Model) -> tuple[Settings | None, float]:
    """What `attach` put there: (None, 1) where nothing did."""
    return model.model_options.get(ATTACHED, (None, 1.0))


def sampler_for(model: Model, settings: Settings, steps: int, denoise: float = 1.0, pictures: list[int] | None = None):
    """(SAMPLER, SIGMAS) of a file on the MODEL it was loaded into. ValueError where it has none for these steps.

    A file with a list of its own was trained on pure noise at its first point, also below the top. pictures: the
    latent's batch_index.
    """
    sigmas = sigmas_of(model.get_model_object("model_sampling"), settings, steps, denoise)
    if settings.sampler not in SAMPLERS:
        return stock_sampling.sampler(settings.sampler), sigmas
    known = SAMPLERS[settings.sampler]
    own_start = denoise == 1 and str(steps) in settings.timesteps
    function = with_unit_start(known.function) if own_start else known.function
    return sampling.as_sampler(function, known.keywords(settings.eta, None, pictures)), sigmas


def timesteps_of(settings: Settings, steps: int, denoise: float = 1.0) -> list[int]:
    """The file's own list for this number of steps, where it has one and starts from noise; else its schedule's."""
    return timesteps_for(settings.schedule, steps, denoise, settings.timesteps.values())


def sigmas_of(model_sampling, settings: Settings, steps: int, denoise: float = 1.0) -> Tensor:
    """SIGMAS of a file: its exact ones, its second pass's (denoise below 1), the host's schedule, or its timesteps'.

    Raises ValueError when exact sigmas are asked for other steps, image to image, or a model that is no flow model.
    """
    if not settings.sigmas and settings.schedule in HOST_SCHEDULES:
        return stock_sampling.sigmas(model_sampling, settings.schedule, steps, denoise)
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


def points_of(settings: Settings, sigmas: Tensor, steps: int, denoise: float = 1.0) -> str:
    """Those sigmas or timesteps in words, for a report, and those of a second pass where the file has one."""
    if not settings.sigmas and settings.schedule not in HOST_SCHEDULES:
        return f"timesteps {listed(timesteps_of(settings, steps, denoise))}"
    second = f"; a second pass at {len(settings.second) - 1} steps and denoise below 1: {listed(settings.second)}"
    return f"sigmas {listed(sigmas.tolist())}{second if settings.second and denoise == 1 else ''}"


def listed(points: Iterable[float]) -> str:
    return ", ".join(f"{point:.5g}" for point in points)
