"""What a wire or widget of a workflow holds: through primitives, switches, reroutes and small arithmetic."""

import ast
import operator
from collections.abc import Callable
from typing import Any

from .graph import BYPASSED, MUTED, Graph, Link, Node

UNKNOWN = None  # a value that only a run can tell
World = dict[str, bool]  # switches set by hand: node's id -> on
DEPTH = 200  # links followed before a workflow is taken for a loop
OPERATORS: dict[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.USub: operator.neg,
}
FUNCTIONS = {"min": min, "max": max, "round": round, "int": int, "float": float, "abs": abs}


def value_of(graph: Graph, node: Node, name: str, world: World, depth: int = 0) -> Any:
    """An input's value, or UNKNOWN."""
    if name in node.links:
        return output_of(graph, node.links[name], world, depth + 1)
    return node.values.get(name, UNKNOWN)


def output_of(graph: Graph, link: Link, world: World, depth: int = 0) -> Any:
    """The value on a link, or UNKNOWN."""
    node = graph.get(link[0])
    if node is None or depth > DEPTH:
        return UNKNOWN
    if node.kind in ("ComfySwitchNode", "Reroute") or node.mode in (MUTED, BYPASSED):
        onward = passed_on(graph, link, world, depth)
        if onward is not None:
            return output_of(graph, onward, world, depth + 1)
        return chosen_value(graph, node, world, depth) if node.kind == "ComfySwitchNode" else UNKNOWN
    if node.kind == "PrimitiveBoolean" and node.id in world:
        return world[node.id]
    if node.kind.startswith("Primitive"):
        return value_of(graph, node, "value", world, depth)
    if node.kind == "CustomCombo":
        return value_of(graph, node, ("choice", "index")[min(link[1], 1)], world, depth)
    if node.kind == "ComfyMathExpression":
        return arithmetic(graph, node, world, depth)
    return UNKNOWN


def is_on(graph: Graph, switch: Node, world: World, depth: int = 0) -> bool | None:
    """Which side a switch takes."""
    if switch.id in world:
        return world[switch.id]
    on = value_of(graph, switch, "switch", world, depth)
    return on if isinstance(on, bool) else UNKNOWN


def chosen_value(graph: Graph, switch: Node, world: World, depth: int) -> Any:
    """The widget of the side that a switch takes, where nothing is linked to it."""
    on = is_on(graph, switch, world, depth)
    return UNKNOWN if on is None else switch.values.get("on_true" if on else "on_false", UNKNOWN)


def passed_on(graph: Graph, link: Link, world: World, depth: int = 0) -> Link | None:
    """The link behind a switch, a reroute or a bypassed node; None where it ends."""
    node = graph[link[0]]
    if node.mode == MUTED:
        return None
    if node.kind == "ComfySwitchNode":
        on = is_on(graph, node, world, depth)
        return None if on is None else node.links.get("on_true" if on else "on_false")
    if node.mode == BYPASSED and link[1] < len(node.outputs):
        wanted = node.outputs[link[1]]
        return next((node.links[name] for name, kind in node.types.items() if kind == wanted), None)
    return next(iter(node.links.values()), None)


def switches(graph: Graph, at_most: int = 6) -> list[Node]:
    """The booleans by hand that switches hang on: a primitive, or the switch's own widget."""
    found: dict[str, Node] = {}
    for switch in (node for node in graph.values() if node.kind == "ComfySwitchNode"):
        root = switch
        if "switch" in switch.links:
            root = graph.get(switch.links["switch"][0], switch)
        if root.kind in ("PrimitiveBoolean", "ComfySwitchNode") and (root is not switch or "switch" in root.values):
            found[root.id] = root
    return list(found.values())[:at_most]


def arithmetic(graph: Graph, node: Node, world: World, depth: int) -> Any:
    """An expression of numbers on the node's inputs a, b ...; UNKNOWN where it holds more than that."""
    names = {name.split(".")[-1]: value_of(graph, node, name, world, depth) for name in (*node.links, *node.values)}
    try:
        return number(ast.parse(str(names.pop("expression", "")).strip(), mode="eval").body, names)
    except (SyntaxError, TypeError, ValueError, KeyError, ZeroDivisionError, OverflowError):
        return UNKNOWN


def number(tree: ast.AST, names: dict[str, Any]) -> Any:
    """The value of a small expression. Raises for anything that is no arithmetic on numbers."""
    match tree:
        case ast.Constant(value=value) if isinstance(value, int | float):
            return value
        case ast.Name(id=name):
            return names[name]
        case ast.BinOp(left=left, op=op, right=right):
            return OPERATORS[type(op)](number(left, names), number(right, names))
        case ast.UnaryOp(op=op, operand=operand):
            return OPERATORS[type(op)](number(operand, names))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return OPERATORS[type(op)](number(left, names), number(right, names))
        case ast.IfExp(test=test, body=body, orelse=other):
            return number(body if number(test, names) else other, names)
        case ast.Call(func=ast.Name(id=name), args=args):
            return FUNCTIONS[name](*(number(arg, names) for arg in args))
    raise ValueError("no arithmetic")
