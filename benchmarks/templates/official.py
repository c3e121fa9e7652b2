"""The official templates as data: the JSON of the package comfyui-workflow-templates-json, read and checked."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from fewstep.weights.workflows.check import Finding, check
from fewstep.weights.workflows.graph import Graph, read
from fewstep.weights.workflows.runs import READERS

PACKAGE = "comfyui_workflow_templates_json"
NO_WORKFLOWS = ("index", "fuse_options")


def folder() -> Path | None:
    """Where the templates lie, or None without the package."""
    spec = find_spec(PACKAGE)
    return Path(spec.origin).parent / "templates" if spec and spec.origin else None


def templates(place: Path) -> Iterator[tuple[str, Graph]]:
    """(name, graph) of every template that samples on this machine."""
    for file in sorted(place.glob("*.json")):
        if file.name.startswith(NO_WORKFLOWS):
            continue
        graph = read(file.read_text(encoding="utf-8"))
        if any(node.kind in READERS for node in graph.values()):
            yield file.stem, graph


def disagreements(place: Path) -> list[tuple[str, Finding]]:
    """(template, what does not fit) over all of them; the same at another sampler of one template only once."""
    found = {}
    for name, graph in templates(place):
        for finding in check(graph):
            found.setdefault((name, finding.file, finding.field, finding.found, finding.when), (name, finding))
    return list(found.values())
