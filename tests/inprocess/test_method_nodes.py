"""The method nodes: their defaults are the options' own, every widget reaches them, and errors name the node."""

import pytest

pytest.importorskip("comfy", reason="the embedded host is not installed here")

from fewstep.training import methods, on_images, options
from fewstep.training.options_continuous import ContinuousOptions
from fewstep.training.options_trajectory import TrajectoryOptions


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COMFYUI_DIR", raising=False)
        from fewstep.host import headless

        headless.start(workdir=tmp_path_factory.mktemp("method-nodes"))
        from fewstep import nodes

        yield nodes.NODE_CLASS_MAPPINGS


class Network:
    name, alpha = "network", 0.5


LCM = methods.lcm(options.ConsistencyOptions())
SOCKETS = {"method": LCM, "first": LCM, "second": LCM, "reward": Network(), "critic": Network()}
DEFAULTS = {
    "LCM": LCM,
    "LCF": methods.lcf(options.ConsistencyOptions()),
    "SCM": methods.scm(ContinuousOptions()),
    "TSCD": methods.tscd(options.TSCDOptions()),
    "ImagineFlash": methods.imagine_flash(options.ReconstructionOptions()),
    "Pairs": methods.pairs(options.PairsOptions()),
    "SwiftBrush": methods.swiftbrush(options.SwiftBrushOptions()),
    "DMD": methods.dmd(options.DMDOptions()),
    "TDM": methods.tdm(TrajectoryOptions()),
    "Feedback": on_images.with_feedback(LCM, options.FeedbackOptions(), SOCKETS["reward"]),
    "Perception": on_images.with_perception(LCM, options.PerceptionOptions(critic="network"), SOCKETS["critic"]),
}
OTHERS = {  # another value of each widget that is a text
    "segments": "4, 2, 1, 1",
    "phase_steps": "1, 2, 3, 4",
    "distance": "4, 3, 2, 1",
    "adversarial": "0.1, 0.2, 0.3, 0.4",
    "skip": "40, 40, 20, 20",
    "guidance": "5",
    "timesteps": "900, 500",
    "steps": "1, 2",
    "critic_layers": "to_k",
    "alpha": "0.25",
}


def widgets(node) -> dict:
    """{name: (kind or choices, options)} of what is no socket."""
    inputs = {name: spec for group in node.INPUT_TYPES().values() for name, spec in group.items()}
    return {name: spec for name, spec in inputs.items() if name not in SOCKETS}


def built(node, **changed):
    """The method at the node's defaults, but for what is changed."""
    inputs = {name: spec for group in node.INPUT_TYPES().values() for name, spec in group.items()}
    values = {name: SOCKETS[name] if name in SOCKETS else spec[1]["default"] for name, spec in inputs.items()}
    return getattr(node(), node.FUNCTION)(**{**values, **changed})[0]


def test_every_method_node_is_looked_at(nodes):
    assert {f"FewStepMethod{name}" for name in (*DEFAULTS, "Sum")} == {n for n in nodes if "Method" in n}


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_nodes_defaults_are_the_options_defaults(name, nodes):
    assert built(nodes[f"FewStepMethod{name}"]).recipe() == DEFAULTS[name].recipe()


def another(name: str, spec: tuple):
    """A value of the widget that is not its default."""
    kind, more = spec
    if isinstance(kind, list):
        return next(value for value in kind if value != more["default"])
    if kind == "BOOLEAN":
        return not more["default"]
    if kind == "STRING":
        return OTHERS[name]
    step = more.get("step", 1)
    return more["default"] + step if more["default"] + step <= more["max"] else more["default"] - step


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_widget_reaches_the_options(name, nodes):
    node = nodes[f"FewStepMethod{name}"]
    default = built(node)
    for widget, spec in widgets(node).items():
        more = {"guidance_max": 30.0} if widget == "guidance_min" else {}  # min must not exceed max
        value = another(widget, spec)
        if (widget, name) == ("skip", "LCM") or widget == "skip" and spec[0] == "INT":
            value = 40  # a multiple of the grid's step
        if widget == "grid":
            value = 100
        if (widget, name) == ("timesteps", "SwiftBrush"):
            value = "500"  # one step
        changed = built(node, **more, **{widget: value})
        assert (changed.options, changed.turns) != (default.options, default.turns), widget


@pytest.mark.parametrize(
    "name, changed, message",
    [
        ("TSCD", {"skip": "7"}, "^FewStep Method TSCD: skip must be a multiple of 20"),
        ("TSCD", {"segments": "8; 4"}, "^FewStep Method TSCD: segments must be numbers with commas between them"),
        ("LCM", {"guidance_min": 9.0}, "^FewStep Method LCM: guidance needs 0 < min <= max"),
        ("ImagineFlash", {"timesteps": "1, 2"}, "^FewStep Method Imagine Flash: timesteps must fall within 999..0"),
        ("SwiftBrush", {"timesteps": "900, 500"}, "^FewStep Method SwiftBrush: SwiftBrush's student has one step"),
        ("Feedback", {"weight": 0.0}, "^FewStep Method Feedback: weight 0 would do nothing"),
        ("Feedback", {"alpha": "much"}, "^FewStep Method Feedback: alpha must be a number"),
        ("Sum", {"weight": 0.0}, "^FewStep Method Sum: weight 0 would train"),
    ],
)
def test_errors_begin_with_the_title_in_the_menu(name, changed, message, nodes):
    with pytest.raises(ValueError, match=message):
        built(nodes[f"FewStepMethod{name}"], **changed)


def test_a_sentence_names_its_node_once(nodes):
    from fewstep.nodes import wrapper

    node = nodes["FewStepDistill"]
    for text in ("no.", "FewStepDistill: no.", "FewStep Distill: no."):
        assert wrapper.sentence(node, text) == "FewStep Distill: no."
    other = "FewStepDataset: no image. Connect FewStepPrompts."
    assert wrapper.sentence(node, other) == "FewStep Distill: FewStep Dataset: no image. Connect FewStep Prompts."
    function = node.distil
    assert wrapper.wrapped(node).distil is function
