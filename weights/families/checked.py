"""Settings out of a file's metadata, which anybody may have written: every field of its kind and in its range."""

import math
from collections.abc import Callable

from .settings import Settings, from_dict

LONGEST = 2000  # letters of a text
MOST_STEPS = 1000
TEXTS = ("family", "sampler", "schedule", "source", "note", "shift_node")
NUMBERS = {"cfg": 100.0, "eta": 1.0, "strength": 100.0, "shift": 1000.0}  # and the largest
PAIRS = {"steps": MOST_STEPS, "cfg_range": 100.0, "strengths": 100.0}  # (least, most)


def settings_from(found: object) -> Settings:
    """{"sampling": {...}} as Settings. Raises KeyError, TypeError or ValueError that name the field."""
    if not isinstance(found, dict) or not isinstance(found.get("sampling"), dict):
        raise ValueError("it has no sampling")
    fields = {"cfg_range": [1.0, 1.0], **found["sampling"]}
    for name in TEXTS:
        expect(is_text(fields.get(name, "")), name, fields)
    for name, largest in NUMBERS.items():
        expect(is_number(fields.get(name, 0), largest), name, fields)
    expect(is_count(fields["best_steps"]) and all(map(is_count, fields["steps"])), "steps", fields)
    for name in set(PAIRS) & set(fields):
        pair = fields[name]
        whole = isinstance(pair, list) and len(pair) == 2 and all(is_number(one, PAIRS[name]) for one in pair)
        expect(whole and pair[0] <= pair[1], name, fields)
    for name in {"samplers", "schedules"} & set(fields):
        expect(isinstance(fields[name], list) and all(map(is_text, fields[name])), name, fields)
    for name, kind in (("timesteps", is_timestep), ("sigmas", is_sigma)):
        lists = fields.get(name, {})
        falling = isinstance(lists, dict) and all(key.isdecimal() and falls(lists[key], kind) for key in lists)
        expect(falling, name, fields)
    if "second" in fields:
        expect(falls(fields["second"], is_sigma), "second", fields)
    return from_dict(fields)


def falls(points: object, kind: Callable[[object], bool]) -> bool:
    """Whether it is a falling list of points of this kind."""
    whole = isinstance(points, list) and len(points) <= MOST_STEPS + 1 and all(map(kind, points))
    return whole and all(a > b for a, b in zip(points, points[1:]))


def expect(condition: bool, name: str, fields: dict) -> None:
    if not condition:
        raise ValueError(f"its {name} is {str(fields.get(name))[:60]}")


def is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST


def is_count(value: object) -> bool:
    return type(value) is int and 1 <= value <= MOST_STEPS


def is_timestep(value: object) -> bool:
    return type(value) is int and 0 <= value <= 999


def is_sigma(value: object) -> bool:
    return is_number(value, 1e6) and value >= 0


def is_number(value: object, largest: float) -> bool:
    return type(value) in (int, float) and abs(value) <= largest and math.isfinite(value)
