"""Every sampling in a workflow: as it stands, with its switches turned, and in the parts that are bypassed."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

from .graph import BYPASSED, MUTED, Graph, Node
from .readers import Run, advanced, custom, k_sampler
from .two_models import two_models
from .values import World, switches, value_of

BYPASSED_PART = "its bypassed nodes on"
READERS: dict[str, Callable[[Graph, Node, World], Run | list[Run]]] = {
    "KSampler": k_sampler,
    "KSamplerAdvanced": k_sampler,
    "FewStepKSampler": k_sampler,
    "SamplerCustom": custom,
    "SamplerCustomAdvanced": advanced,
    "FewStepTwoModelSampler": two_models,
}


def read(graph: Graph, node: Node, world: World) -> list[Run]:
    """The samplings of one node."""
    made = READERS[node.kind](graph, node, world)
    return made if isinstance(made, list) else [made]


def runs(graph: Graph) -> list[Run]:
    """The samplings as the workflow stands, those that its switches allow besides, those that are bypassed whole."""
    found = active_runs(graph)
    revived = {key: replace(node, mode=0) if node.mode == BYPASSED else node for key, node in graph.items()}
    asleep = [node for node in graph.values() if node.kind in READERS and node.mode == BYPASSED]
    for node in asleep:
        found += [replace(run, switched=(BYPASSED_PART,)) for run in read(revived, node, {})]
    return found


def active_runs(graph: Graph) -> list[Run]:
    nodes = [node for node in graph.values() if node.kind in READERS and node.mode not in (MUTED, BYPASSED)]
    found: list[Run] = []
    seen: set[Run] = set()
    for world, titles in worlds(graph):
        for run in (run for node in nodes for run in read(graph, node, world)):
            if run not in seen:
                seen.add(run)
                found.append(replace(run, switched=titles))
    return found


def worlds(graph: Graph) -> Iterator[tuple[World, tuple[str, ...]]]:
    """The switches as they stand, then every other setting, fewest changes first."""
    nodes = switches(graph)
    yield {}, ()
    for count in range(1, len(nodes) + 1):
        for turned in itertools.combinations(nodes, count):
            world = {node.id: not is_set(graph, node) for node in turned}
            yield world, tuple(f"{node.title or node.kind} {'on' if world[node.id] else 'off'}" for node in turned)


def is_set(graph: Graph, node: Node) -> bool:
    return value_of(graph, node, "value" if node.kind == "PrimitiveBoolean" else "switch", {}) is True
