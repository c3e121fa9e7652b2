"""What graphs that people saved rely on: ids, inputs, outputs and defaults are those that are written down."""

import json

import pytest

pytest.importorskip("comfy", reason="the embedded host is not installed here")

from fewstep.tools import node_list


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
