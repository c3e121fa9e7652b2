"""A workflow as one flat graph: API format, or the page's with its subgraphs opened and bypassed nodes left out."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .widgets import named_values, promoted

MUTED, BYPASSED = 2, 4  # the page's node modes that change what runs
INPUT_NODE, OUTPUT_NODE = -10, -20  # a subgraph's own ends
Link = tuple[str, int]  # (node's id, number of its output)


@dataclass
class Node:
    """values: widgets by name; links: inputs by name; types: of the linked inputs and the outputs, where known."""

    id: str
    kind: str
    title: str = ""
    mode: int = 0
    values: dict[str, Any] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.kind} {self.id}" + (f' "{self.title}"' if self.title and self.title != self.kind else "")


Graph = dict[str, Node]


def read(text: str) -> Graph:
    """The graph of a workflow's JSON text. Raises ValueError when it is none."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON ({error}). Save the workflow again with Save or Export (API).") from error
    return from_data(data)


def from_data(data: Any) -> Graph:
    """The graph of a workflow in either format. Raises ValueError for anything else."""
    if isinstance(data, dict) and isinstance(data.get("nodes"), list):
        try:
            return dict(flat(Scope(data, subgraphs_of(data))))
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"is a damaged workflow ({error!r}). Save it again in the page.") from error
    data = data["prompt"] if isinstance(data, dict) and isinstance(data.get("prompt"), dict) else data
    if isinstance(data, dict) and data and all(isinstance(n, dict) and "class_type" in n for n in data.values()):
        return {str(key): api_node(str(key), node) for key, node in data.items()}
    raise ValueError("is no workflow: it has neither the page's nodes nor the API's class_type. Save it again.")


def api_node(key: str, node: dict) -> Node:
    """A node of the API format: an input is a link [node, output] or a value."""
    found = Node(key, node["class_type"], node.get("_meta", {}).get("title", ""))
    for name, value in node.get("inputs", {}).items():
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int):
            found.links[name] = (value[0], value[1])
        else:
            found.values[name] = value
    return found


def subgraphs_of(data: dict) -> dict[str, dict]:
    definitions = data.get("definitions") or {}
    return {graph["id"]: graph for graph in definitions.get("subgraphs") or [] if "nodes" in graph}


class Scope:
    """The page's graph, or one use of a subgraph inside another scope."""

    def __init__(self, data: dict, subgraphs: dict[str, dict], parent: "Scope | None" = None, node: dict | None = None):
        self.data, self.parent, self.node = data, parent, node
        self.prefix = f"{parent.prefix}{node['id']}:" if parent else ""
        self.nodes = {one["id"]: one for one in data["nodes"]}
        self.links = dict(map(link_of, data.get("links") or []))
        self.promoted = promoted(node, data.get("inputs") or []) if parent else {}
        self.mode = max(parent.mode, node.get("mode", 0)) if parent else 0
        self.children = {
            one["id"]: Scope(subgraphs[one["type"]], subgraphs, self, one)
            for one in data["nodes"]
            if one["type"] in subgraphs
        }


def link_of(link: list | dict) -> tuple[int, tuple[int, int, int, int]]:
    """(id, (origin, its output, target, its input)) of a link, a list on the page and a dictionary in a subgraph."""
    if isinstance(link, dict):
        return link["id"], (link["origin_id"], link["origin_slot"], link["target_id"], link["target_slot"])
    return link[0], (link[1], link[2], link[3], link[4])


def flat(scope: Scope) -> Iterator[tuple[str, Node]]:
    """Every node that is no subgraph, by its id with the subgraphs' ids before it, as the API format writes it."""
    for one in scope.nodes.values():
        if one["id"] in scope.children:
            yield from flat(scope.children[one["id"]])
        else:
            node = ui_node(scope, one)
            yield node.id, node


def ui_node(scope: Scope, one: dict) -> Node:
    outputs = [str(output.get("type")) for output in one.get("outputs") or []]
    mode = max(scope.mode, one.get("mode") or 0)
    node = Node(f"{scope.prefix}{one['id']}", one["type"], one.get("title") or "", mode, outputs=outputs)
    node.values = named_values(one)
    for entry in one.get("inputs") or []:
        given = source(scope, entry.get("link"))
        if isinstance(given, tuple):
            node.links[entry["name"]], node.types[entry["name"]] = given, str(entry.get("type"))
        elif given is not None:
            node.values[entry["name"]] = given[0]
    return node


def source(scope: Scope, link: int | None) -> Link | list | None:
    """What a link brings: an output of a flat node, a value promoted to a subgraph's node as [value], or nothing."""
    if link is None or link not in scope.links:
        return None
    origin, slot, *_ = scope.links[link]
    if origin == INPUT_NODE:
        return from_outside(scope, slot)
    if origin in scope.children:
        child = scope.children[origin]
        inner = next((key for key, (*_, to, at) in child.links.items() if (to, at) == (OUTPUT_NODE, slot)), None)
        return source(child, inner)
    return (f"{scope.prefix}{origin}", slot) if origin in scope.nodes else None


def from_outside(scope: Scope, slot: int) -> Link | list | None:
    """What comes into a subgraph at one of its inputs; None leaves the inner widget's own value."""
    name = scope.data["inputs"][slot]["name"]
    entry = next((one for one in scope.node.get("inputs") or [] if one["name"] == name), {})
    outer = source(scope.parent, entry.get("link"))
    if outer is None and name in scope.promoted:
        return [scope.promoted[name]]
    return outer
