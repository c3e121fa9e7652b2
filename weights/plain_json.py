"""JSON from files that anybody may have written."""

import json

DEEPEST = 40  # objects and lists inside one another; ours have 5


def parse(text: str | bytes) -> object:
    """json.loads, but whatever is wrong is a ValueError: bytes that are no UTF-8, and nesting without end."""
    try:
        found = json.loads(text if isinstance(text, str) else text.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    level = [found]
    for _ in range(DEEPEST):
        inner = [value for value in level if isinstance(value, dict | list)]
        level = [one for value in inner for one in (value.values() if isinstance(value, dict) else value)]
        if not level:
            return found
    raise ValueError("it is nested too deeply")
