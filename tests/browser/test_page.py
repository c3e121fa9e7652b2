"""The pack in the page as people use it: every workflow opens, one runs, a node is found, a value survives saving."""

import json
from pathlib import Path

import pytest
from fewstep.tools.family_workflows import UPSTREAM

from .conftest import NOT_OURS, READY, SHOTS, close_dialogs

FILES = sorted((Path(__file__).resolve().parents[2] / "workflows").glob("*.json"))
# A node of no known kind; a choice that its list has not, files apart: nobody here has the families' weights.
STATE = """() => app.graph._nodes.map(n => ({type: n.type,
  missing: !n.constructor.nodeData && n.type !== "Note",
  unknown: (n.widgets || []).filter(w => w.type === "combo" && Array.isArray(w.options?.values)
    && !w.options.values.includes(w.value) && !/[.](safetensors|sft|png|jpg|webp)$/.test(w.value)).map(w => w.name),
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
    if file.stem.partition("_family_")[2] in UPSTREAM and not newer:
        pytest.skip("this host is too old for the workflow's base")
    page.errors.clear()
    nodes = open_workflow(page, workflow)
    shot(file.stem)
    assert [n["type"] for n in nodes if n["missing"]] == []
    assert [(n["type"], n["unknown"]) for n in nodes if n["unknown"]] == []
    assert sorted(n["type"] for n in nodes) == sorted(n["type"] for n in workflow["nodes"])
    assert ours(page.errors) == []


def test_one_is_queued_and_shows_its_picture(page, shot):
    file = next(file for file in FILES if file.stem == "01_text_to_image_4_steps")
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


def test_the_templates_show_every_workflow_with_a_picture(page, newer):
    page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text("fewstep", exact=True).first.click()
    names = page.evaluate("fetch('/api/workflow_templates').then(r => r.json()).then(r => r.fewstep)")
    assert sorted(names) == [file.stem for file in FILES]
    page.wait_for_function("document.body.innerText.includes('02_image_to_image')")
    shown = page.evaluate("document.body.innerText.match(/^\\d\\d_\\w+$/gm)")
    assert shown[:8] == [file.stem for file in FILES[:8]]
    page.wait_for_function("[...document.querySelectorAll('img')].filter(i => i.naturalWidth === 320).length >= 8")
    page.screenshot(path=SHOTS / "templates.png")
    close_dialogs(page)


def test_the_help_of_a_node_opens(page, newer):
    page.evaluate("""() => { app.graph.clear(); const n = LiteGraph.createNode('FewStepKSampler');
      n.pos = [300, 300]; app.graph.add(n); app.canvas.selectNode(n); }""")
    page.get_by_test_id("info-button").first.click()
    page.get_by_text("Noise, timesteps and few-step sampler in one node.").first.wait_for()
    page.screenshot(path=SHOTS / "help.png")


def test_the_nodes_are_chinese_in_a_chinese_page(page, newer):
    page.evaluate("app.extensionManager.setting.set('Comfy.Locale', 'zh')")
    page.reload()
    page.wait_for_function(READY)
    kinds = page.evaluate("""Object.values(LiteGraph.registered_node_types)
      .filter(kind => kind.comfyClass?.startsWith('FewStep')).map(kind => [kind.comfyClass, kind.title])""")
    page.evaluate("app.extensionManager.setting.set('Comfy.Locale', 'en')")
    page.reload()
    page.wait_for_function(READY)
    close_dialogs(page)
    assert len(kinds) > 40
    assert [name for name, title in kinds if not any("\u4e00" <= letter <= "\u9fff" for letter in title)] == []


def test_classic_nodes_fold_their_advanced_inputs(page, newer):
    """Folded they are not drawn; Show Advanced of the node's menu draws them."""
    seen = page.evaluate("""() => { app.graph.clear(); const n = LiteGraph.createNode('FewStepDistill');
      app.graph.add(n); const drawn = () => n.widgets.filter(w => n.isWidgetVisible(w)).length;
      const folded = drawn(); n.toggleAdvanced(); return [folded, drawn(), n.widgets.length]; }""")
    assert seen[0] < seen[1] == seen[2]


def test_a_training_is_seen_on_its_node(page):
    """The curve beside labelled pictures, and the step, while it trains."""
    file = next(file for file in FILES if file.stem == "21_distil_lcm_lora")
    open_workflow(page, json.loads(file.read_text(encoding="utf-8")))
    page.evaluate(
        """(told) => {
      for (const node of app.graph._nodes) for (const widget of node.widgets || []) {
        const values = told[node.type] || {};
        if (widget.name in values) widget.value = values[widget.name];
      }
    }""",
        TRAINING,
    )
    page.evaluate("() => app.queuePrompt(0, 1)")
    page.wait_for_function("app.graph._nodes.find(n => n.type === 'FewStepDistill').imgs?.length", timeout=120000)
    page.evaluate("""() => { const node = app.graph._nodes.find(n => n.type === 'FewStepDistill');
      node.pos = [node.pos[0] - 700, node.pos[1]];
      node.setSize([640, node.size[1] + 260]);
      app.canvas.ds.scale = 0.9;
      app.canvas.ds.offset = [-node.pos[0] + 100, -node.pos[1] - node.size[1] + 1000];
      app.canvas.setDirty(true, true); }""")
    page.wait_for_timeout(1000)
    page.screenshot(path=SHOTS / "training.png")
    seen = page.evaluate("""() => { const node = app.graph._nodes.find(n => n.type === 'FewStepDistill');
      return [node.imgs[0].naturalWidth, node.progress]; }""")
    assert seen[0] > 300  # the curve and the pictures, side by side
    page.evaluate("fetch('/interrupt', {method: 'POST'})")


TRAINING = {
    "FewStepDistill": {"run_name": "seen", "steps": 400, "batch_size": 4, "preview_every": 6},
    "FewStepDataset": {"count": 16},
}
