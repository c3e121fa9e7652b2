"""A graph without the host's queue: what leads to a node, its values over lists, and who may train a run folder."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from fewstep.host.graph import Evaluation, leading_to
from fewstep.launcher import cli, install, train


class Words:
    FUNCTION, OUTPUT_IS_LIST = "split", (True, False)
    made = 0

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": ("STRING",)}}

    def split(self, text):
        Words.made += 1
        return {"ui": {}, "result": (text.split(), len(text))}


class Joined:
    FUNCTION, INPUT_IS_LIST = "join", True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"words": ("STRING",), "by": ("STRING",)}, "hidden": {"me": "UNIQUE_ID"}}

    def join(self, words, by, me):
        return (f"{me[0]}:{by[0].join(words)}",)


@dataclass
class Answer:
    result: tuple


class Newer:
    """As newer nodes are: class methods, awaited, their outputs in an object."""

    FUNCTION, GET_SCHEMA = "execute", None

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"word": ("STRING",), "more": ("COMBO",)}}

    @classmethod
    async def execute(cls, word, more):
        await asyncio.sleep(0)
        return Answer((word.upper() + more[0],))


CLASSES = {"Words": Words, "Joined": Joined, "Newer": Newer}
GRAPH = {
    "1": {"class_type": "Words", "inputs": {"text": "a bc"}},
    "2": {"class_type": "Newer", "inputs": {"word": ["1", 0], "more": {"__value__": ["!", 0]}}},
    "3": {"class_type": "Joined", "inputs": {"words": ["2", 0], "by": "-"}},
    "4": {"class_type": "Of another pack", "inputs": {"text": ["3", 0]}},
}


def test_nodes_give_what_they_give_in_the_host():
    Words.made = 0
    nodes = Evaluation(GRAPH, CLASSES)
    assert nodes.outputs("3") == [["3:A!-BC!"]]
    assert nodes.outputs("1") == [["a", "bc"], [4]] and Words.made == 1
    assert nodes.inputs("3") == {"words": ["A!", "BC!"], "by": ["-"]}


def test_only_what_leads_to_a_node_is_kept():
    assert list(leading_to(GRAPH, "2")) == ["1", "2"]
    with pytest.raises(ValueError, match="a link from a node 9"):
        leading_to({"1": {"class_type": "Words", "inputs": {"text": ["9", 0]}}}, "1")


def test_a_node_of_another_pack_is_named():
    with pytest.raises(ValueError, match="a node Of another pack, which is neither"):
        Evaluation(GRAPH, CLASSES).outputs("4")


def python_of(tmp_path, *words) -> Path:
    args = cli.parse(["train", str(tmp_path), *words])
    assert train.is_run(args)
    return cli.choose_python(args)


def test_a_run_folder_installs_nothing(tmp_path, monkeypatch):
    """An environment that is not there is not made: this Python trains, if it has what is needed."""
    monkeypatch.setattr(install, "fill", lambda *_: pytest.fail("it installs"))
    monkeypatch.setattr(train, "ROOT", tmp_path)
    for name in ("FEWSTEP_VENV", "COMFYUI_DIR", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    asked = []
    monkeypatch.setattr(install, "check_packages", lambda python, files: asked.append(python))
    assert python_of(tmp_path) == Path(sys.executable) == asked[0]
    ready = install.venv_python(tmp_path / ".venv")
    ready.parent.mkdir(parents=True)
    ready.touch()
    assert python_of(tmp_path) == ready
    monkeypatch.setenv("WORLD_SIZE", "2")  # the launcher's Python runs all of them
    assert python_of(tmp_path) == Path(sys.executable)
    with pytest.raises(install.InstallError, match="give --comfyui DIR"):
        python_of(tmp_path, "--comfyui", "latest")


def test_a_file_is_still_run_by_a_host(tmp_path):
    file = tmp_path / "graph.json"
    file.write_text("{}")
    assert not train.is_run(cli.parse(["train", str(file)])) and not train.is_run(cli.parse(["api", str(tmp_path)]))
