"""Read and patch workflows in the API format: {node id: {class_type, inputs}}, a link being [node id, output index]."""

import copy
import json
from pathlib import Path
from typing import Any

Workflow = dict[str, dict[str, Any]]


def load(file: Path | str) -> Workflow:
    """Read a workflow and make sure that it is in the API format."""
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"Launcher: there is no workflow file {file}.")
    try:
        workflow = json.loads(file.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(f"Launcher: {file} is not JSON ({error}).") from error
    if isinstance(workflow, dict) and "nodes" in workflow:
        raise ValueError(f"Launcher: {file} is in the web page's format. Save it there with 'Export (API)'.")
    if not isinstance(workflow, dict) or not all(isinstance(n, dict) and "class_type" in n for n in workflow.values()):
        raise ValueError(f"Launcher: {file} is no workflow in the API format: every node needs a class_type.")
    return workflow


def nodes(workflow: Workflow, class_type: str) -> list[str]:
    """Return the ids of all nodes of a class."""
    return [key for key, node in workflow.items() if node["class_type"] == class_type]


def find(workflow: Workflow, *class_types: str) -> str:
    """Return the id of the one node of these classes."""
    found = [key for name in class_types for key in nodes(workflow, name)]
    if len(found) != 1:
        raise ValueError(f"Launcher: the workflow must have one {' or '.join(class_types)} node, it has {len(found)}.")
    return found[0]


def patched(workflow: Workflow, *class_types: str, **values: Any) -> Workflow:
    """Return a copy in which the one node of these classes has other values."""
    key = find(workflow, *class_types)
    return with_inputs(workflow, key, values)


def with_inputs(workflow: Workflow, key: str, values: dict[str, Any]) -> Workflow:
    """Return a copy in which node `key` has other values; every name must stand in the file already."""
    kind, known = workflow[key]["class_type"], workflow[key]["inputs"]
    for name in values:
        if name not in known:
            raise ValueError(f"Launcher: node {key} ({kind}) has no input {name!r}. It has: {', '.join(known)}.")
    changed = copy.deepcopy(workflow)
    changed[key]["inputs"].update(values)
    return changed


def source(workflow: Workflow, key: str, name: str) -> str:
    """Return the id of the node that feeds an input."""
    link = workflow[key]["inputs"].get(name)
    if not isinstance(link, list) or link[0] not in workflow:
        raise ValueError(f"Launcher: input {name!r} of node {key} ({workflow[key]['class_type']}) must be a link.")
    return link[0]


def with_prompts(workflow: Workflow, sampler: str, positive: str, negative: str = "") -> Workflow:
    """Return a copy in which the texts behind a sampler's `positive` and `negative` are these."""
    texts = {"positive": positive, "negative": negative}
    targets = {source(workflow, sampler, name): text for name, text in texts.items()}
    if len(targets) < 2:
        raise ValueError(
            f"Launcher: node {sampler} takes 'positive' and 'negative' from the same node; give each its own."
        )
    for key, text in targets.items():
        workflow = with_inputs(workflow, key, {"text": text})
    return workflow


def assign(workflow: Workflow, setting: str) -> Workflow:
    """Apply a `--set node.input=value`, where node is an id or a class; the value is JSON if it reads as JSON."""
    target, equals, text = setting.partition("=")
    node, dot, name = target.partition(".")
    if not (equals and dot and name):
        raise ValueError(f"Launcher: --set takes node.input=value, for example KSampler.steps=4; got {setting!r}.")
    key = node if node in workflow else find(workflow, node)
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    if isinstance(workflow[key]["inputs"].get(name), str):
        value = text  # a text stays a text, even if it reads as a number
    return with_inputs(workflow, key, {name: value})
