"""Makers of widgets, and the way from an options dataclass to widgets (`of`) and back (`chosen`)."""

from dataclasses import fields, is_dataclass, replace
from typing import get_args, get_origin

from ..training.checks import choices

AUTO = "auto"
Widget = tuple[str | list[str] | None, dict]
# (min, max, step) of numbers that several nodes have.
GUIDANCE, WEIGHT, SMALL = (1.0, 30.0, 0.1), (0.0, 100.0, 0.01), (1e-6, 10.0, 1e-6)


def whole(most: int, tooltip: str, least: int = 1, **more) -> Widget:
    return "INT", {"min": least, "max": most, "tooltip": tooltip, **more}


def number(span: tuple[float, float, float], tooltip: str, **more) -> Widget:
    """span: (min, max, step)."""
    low, high, step = span
    return "FLOAT", {"min": low, "max": high, "step": step, "tooltip": tooltip, **more}


def rate(tooltip: str, **more) -> Widget:
    """A learning rate."""
    return number((1e-8, 1.0, 1e-8), tooltip, round=1e-9, **more)


def text(tooltip: str, **more) -> Widget:
    return "STRING", {"tooltip": tooltip, **more}


def yes_no(tooltip: str, **more) -> Widget:
    return "BOOLEAN", {"tooltip": tooltip, **more}


def choice(tooltip: str, offered: list[str] | None = None, **more) -> Widget:
    """offered: None is all that the field's Literal offers."""
    return offered, {"tooltip": tooltip, **more}


def socket(kind: str, tooltip: str) -> Widget:
    return kind, {"tooltip": tooltip}


def link(tooltip: str) -> Widget:
    """A text that only comes from another node."""
    return "STRING", {"forceInput": True, "tooltip": tooltip}


def seed(tooltip: str) -> Widget:
    return "INT", {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True, "tooltip": tooltip}


# Widgets that several nodes have.
DENOISE = number((0.01, 1.0, 0.01), "Below 1 for image to image: 0.4-0.7 keeps the layout of an image.", default=1.0)
OVERWRITE = yes_no("Off: a file of that name is an error.", default=False)
NAME = text("The file's name, without folder and ending.", default="merged")
POSITIVE = socket("CONDITIONING", "What to draw.")
NEGATIVE = socket("CONDITIONING", "What to leave out. Has no effect at cfg 1.")


def inputs(widgets: dict[str, Widget], **sockets: Widget) -> dict[str, dict]:
    """INPUT_TYPES' answer. Widgets are optional, so that graphs of before a widget existed go on working; what is
    advanced comes last."""
    return {"required": sockets, "optional": dict(sorted(widgets.items(), key=lambda item: "advanced" in item[1][1]))}


def of(options, **widgets: Widget) -> dict[str, Widget]:
    """The widgets, each with the option's own value as its default, and as choices what its Literal offers."""
    return {name: filled(options, path_to(options, name), widget) for name, widget in widgets.items()}


def filled(options, path: tuple[str, ...], widget: Widget) -> Widget:
    *within, name = path
    for part in within:
        options = getattr(options, part)
    (kind, more), value = widget, getattr(options, name)
    default = AUTO if value is None else ", ".join(map(str, value)) if isinstance(value, tuple) else value
    return kind or choices(type(options), name), {"default": default, **more}


def path_to(options, name: str) -> tuple[str, ...]:
    """The fields that lead to an option. In a dataclass within it is found by its name, or with the dataclass's name
    before it: critic_rate is critic.rate."""
    parts = {field.name: value for field in fields(options) if is_dataclass(value := getattr(options, field.name))}
    if hasattr(options, name):
        return (name,)
    prefixed = [(part, name.removeprefix(f"{part}_")) for part in parts if name.startswith(f"{part}_")]
    for part, rest in (*prefixed, *((part, name) for part in parts)):
        if way := path_to(parts[part], rest):
            return (part, *way)
    return ()


def chosen(options, **values):
    """The options with the values of the widgets that `of` made, all at once: they are checked together."""
    tree: dict = {}
    for name, value in values.items():
        *within, last = path_to(options, name)
        branch = tree
        for part in within:
            branch = branch.setdefault(part, {})
        branch[last] = (name, value)
    return grown(options, tree)


def grown(options, tree: dict):
    kinds = {field.name: field.type for field in fields(options)}
    return replace(
        options,
        **{
            field: grown(getattr(options, field), branch) if isinstance(branch, dict) else read(kinds[field], *branch)
            for field, branch in tree.items()
        },
    )


def read(kind: type, name: str, value):
    """A widget's value as the option's type: lists come as text, and so do numbers that may be "auto" (None)."""
    if get_origin(kind) is tuple:
        return numbers(value, get_args(kind)[0], name)
    if isinstance(value, str) and float in get_args(kind):
        return None if value.strip() == AUTO else one_number(value, name)
    return value


def one_number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{name} must be a number or {AUTO}, got {text!r}.") from error


def numbers(text: str | float, kind: type, name: str) -> tuple:
    """ "8, 4, 2, 1" -> (8, 4, 2, 1); a graph may give one as a number."""
    try:
        return tuple(kind(part) for part in str(text).replace(",", " ").split())
    except ValueError as error:
        raise ValueError(f"{name} must be numbers with commas between them, got {text!r}.") from error
