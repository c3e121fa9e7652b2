"""Blueprints as files, without a host: they hold what their workflow holds, and every link is known at both ends."""

import json

import pytest
from fewstep.tools.blueprints import BLUEPRINTS, ENTRY, EXIT, read
from fewstep.tools.layout import ENDS
from fewstep.weights.workflows import graph

EACH = pytest.mark.parametrize("blueprint", BLUEPRINTS, ids=lambda blueprint: blueprint.name)


def opened(blueprint) -> tuple[dict, dict]:
    """(the node that the page adds, the graph in it)."""
    file = json.loads(blueprint.file.read_text(encoding="utf-8"))
    (outer,), (inside,) = file["nodes"], file["definitions"]["subgraphs"]
    assert outer["type"] == inside["id"] == blueprint.id_of()
    return outer, inside


def kept(blueprint) -> dict:
    workflow = read(blueprint)
    assert set(blueprint.outside) < set(workflow)
    left_out = {key for key, node in workflow.items() if node["class_type"] in ENDS} | set(blueprint.outside)
    return {key: node for key, node in workflow.items() if key not in left_out}


def by_source(blueprint) -> dict[tuple, set]:
    """{(node, slot): every (node, input) that it feeds} of the workflow."""
    found = {}
    for key, node in read(blueprint).items():
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                found.setdefault(tuple(value), set()).add((key, name))
    return found


def ends_of(inside: dict, link: dict) -> tuple:
    """(where it comes from: (node, slot) or the name of an input, where it goes: (node, input) or an output's name)."""
    nodes = {node["id"]: node for node in inside["nodes"]}
    start, end = (str(link["origin_id"]), link["origin_slot"]), link["target_id"]
    if link["origin_id"] == ENTRY:
        start = inside["inputs"][link["origin_slot"]]["name"]
    if end == EXIT:
        return start, inside["outputs"][link["target_slot"]]["name"]
    return start, (str(end), nodes[end]["inputs"][link["target_slot"]]["name"])


@EACH
def test_its_links_and_values_are_its_workflows(blueprint):
    """Flattened: who feeds whom inside, and every value that a widget holds, but for what saves or shows."""
    (_, inside), workflow = opened(blueprint), kept(blueprint)
    nodes = {str(node["id"]): node for node in inside["nodes"] if node["type"] != "Note"}
    assert {key: node["type"] for key, node in nodes.items()} == {k: n["class_type"] for k, n in workflow.items()}
    wired = {}
    for start, end in (ends_of(inside, link) for link in inside["links"]):
        if isinstance(start, tuple) and isinstance(end, tuple):
            wired.setdefault(start, set()).add(end)
    ours = {source: {place for place in fed if place[0] in workflow} for source, fed in by_source(blueprint).items()}
    assert wired == {source: fed for source, fed in ours.items() if source[0] in workflow and fed}
    for key, node in workflow.items():
        for name, value in node["inputs"].items():
            assert isinstance(value, list) or value in nodes[key]["widgets_values"], (key, name)


@EACH
def test_what_fed_it_from_outside_enters_by_a_socket(blueprint):
    """A socket for each output of a node left outside, named and typed by it, that goes wherever that went."""
    outer, inside = opened(blueprint)
    entered = {}
    for start, end in (ends_of(inside, link) for link in inside["links"]):
        if isinstance(start, str) and start not in blueprint.shown:
            entered.setdefault(start, set()).add(end)
    foreign = [fed for source, fed in sorted(by_source(blueprint).items()) if source[0] in blueprint.outside]
    assert list(entered.values()) == foreign
    sockets = [(one["name"], one["type"]) for one in outer["inputs"] if "widget" not in one]
    assert sockets == [(name, name.upper()) for name in entered]


@EACH
def test_what_stands_on_it_reaches_all_its_places(blueprint):
    """Every place held that value before; older pages are told the first one."""
    outer, inside = opened(blueprint)
    reached, workflow = {}, read(blueprint)
    for start, end in (ends_of(inside, link) for link in inside["links"]):
        if start in blueprint.shown:
            reached.setdefault(start, []).append(end)
    assert reached == {name: list(places) for name, places in blueprint.shown.items()}
    assert outer["properties"]["proxyWidgets"] == [list(places[0]) for places in blueprint.shown.values()]
    assert [one["widget"]["name"] for one in outer["inputs"] if "widget" in one] == list(blueprint.shown)
    for places in blueprint.shown.values():
        values = [workflow[key]["inputs"][name] for key, name in places]
        assert not isinstance(values[0], list) and values == values[:1] * len(values)


@EACH
def test_a_picture_and_a_model_come_out(blueprint):
    """What was saved or shown, at least."""
    outer, inside = opened(blueprint)
    out = [(start, end) for start, end in (ends_of(inside, link) for link in inside["links"]) if isinstance(end, str)]
    assert out == [(start, end) for end, start in blueprint.given.items()]
    assert {one["name"] for one in outer["outputs"]} >= {"IMAGE", "MODEL"}
    shown = {tuple(node["inputs"]["images"]) for node in read(blueprint).values() if node["class_type"] in ENDS}
    assert shown <= set(blueprint.given.values())


@EACH
def test_every_link_is_known_at_both_ends(blueprint):
    outer, inside = opened(blueprint)
    nodes, links = {node["id"]: node for node in inside["nodes"]}, inside["links"]
    sockets = [socket["link"] for node in nodes.values() for socket in node["inputs"] if socket["link"] is not None]
    leaving = [link for one in inside["outputs"] for link in one["linkIds"]]
    assert sorted([*sockets, *leaving]) == sorted(link["id"] for link in links)
    for link in links:
        start, end = inside["inputs"], inside["outputs"]
        if link["origin_id"] == ENTRY:
            assert link["id"] in start[link["origin_slot"]]["linkIds"]
        else:
            assert link["id"] in nodes[link["origin_id"]]["outputs"][link["origin_slot"]]["links"]
        if link["target_id"] == EXIT:
            assert end[link["target_slot"]]["linkIds"] == [link["id"]]
        else:
            assert nodes[link["target_id"]]["inputs"][link["target_slot"]]["link"] == link["id"]
    for side in ("inputs", "outputs"):
        assert [(o["name"], o["type"]) for o in outer[side]] == [(o["name"], o["type"]) for o in inside[side]]
        assert all(one["linkIds"] for one in inside[side])
        assert len({one["id"] for one in inside[side]}) == len({one["name"] for one in inside[side]})


@EACH
def test_its_seed_draws_another_picture_each_time(blueprint):
    _, inside = opened(blueprint)
    ((key, name),), nodes = blueprint.shown["seed"], {str(node["id"]): node for node in inside["nodes"]}
    values = nodes[key]["widgets_values"]
    assert values[values.index("randomize") - 1] == read(blueprint)[key]["inputs"][name]


@EACH
def test_check_workflow_reads_it_as_its_workflow(blueprint):
    """Through the pack's own reader of subgraphs: the same nodes inside, fed by the same outputs."""
    found = graph.from_data(json.loads(blueprint.file.read_text(encoding="utf-8")))
    links = {}
    for key, node in found.items():
        if node.kind != "Note":
            links[key.split(":")[1]] = {name: (start.split(":")[1], slot) for name, (start, slot) in node.links.items()}
    wanted = {}
    for key, node in kept(blueprint).items():
        sources = {name: tuple(value) for name, value in node["inputs"].items() if isinstance(value, list)}
        wanted[key] = {name: source for name, source in sources.items() if source[0] not in blueprint.outside}
    assert links == wanted
