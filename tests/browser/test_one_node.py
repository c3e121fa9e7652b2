"""Blueprints in the page: found by search, filled in and connected from outside, run."""

import pytest
from fewstep.tools.blueprints import BLUEPRINTS

from .conftest import FIT, SHOTS, close_dialogs

DRAW, DISTIL = BLUEPRINTS
OUTER = "app.graph._nodes.find(n => n.subgraph)"
# {node inside: its inputs} of what the page would send
SENT = """async () => Object.fromEntries(Object.entries((await app.graphToPrompt()).output)
  .map(([id, node]) => [id.split(":").at(-1), node.inputs]))"""
PICTURES = "app.graph._nodes.filter(n => n.type === 'PreviewImage')"
# Nodes by name, then links: [from, output, to, input].
BUILD = """([nodes, links]) => {
  const made = { outer: app.graph._nodes.find(n => n.subgraph) };
  Object.entries(nodes).forEach(([name, [kind, values]], i) => {
    const node = made[name] = LiteGraph.createNode(kind);
    node.pos = [made.outer.pos[0] + 440 + 340 * (i % 3), 100 + 340 * Math.floor(i / 3)];
    app.graph.add(node);
    for (const widget of node.widgets ?? []) if (widget.name in values) widget.value = values[widget.name];
  });
  for (const [from, output, to, input] of links)
    made[from].connect(output, made[to], made[to].inputs.findIndex(one => one.name === input));
}"""


@pytest.fixture
def found(page, newer):
    """A function that adds a blueprint by the page's own search, to a new workflow: a cleared one keeps old values."""

    def find(name: str) -> None:
        close_dialogs(page)
        page.evaluate("app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
        page.wait_for_function("app.graph._nodes.length === 0")
        page.mouse.dblclick(750, 500)
        page.keyboard.type(name, delay=20)
        page.get_by_text(name, exact=True).last.wait_for()
        page.wait_for_timeout(1000)
        page.keyboard.press("Enter")
        page.wait_for_function("app.graph._nodes.length === 1 && app.graph._nodes[0].subgraph")
        page.mouse.click(750, 400)  # the page hangs a new node on the pointer

    return find


def fill(page, **values) -> None:
    """Write widgets of the blueprint as a user does."""
    page.evaluate(
        f"values => {{ for (const w of {OUTER}.widgets) if (w.name in values) {{ w.value = values[w.name]; "
        "w.callback?.(w.value); } }",
        values,
    )


def on_it(page) -> dict:
    return page.evaluate(f"Object.fromEntries({OUTER}.widgets.map(w => [w.name, w.value]))")


@pytest.mark.parametrize("blueprint", BLUEPRINTS, ids=lambda blueprint: blueprint.name)
def test_what_is_typed_on_it_reaches_every_place(blueprint, found, page):
    found(blueprint.name)
    before = on_it(page)
    assert list(before) == list(blueprint.shown)
    page.screenshot(path=SHOTS / f"blueprint_{blueprint.source}.png")
    typed = {name: value + 8 for name, value in before.items() if isinstance(value, (int, float))}
    typed |= {name: f"my {name}" for name in before.keys() & {"prompt", "training_prompts", "run_name"}}
    fill(page, **typed)
    sent = page.evaluate(SENT)
    for name, places in blueprint.shown.items():
        wanted = typed.get(name, before[name])
        assert [sent[key][inside] for key, inside in places] == [wanted] * len(places), name


def test_one_draws_and_its_seed_moves_on(found, page):
    found(DRAW.name)
    page.evaluate(BUILD, [{"shown": ["PreviewImage", {}]}, [["outer", 0, "shown", "images"]]])
    seed = on_it(page)["seed"]
    page.evaluate("() => app.queuePrompt(0, 1)")
    page.wait_for_function(f"{PICTURES}.some(n => n.imgs?.length)")
    page.screenshot(path=SHOTS / "blueprint_drawn.png")
    assert on_it(page)["seed"] != seed


def test_a_text_can_be_connected_to_it(found, page):
    found(DRAW.name)
    words = {"words": ["PrimitiveString", {"value": "robot, flat style"}]}
    page.evaluate(BUILD, [words, [["words", 0, "outer", "prompt"]]])
    sent = page.evaluate(SENT)
    ((key, name),) = DRAW.shown["prompt"]
    assert sent[sent[key][name][0]]["value"] == "robot, flat style"


OUTSIDE = {
    "loader": ["CheckpointLoaderSimple", {"ckpt_name": "fewstep-tiny-sd.safetensors"}],
    "text": ["CLIPTextEncode", {"text": "robot, flat style"}],
    "empty": ["EmptyLatentImage", {"width": 96, "height": 96}],
    "sampler": ["FewStepKSampler", {"steps": 4}],
    "decoder": ["VAEDecode", {}],
    "own": ["PreviewImage", {}],
    "inner": ["PreviewImage", {}],
    "curve": ["PreviewImage", {}],
}
WIRES = [
    *(["loader", slot, "outer", name] for slot, name in enumerate(("model", "clip", "vae"))),
    ["loader", 1, "text", "clip"],
    ["outer", 0, "sampler", "model"],
    ["text", 0, "sampler", "positive"],
    ["text", 0, "sampler", "negative"],
    ["empty", 0, "sampler", "latent_image"],
    ["sampler", 0, "decoder", "samples"],
    ["loader", 2, "decoder", "vae"],
    ["decoder", 0, "own", "images"],
    ["outer", 1, "inner", "images"],
    ["outer", 3, "curve", "images"],
]


def test_one_trains_and_its_student_draws_outside(found, page, host):
    """A few steps: the file is written, and the model that comes out draws with a sampler of the graph around it."""
    found(DISTIL.name)
    page.evaluate(BUILD, [OUTSIDE, WIRES])
    fill(page, run_name="from-a-blueprint", training_steps=4, batch_size=4, images=16)
    page.evaluate(FIT)  # a node out of sight has no picture
    page.evaluate("() => app.queuePrompt(0, 1)")
    page.wait_for_function(f"{PICTURES}.every(n => n.imgs?.length)", timeout=240000)
    page.screenshot(path=SHOTS / "blueprint_trained.png")
    assert [*host.workdir.rglob("from-a-blueprint*.safetensors")]
    sizes = page.evaluate(f"{PICTURES}.map(n => n.imgs[0].naturalWidth)")
    assert sizes[:2] == [96, 96] and sizes[2] > 96
