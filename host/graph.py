"""A graph in the API format without the host's queue: the part of it that leads to a node, and what its nodes give.

{node id: {class_type, inputs}}, a link being [node id, output index]. The values are not checked again: a host has
accepted the graph before it was written down.
"""

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..training.checks import require

Graph = dict[str, dict]


def links(node: dict) -> dict[str, tuple[str, int]]:
    """{input: (node id, output index)} of the inputs that are wired."""
    wired = {name: value for name, value in node["inputs"].items() if is_link(value)}
    return {name: (str(value[0]), value[1]) for name, value in wired.items()}


def is_link(value) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], int) and isinstance(value[0], str)


def leading_to(graph: Graph, key: str) -> Graph:
    """The node and all that it needs, in the graph's order."""
    needed, waiting = set(), [key]
    while waiting:
        if (one := waiting.pop()) not in needed:
            require(one in graph, f"The graph has a link from a node {one}, which is not in it. Queue it once more.")
            needed.add(one)
            waiting += [source for source, _ in links(graph[one]).values()]
    return {one: node for one, node in graph.items() if one in needed}


@dataclass
class Evaluation:
    """Runs nodes as they are asked for, each once. classes: {class_type: node class}."""

    graph: Graph
    classes: Mapping[str, type]
    made: dict[str, list[list]] = field(default_factory=dict)  # node id -> its outputs, each a list as the host has it

    def inputs(self, key: str) -> dict[str, list]:
        """A node's inputs: of each the list of its values, mostly one."""
        node, wired = self.graph[key], links(self.graph[key])
        return {
            name: self.outputs(wired[name][0])[wired[name][1]] if name in wired else [plain(value)]
            for name, value in node["inputs"].items()
        }

    def outputs(self, key: str) -> list[list]:
        """A node's outputs."""
        if key not in self.made:
            name = self.graph[key]["class_type"]
            require(
                name in self.classes,
                f"The graph has a node {name}, which is neither ComfyUI's own nor FewStep's. Train it in the page, or "
                "put stock nodes in its place.",
            )
            self.made[key] = self.called(self.classes[name], {**self.inputs(key), **self.hidden(name, key)})
        return self.made[key]

    def hidden(self, name: str, key: str) -> dict[str, list]:
        """What the host itself fills in."""
        known = {"PROMPT": self.graph, "UNIQUE_ID": key}
        asked = self.classes[name].INPUT_TYPES().get("hidden", {})
        return {name: [known[kind]] for name, kind in asked.items() if kind in known}

    def called(self, node: type, inputs: dict[str, list]) -> list[list]:
        """The outputs of a node: of each the list of its values over the inputs' values."""
        function = getattr(node if hasattr(node, "GET_SCHEMA") else node(), node.FUNCTION)
        if getattr(node, "INPUT_IS_LIST", False):
            calls = [inputs]
        else:
            longest = max(map(len, inputs.values()), default=1)
            calls = [{name: some[min(i, len(some) - 1)] for name, some in inputs.items()} for i in range(longest)]
        rows = [results(function(**values)) for values in calls]
        lists = getattr(node, "OUTPUT_IS_LIST", None) or [False] * len(rows[0])
        columns = zip(lists, zip(*rows))
        return [[one for some in column for one in some] if joins else list(column) for joins, column in columns]


def plain(value):
    """A widget's value; newer hosts wrap lists, which would read as links."""
    return value["__value__"] if isinstance(value, dict) and set(value) == {"__value__"} else value


def results(answer) -> tuple:
    """What a node's function gave, without what it shows; of newer nodes the awaited result."""
    if inspect.isawaitable(answer):
        answer = asyncio.run(awaited(answer))
    if isinstance(answer, dict):
        answer = answer.get("result", ())
    return tuple(answer.result or ()) if hasattr(answer, "result") else tuple(answer or ())


async def awaited(answer):
    return await answer
