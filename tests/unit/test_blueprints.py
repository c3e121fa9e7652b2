"""Blueprints as files, without a host: they hold what their workflow holds, and every link is known at both ends."""

import json

import pytest
from fewstep.tools.blueprints import BLUEPRINTS, EXIT, read
from fewstep.tools.layout import ENDS

EACH = pytest.mark.parametrize("blueprint", BLUEPRINTS, ids=lambda blueprint: blueprint.name)


def definition(blueprint) -> dict:
    file = json.loads(blueprint.file.read_text(encoding="utf-8"))
    (outer,), (inside,) = file["nodes"], file["definitions"]["subgraphs"]
    assert outer["type"] == inside["id"] == blueprint.id
    assert [(one["name"], one["type"]) for one in outer["outputs"]] == [
        (one["name"], one["type"]) for one in inside["outputs"]
    ]
    return inside


@EACH
def test_its_links_and_values_are_its_workflows(blueprint):
    """Flattened: (from, slot, to, socket) and every value that a widget holds, but for what saves or shows."""
    inside, workflow = definition(blueprint), read(blueprint)
    kept = {key: node for key, node in workflow.items() if node["class_type"] not in ENDS}
    nodes = {str(node["id"]): node for node in inside["nodes"] if node["type"] != "Note"}
    assert {key: node["type"] for key, node in nodes.items()} == {k: node["class_type"] for k, node in kept.items()}
    wired = set()
    for link in inside["links"]:
        if link["target_id"] != EXIT:
            target = nodes[str(link["target_id"])]["inputs"][link["target_slot"]]
            wired.add((str(link["origin_id"]), link["origin_slot"], str(link["target_id"]), target["name"]))
    values = {(key, name): value for key, node in kept.items() for name, value in node["inputs"].items()}
    assert wired == {(*value, key, name) for (key, name), value in values.items() if isinstance(value, list)}
    for (key, name), value in values.items():
        assert isinstance(value, list) or value in nodes[key]["widgets_values"], (key, name)


@EACH
def test_every_link_is_known_at_both_ends(blueprint):
    inside = definition(blueprint)
    nodes, links = {node["id"]: node for node in inside["nodes"]}, inside["links"]
    sockets = [socket["link"] for node in nodes.values() for socket in node["inputs"] if socket["link"] is not None]
    leaving = [link for one in inside["outputs"] for link in one["linkIds"]]
    assert sorted([*sockets, *leaving]) == sorted(link["id"] for link in links)
    for link in links:
        assert link["id"] in nodes[link["origin_id"]]["outputs"][link["origin_slot"]]["links"]
        if link["target_id"] == EXIT:
            assert inside["outputs"][link["target_slot"]]["linkIds"] == [link["id"]]
        else:
            assert nodes[link["target_id"]]["inputs"][link["target_slot"]]["link"] == link["id"]
    assert leaving


@EACH
def test_what_stands_on_it_lies_in_it(blueprint):
    file = json.loads(blueprint.file.read_text(encoding="utf-8"))
    shown = [tuple(one) for one in file["nodes"][0]["properties"]["proxyWidgets"]]
    assert shown == list(blueprint.shown) and len(set(shown)) == len(shown)
    inputs = {key: node["inputs"] for key, node in read(blueprint).items()}
    assert all(not isinstance(inputs[key][widget], list) for key, widget in shown)
