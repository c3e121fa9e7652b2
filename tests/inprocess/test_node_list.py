"""What graphs that people saved rely on: ids, inputs, outputs and defaults are those that are written down."""

import json

import pytest

pytest.importorskip("comfy", reason="the embedded host is not installed here")

from fewstep.tools import help_pages, node_list


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COMFYUI_DIR", raising=False)
        from fewstep.host import headless

        headless.start(workdir=tmp_path_factory.mktemp("node-list"))
        from fewstep import nodes

        yield nodes.NODE_CLASS_MAPPINGS


def test_nothing_that_graphs_rely_on_has_changed(nodes):
    """A change that is meant: `python run.py tool node_list`."""
    written = json.loads(node_list.FILE.read_text(encoding="utf-8"))
    assert {name: node_list.listed(node) for name, node in nodes.items()} == written
    assert node_list.text_of(nodes) == node_list.FILE.read_text(encoding="utf-8")  # and in this order


def test_every_node_is_in_a_menu_and_has_a_title_of_its_own(nodes):
    menus = {"sampling", "loaders", "merging", "training", "training/methods", "training/rewards", "training/data"}
    assert {node.CATEGORY.removeprefix("FewStep/") for node in nodes.values()} <= menus
    titles = [node.TITLE for node in nodes.values()]
    assert len(set(titles)) == len(titles) and all(title.startswith("FewStep ") for title in titles)


def test_every_output_has_a_tooltip_and_every_node_search_words(nodes):
    for name, node in nodes.items():
        assert len(node.OUTPUT_TOOLTIPS) == len(node.RETURN_TYPES) and all(node.OUTPUT_TOOLTIPS), name
        assert node.SEARCH_ALIASES and node.DESCRIPTION, name


@pytest.mark.parametrize("language", help_pages.HEADINGS)
def test_the_help_pages_list_the_inputs_as_they_are(language, nodes):
    """Otherwise: `python run.py tool help_pages`."""
    for name, node in nodes.items():
        page = help_pages.PAGES / name / f"{language}.md"
        assert help_pages.written(node, language) == page.read_text(encoding="utf-8"), name


def test_distill_takes_its_defaults_from_the_settings_of_the_loop(nodes):
    from fewstep.training.config import TrainConfig

    config, widgets = TrainConfig(), nodes["FewStepDistill"].INPUT_TYPES()["optional"]
    same = {name: spec[1]["default"] for name, spec in widgets.items() if hasattr(config, name)}
    assert same.pop("precision") == "auto" and len(same) > 15
    assert same == {name: getattr(config, name) for name in same}


def test_no_widget_of_a_training_changes_by_itself_after_a_run(nodes):
    """Pages give `seed` and `noise_seed` a control that draws a new one, and a changed run cannot go on."""
    specs = help_pages.specs_of(nodes["FewStepDistill"])
    assert not {"seed", "noise_seed"} & specs.keys()
    assert not [name for name, (_, more) in specs.items() if more.get("control_after_generate")]


def test_prompts_that_were_just_added_to_a_graph_are_some(nodes):
    node = nodes["FewStepPrompts"]
    defaults = {name: more["default"] for name, (_, more) in help_pages.specs_of(node).items()}
    _, count = node().build(**defaults)
    assert count == 2


def test_a_loader_begins_with_a_file_that_it_knows(nodes):
    from fewstep.nodes.load import ours_first

    assert ours_first(["a-style.safetensors", "lcm-lora-sdv1-5.safetensors"])[1]["default"].startswith("lcm-lora")
    assert "default" not in ours_first(["a-style.safetensors"])[1]
