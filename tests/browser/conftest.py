"""A page of the host in the system's Chromium; skipped with a reason where Playwright or the browser is not there."""

import shutil
from pathlib import Path

import pytest

SHOTS = Path(__file__).resolve().parents[2] / "output" / "browser"  # ignored by git; kept to be looked at
OFFLINE = ("--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync")
CHROMIUM = ("--no-sandbox", "--disable-gpu", "--no-first-run", *OFFLINE)
# What the page asks of the network or of a host too old for it, and says when it gets no answer. An answer of ours that
# is missing says the same: those are told by their address.
NOT_OURS = ("Failed to load resource", "ERR_", "favicon", "user.css", "comfy.org", "Content Security Policy")


READY = "window.app?.graph && Object.keys(LiteGraph.registered_node_types).length > 100"


def ours(url: str) -> bool:
    """Whether an address is of the pack. The page looks for help in the reader's language first."""
    return "fewstep" in url.lower() and "/docs/" not in url


def close_dialogs(page) -> None:
    """A newer page greets a first visitor with its templates."""
    page.wait_for_timeout(2000)
    for _ in range(3):
        page.keyboard.press("Escape")
        page.wait_for_timeout(200)


@pytest.fixture(scope="module")  # no longer: while it is open an event loop runs, which other tests cannot have
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright (requirements-test.txt) is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, headless=True, args=list(CHROMIUM))
        yield running
        running.close()


@pytest.fixture(scope="module")
def page(browser, host):
    """The host's page, opened once; page.errors collects what its console called an error."""
    opened = browser.new_page(viewport={"width": 1500, "height": 1000}, reduced_motion="reduce")
    opened.set_default_timeout(120000)  # a busy machine takes a minute to open a page; what is there is not waited for
    opened.route(lambda url: not url.startswith(host.url), lambda route: route.abort())
    opened.errors = []
    opened.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.on("console", lambda message: message.type == "error" and opened.errors.append(message.text))
    opened.on("response", lambda answer: answer.status >= 400 and ours(answer.url) and opened.errors.append(answer.url))
    opened.goto(host.url)
    opened.wait_for_function(READY)
    close_dialogs(opened)
    yield opened
    opened.close()


@pytest.fixture
def newer(page):
    """Pages of today's hosts, which show an extension's templates, help and language."""
    if not page.evaluate("!!app.extensionManager?.command?.commands.some(c => c.id === 'Comfy.ToggleHelpCenter')"):
        pytest.skip("this host's page has no templates of extensions")


@pytest.fixture
def shot(page):
    """Keep a picture of the page under a name, the whole graph in sight."""
    SHOTS.mkdir(parents=True, exist_ok=True)

    def keep(name: str) -> None:
        page.evaluate(FIT)
        page.wait_for_timeout(200)
        page.screenshot(path=SHOTS / f"{name}.png")

    return keep


FIT = """() => {
  const nodes = app.graph._nodes, view = app.canvas.ds;
  const left = Math.min(...nodes.map(n => n.pos[0])) - 40, top = Math.min(...nodes.map(n => n.pos[1])) - 60;
  const right = Math.max(...nodes.map(n => n.pos[0] + n.size[0])) + 40;
  const bottom = Math.max(...nodes.map(n => n.pos[1] + n.size[1])) + 40;
  view.scale = Math.min(1, 1500 / (right - left), 1000 / (bottom - top));
  view.offset = [-left, -top];
  app.canvas.setDirty(true, true);
}"""
