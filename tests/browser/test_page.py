"""The pack in the page as people use it: every workflow opens, one runs, a node is found, a value survives saving."""

import json
from pathlib import Path

import pytest
from fewstep.tools.family_workflows import UPSTREAM

from .conftest import NOT_OURS

FILES = sorted((Path(__file__).resolve().parents[2] / "workflows").glob("*.json"))
STATE = """() => app.graph._nodes.map(n => ({type: n.type,
  missing: !!n.has_errors || !n.constructor.nodeData && n.type !== "Note",
  values: (n.widgets || []).map(w => w.value)}))"""


def open_workflow(page, workflow: dict) -> list[dict]:
    """Load it as the page's own Open does; what the graph then holds."""
    page.evaluate("async (w) => { await app.loadGraphData(w) }", workflow)
    return page.evaluate(STATE)


def ours(errors: list[str]) -> list[str]:
    return [error for error in errors if not any(word in error for word in NOT_OURS)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_workflow_opens(file, page, shot):
    workflow = json.loads(file.read_text(encoding="utf-8"))
    newer = page.evaluate("!!LiteGraph.registered_node_types.FluxGuidance")
    if file.stem.removeprefix("family_") in UPSTREAM and not newer:
        pytest.skip("this host is too old for the workflow's base")
    page.errors.clear()
    nodes = open_workflow(page, workflow)
    shot(file.stem)
    assert [n["type"] for n in nodes if n["missing"]] == []
    assert sorted(n["type"] for n in nodes) == sorted(n["type"] for n in workflow["nodes"])
    assert ours(page.errors) == []


def test_one_is_queued_and_shows_its_picture(page, shot):
    file = next(file for file in FILES if file.stem == "text_to_image_4_steps")
    open_workflow(page, json.loads(file.read_text(encoding="utf-8")))
    page.evaluate("""async () => {
      window.seen = [];
      const { api } = await import("/scripts/api.js");
      for (const name of ["progress", "executed"]) api.addEventListener(name, () => seen.push(name));
    }""")
    page.evaluate("() => app.queuePrompt(0, 1)")
    page.wait_for_function("seen.includes('executed')", timeout=60000)
    page.wait_for_function("app.graph._nodes.some(n => n.type === 'SaveImage' && n.imgs?.length)", timeout=10000)
    shot("text_to_image_4_steps_done")
    assert "progress" in page.evaluate("seen")


def test_a_changed_value_survives_saving_and_loading(page):
    page.evaluate("() => { app.graph.clear(); app.graph.add(LiteGraph.createNode('FewStepLoadLora')) }")
    page.evaluate("() => { app.graph._nodes[0].widgets.find(w => w.name === 'steps').value = 7 }")
    saved = page.evaluate("() => app.graph.serialize()")
    (node,) = open_workflow(page, saved)
    assert 7 in node["values"]
