"""What the host calls in place of a node's function: the same for all nodes, so that none has to think of it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps

from ..host.progress import say
from ..host.routes import tell_of_new_files

TITLES: dict[str, str] = {}  # of the nodes by id: people know the menu, not the ids
SHOWN = ("report", "scores", "table")  # outputs that are also shown on the node


def wrapped(node: type) -> type:
    """The node class: its title stands before every ValueError, its report is shown on it, and open pages hear of the
    model files that it writes (WRITES_MODELS)."""
    TITLES[node.__name__] = node.TITLE
    function = getattr(node, node.FUNCTION)
    if hasattr(function, "__wrapped__"):
        return node

    @wraps(function)
    def called(*args, **inputs):
        try:
            return with_report(node, function(*args, **inputs))
        except ValueError as error:
            raise ValueError(sentence(node, str(error))) from error
        finally:  # a cancelled training may have written one, too
            if getattr(node, "WRITES_MODELS", False):
                tell_of_new_files()

    setattr(node, node.FUNCTION, called)
    return node


def sentence(node: type, text: str) -> str:
    """ "<title>: <text>", whether or not the text begins with the node's title already; ids become titles."""
    text = re.sub(r"\bFewStep[A-Z]\w+", lambda found: TITLES.get(found[0], found[0]), text)
    return f"{node.TITLE}: " + text.removeprefix(f"{node.TITLE}: ")


@contextmanager
def about(file: str) -> Iterator[None]:
    """A file's name before what is wrong with it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f'"{file}": {error}') from error


def with_report(node: type, outputs: tuple):
    """The outputs; where one is a report, as the host wants them beside what is shown."""
    shown = [name for name in getattr(node, "RETURN_NAMES", ()) if name in SHOWN]
    if not shown:
        return outputs
    text = outputs[node.RETURN_NAMES.index(shown[0])]
    say(text)
    return {"ui": {"text": [text]}, "result": outputs}
