"""Methods: tables of turns. A turn says which role trains, how often, and on which weighted terms."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

from .terms import LCMOptions, consistency


@dataclass(frozen=True)
class Turn:
    """role trains every so many steps on ((term, weight), ...); a term is `(roles, path, batch) -> (loss, logs)`."""

    role: str
    terms: tuple[tuple[Callable, float], ...]
    every: int = 1


@dataclass(frozen=True)
class Method:
    """name and options go into the run's config and the file's metadata; sampler, schedule: what the student needs."""

    name: str
    options: object
    turns: tuple[Turn, ...]
    roles: tuple[str, ...]
    sampler: str
    schedule: str

    def recipe(self) -> dict:
        return {"method": self.name, **asdict(self.options)}


def lcm(options: LCMOptions) -> Method:
    """LCM / LCM-LoRA: one student, one term; the target is the student itself or its moving average."""
    turns = (Turn("student", ((partial(consistency, options=options), 1.0),)),)
    return Method("LCM", options, turns, ("student", "target"), sampler="lcm", schedule="lcm")
