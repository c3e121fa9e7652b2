"""Where the LoRA that a run starts from was made to be asked first, against where the run's method asks first."""

from ...samplers.schedule import TRAIN_TIMESTEPS
from ...weights import families
from ..loading import loras
from .job import NODE, Job

TOP = TRAIN_TIMESTEPS - 1


def note(job: Job) -> str:
    """A sentence for the run's notes where the two differ: such a student forgets before it learns; else ""."""
    made = firsts(job.start) if job.start else set()
    asked = job.timesteps[0]
    if not made or asked in made:
        return ""
    where = " or ".join(map(str, sorted(made, reverse=True)))
    return (
        f'start_lora "{job.start}" was made to be asked at {where} first, and this method asks at {asked}, where it is '
        f"worse than it was. Set the method's timesteps to begin at {where}, or start from another LoRA."
    )


def firsts(name: str) -> set[int]:
    """The first timestep of every list that a file of known settings was made for; of unknown files nothing.

    Raises ValueError where its metadata is damaged.
    """
    try:
        settings = families.of_file(name, loras.metadata(name, NODE))
    except ValueError as error:
        raise ValueError(f'{NODE}: start_lora "{name}": {error}') from error
    if settings is None or settings.sigmas:
        return set()
    return {points[0] for points in settings.timesteps.values()} or {TOP}
