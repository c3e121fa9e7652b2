"""graph.json in a run folder: the part of a graph that leads to the training, so that any machine can train it."""

import json
from pathlib import Path

from ...training.checks import require
from ...weights import io, plain_json
from .. import graph as graphs
from ..graph import Graph
from .job import NODE, Job

FILE = "graph.json"


def write(job: Job, graph: Graph, key: str, told: dict) -> Path:
    """Leave the graph of a training in its run folder; told: inputs whose values are written in place of their links.

    Raises ValueError when an earlier training is part of the graph: it would be trained again.
    """
    node = graph[key]
    own = {**graph, key: {**node, "inputs": {**node["inputs"], **told}}}
    own = {
        one: {"class_type": n["class_type"], "inputs": n["inputs"]} for one, n in graphs.leading_to(own, key).items()
    }
    others = [one for one, n in own.items() if n["class_type"] == NODE and one != key]
    require(
        not others,
        f"{NODE}: another training (node {', '.join(others)}) leads to this one. Put a loader of its finished file in "
        "its place, so that it is not trained again elsewhere.",
    )
    job.folder.path.mkdir(parents=True, exist_ok=True)
    io.write_text(job.folder.path / FILE, json.dumps(own, indent=1))
    return job.folder.path / FILE


def read(folder: Path) -> tuple[Graph, str]:
    """(the graph, the key of its training). Raises ValueError for what is no exported run."""
    file = folder / FILE
    require(
        file.is_file(),
        f"{folder} has no {FILE}: it is no run folder, or its run was started before {FILE} was written. Queue it with "
        'where "run folder only" in FewStep Distill.',
    )
    try:
        graph = plain_json.parse(file.read_bytes())
        keys = [key for key, node in graph.items() if node["class_type"] == NODE and isinstance(node["inputs"], dict)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is no graph in the API format ({error}). Export the run once more.") from error
    require(len(keys) == 1, f"{file} has {len(keys)} nodes {NODE}, not one. Export the run once more.")
    return graph, keys[0]
