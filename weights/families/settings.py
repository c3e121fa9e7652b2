"""What a few-step weight file needs, as a record, and the row of a table that says which files need it."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import NamedTuple

SAMPLERS = ("lcm", "tcd", "ddim", "imagine_flash")
SCHEDULES = ("lcm", "trailing", "segments")
# The host's own, by the names its menus show; a file that needs one says so.
HOST_SAMPLERS = ("euler_ancestral", "res_multistep", "uni_pc", "ar_video")
HOST_SCHEDULES = ("simple", "normal")


@dataclass(frozen=True)
class Settings:
    """steps: what the file was made for, as (fewest, most); cfg: guidance at sampling, 1 where it is distilled in.

    shift is the s of sigma = s t / (1 + (s - 1) t), the model's own unless `shift_node` says which node of the host
    sets it. samplers, schedules: others of the host that serve the file as well, by its menus' names.
    """

    family: str
    sampler: str  # one of SAMPLERS or HOST_SAMPLERS; on flow models ddim is Euler's step
    schedule: str  # one of SCHEDULES or HOST_SCHEDULES; "lcm" is the 50-step grid
    steps: tuple[int, int]
    best_steps: int
    cfg: float = 1.0
    cfg_range: tuple[float, float] = (1.0, 1.0)
    eta: float = 0.0
    strength: float = 1.0
    timesteps: dict[str, list[int]] = field(default_factory=dict)  # by number of steps, where better ones were found
    sigmas: dict[str, list[float]] = field(default_factory=dict)  # by number of steps: exact, for flow models
    source: str = ""  # where the numbers are from
    note: str = ""  # what the user must do besides
    shift: float = 0.0  # 0: not known, or none
    shift_node: str = ""
    strengths: tuple[float, float] = (0.0, 0.0)  # (least, most) in use, where that is known; else near `strength`
    samplers: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()
    second: tuple[float, ...] = ()  # sigmas of a second pass over an enlarged picture, where the author gives them


ADDED = ("shift", "shift_node", "strengths", "samplers", "schedules", "second")  # fields that older versions lack


def fixed(family: str, steps: int, **options) -> Settings:
    """A file for exactly N trailing DDIM steps."""
    return Settings(family, "ddim", "trailing", (steps, steps), steps, **options)


def up_to_8(family: str, sampler: str, **options) -> Settings:
    """A file for 1-8 steps on the 50-step grid."""
    return Settings(family, sampler, "lcm", (1, 8), 4, **options)


def as_dict(settings: Settings) -> dict:
    """For a file's metadata. What older versions lack is left out where it says nothing, so that they can read it."""
    empty = {name: type(getattr(settings, name))() for name in ADDED} | {"strengths": (0.0, 0.0)}
    return {key: value for key, value in asdict(settings).items() if key not in ADDED or value != empty[key]}


def from_dict(found: dict) -> Settings:
    """What `as_dict` wrote, with lists made tuples again. Raises KeyError or TypeError for anything else."""
    tuples = ("steps", "cfg_range", "strengths", "samplers", "schedules", "second")
    given = {**found, "steps": found["steps"], "cfg_range": found["cfg_range"]}
    return Settings(**{key: tuple(value) if key in tuples else value for key, value in given.items()})


def shifted(steps: int, shift: float) -> list[float]:
    """N even steps of time from 1 to 0 under a flow model's shift: sigma = s t / (1 + (s - 1) t)."""
    times = [1 - j / steps for j in range(steps + 1)]
    return [shift * t / (1 + (shift - 1) * t) for t in times]


class Row(NamedTuple):
    family: str
    pattern: str
    make: Callable[[int], Settings]
    counts: tuple[int, ...] = ()  # steps that an N-step family is published for


def chosen(rows: tuple[Row, ...], family: str, steps: int, name: str = "") -> Settings:
    """A family that the user chose. N of an N-step family is the file name's, else `steps` where it is published."""
    row = next(row for row in rows if row.family == family)
    named = re.findall(r"(\d+)[ _-]?steps?", name.lower())
    if named or not row.counts:
        return row.make(int(named[-1]) if named and row.counts else steps)
    made = row.make(min(row.counts, key=lambda count: abs(count - steps)))
    counts = ", ".join(map(str, row.counts))
    note = f"{family} is published for {counts} steps, and this file's name does not say for which it was made."
    return replace(made, note=f"{made.note} {note}".strip())
