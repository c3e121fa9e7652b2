"""Refusing, with a sentence, what a user cannot mean."""

from dataclasses import fields
from typing import Literal, get_args, get_origin


def require(condition: bool, message: str) -> None:
    """Raise ValueError with a sentence for the user."""
    if not condition:
        raise ValueError(message)


def check_fields(
    options,
    who: str = "",
    counts: tuple[str, ...] = (),
    positive: tuple[str, ...] = (),
    falling: tuple[str, ...] = (),
) -> None:
    """Refuse, in a dataclass, what a field's Literal does not offer; counts: fields of at least 1; positive: above 0.

    falling: lists of the student's timesteps. who: what the sentences begin with.
    """
    for field in fields(options):
        name, value = who + field.name, getattr(options, field.name)
        if get_origin(field.type) is Literal:
            offered = get_args(field.type)
            either = " or ".join(offered) if len(offered) == 2 else f"one of {', '.join(offered)}"
            require(value in offered, f"{name} must be {either}, got {value!r}.")
        if field.name in falling:
            inside = bool(value) and value[0] <= 999 and value[-1] >= 0
            falls = inside and all(a > b for a, b in zip(value, value[1:]))
            require(falls, f"{name} must fall within 999..0, got {list(value)}.")
        require(field.name not in counts or value >= 1, f"{name} must be at least 1, got {value}.")
        require(field.name not in positive or value > 0, f"{name} must be positive, got {value}.")


def choices(options: type, name: str) -> list[str]:
    """What the Literal of a dataclass's field offers."""
    return list(next(get_args(field.type) for field in fields(options) if field.name == name))
