"""The user's opt-in: our samplers and schedules by name in the stock KSampler's lists, for packs that only know names.

Off unless the environment has FEWSTEP_STOCK_LISTS=1. The host's lists are appended to in place, since other modules and
packs hold the same objects; nothing is replaced, and a name that is there already stays whoever's it is.
"""

import os
from collections.abc import Callable

from ..samplers.registry import SAMPLERS
from ..samplers.schedule import SCHEDULES, sigmas_of

VARIABLE = "FEWSTEP_STOCK_LISTS"


def register() -> None:
    """Add the names where the user asked for them. Calling it again changes nothing."""
    if os.environ.get(VARIABLE, "0") == "1":
        add_samplers()
        add_schedules()


def add_samplers() -> None:
    """The host finds `sample_<name>` among k-diffusion's samplers."""
    from comfy import samplers
    from comfy.k_diffusion import sampling

    for ours, sampler in SAMPLERS.items():
        name = f"fewstep_{ours}"
        if not hasattr(sampling, f"sample_{name}"):
            setattr(sampling, f"sample_{name}", sampler.function)
        for names in (samplers.KSAMPLER_NAMES, samplers.KSampler.SAMPLERS):
            append(names, name)


def add_schedules() -> None:
    """Hosts with a table of schedulers; PyPI's 0.0.1 has an if-chain instead and offers the samplers only."""
    from comfy import samplers

    handlers = getattr(samplers, "SCHEDULER_HANDLERS", None)
    if handlers is None:
        return
    for name, timesteps in SCHEDULES.items():
        handlers.setdefault(f"fewstep_{name}", samplers.SchedulerHandler(handler(timesteps)))
        append(samplers.KSampler.SCHEDULERS, f"fewstep_{name}")


def handler(timesteps: Callable[[int], list[int]]) -> Callable:
    """(model_sampling, steps) -> SIGMAS, as the host's table of schedulers wants it."""
    return lambda model_sampling, steps: sigmas_of(model_sampling, timesteps(steps))


def append(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)
