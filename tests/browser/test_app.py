"""The workflow that is an app, as its user meets it: a card in Templates, a prompt, a Run button, a picture."""

import json
from pathlib import Path

import pytest
import requests

from .conftest import SHOTS, close_dialogs

NAME = "07_text_to_image.app"  # today's page takes a template of this ending for an app
WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
SHOWN = "[...document.querySelectorAll('img')].filter(i => i.offsetParent && i.src.includes('fewstep_app'))"


@pytest.fixture
def opened(page, newer):
    """The app, opened from its card; afterwards the page shows a graph again."""
    page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text("fewstep", exact=True).first.click()
    card = page.get_by_test_id(f"template-workflow-{NAME}")
    card.wait_for()
    page.card = card.inner_text().split("\n")
    card.click()
    skip = page.get_by_role("button", name="Skip")  # a tour greets who has not seen an app yet
    skip.or_(page.get_by_test_id("linear-run-button")).first.wait_for()
    page.wait_for_timeout(1000)
    if skip.count():
        skip.click()
    yield page
    graph = json.loads((WORKFLOWS / "01_text_to_image_4_steps.json").read_text(encoding="utf-8"))
    page.evaluate("async (w) => { await app.loadGraphData(w, true, true, 'graph') }", graph)
    close_dialogs(page)


def test_a_prompt_typed_in_the_app_is_drawn_by_its_own_run_button(opened, client):
    """Only prompt, steps, seed and picture are shown, the prompt first; Run sends what was typed."""
    assert "App" in opened.card and "Node graph" not in opened.card
    shown = opened.evaluate("app.graph.extra.linearData")
    assert [widget for _, widget in shown["inputs"]] == ["text", "steps", "noise_seed"] and len(shown["outputs"]) == 1
    prompt = opened.locator("textarea:visible")
    assert prompt.count() == 1 and prompt.input_value() == "red apple, 3d style"
    prompt.fill("robot, flat style, on a blue background")
    before = set(requests.get(f"{client.url}/history", timeout=10).json())
    opened.get_by_role("button", name="Run", exact=True).click()
    opened.wait_for_function(f"{SHOWN}.some(i => i.naturalWidth === 96)")
    opened.screenshot(path=SHOTS / "app.png")
    history = requests.get(f"{client.url}/history", timeout=10).json()
    (run,) = (history[key] for key in history.keys() - before)
    typed = {node["inputs"]["text"] for node in run["prompt"][2].values() if node["class_type"] == "CLIPTextEncode"}
    assert typed == {"robot, flat style, on a blue background", ""}
    assert run["status"]["status_str"] == "success"
