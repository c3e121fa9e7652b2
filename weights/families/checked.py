"""Settings out of a file's metadata, which anybody may have written: every field of its kind and in its range."""

import math

from .settings import Settings, from_dict

LONGEST = 2000  # letters of a text
MOST_STEPS = 1000
TEXTS = ("family", "sampler", "schedule", "source", "note")
NUMBERS = {"cfg": 100.0, "eta": 1.0, "strength": 100.0}  # and the largest


def settings_from(found: object) -> Settings:
    """{"sampling": {...}} as Settings. Raises KeyError, TypeError or ValueError that name the field."""
    if not isinstance(found, dict) or not isinstance(found.get("sampling"), dict):
        raise ValueError("it has no sampling")
    fields = dict(found["sampling"])
    for name in TEXTS:
        expect(isinstance(fields.get(name, ""), str) and len(fields.get(name, "")) <= LONGEST, name, fields)
    for name, largest in NUMBERS.items():
        expect(is_number(fields.get(name, 0), largest), name, fields)
    for name, kind in (("steps", is_count), ("cfg_range", lambda value: is_number(value, 100.0))):
        pair = fields[name]
        expect(isinstance(pair, list) and len(pair) == 2 and all(map(kind, pair)) and pair[0] <= pair[1], name, fields)
    expect(is_count(fields["best_steps"]), "best_steps", fields)
    check_lists(fields, "timesteps", lambda value: type(value) is int and 0 <= value <= 999)
    check_lists(fields, "sigmas", lambda value: is_number(value, 1e6) and value >= 0)
    for name, kind in LISTS.items():
        values = fields.get(name, [])
        expect(isinstance(values, list) and len(values) <= MOST_STEPS and all(map(kind, values)), name, fields)
    return from_dict(fields)


def check_lists(fields: dict, name: str, kind) -> None:
    """{"4": [999, 759, 499, 259], ...}: falling, and as long as their step count says (sigmas end at one more)."""
    lists = fields.get(name, {})
    expect(isinstance(lists, dict), name, fields)
    more = 1 if name == "sigmas" else 0
    for steps, points in lists.items():
        counted = steps.isdecimal() and isinstance(points, list) and str(len(points) - more) == steps
        expect(counted and is_count(len(points)) and all(map(kind, points)), name, fields)
        expect(all(a > b for a, b in zip(points, points[1:])), name, fields)


def expect(condition: bool, name: str, fields: dict) -> None:
    if not condition:
        raise ValueError(f"its {name} is {str(fields.get(name))[:60]}")


def is_word(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 100


def is_count(value: object) -> bool:
    return type(value) is int and 1 <= value <= MOST_STEPS


def is_number(value: object, largest: float) -> bool:
    return type(value) in (int, float) and abs(value) <= largest and math.isfinite(value)


LISTS = {"strengths": lambda value: is_number(value, 100.0), "second": lambda value: is_number(value, 1e6)}
LISTS |= {"samplers": is_word, "schedules": is_word}
