"""Whoever reads an error sees first which node of the menu says it."""

from functools import wraps


def says_its_name(node: type) -> type:
    """The node class, with its title before every ValueError of its function."""
    function = getattr(node, node.FUNCTION)

    @wraps(function)
    def named(*args, **inputs):
        try:
            return function(*args, **inputs)
        except ValueError as error:
            raise ValueError(sentence(node, str(error))) from error

    setattr(node, node.FUNCTION, function if hasattr(function, "__wrapped__") else named)
    return node


def sentence(node: type, text: str) -> str:
    """ "<title>: <text>", whether or not the text begins with the node's title or id already."""
    for name in (node.TITLE, node.__name__):
        text = text.removeprefix(f"{name}: ")
    return f"{node.TITLE}: {text}"
