"""graph.json in a run folder: what is written there, and what is refused."""

import json

import pytest

pytest.importorskip("comfy", reason="the embedded host is not installed here")

LOADER = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a"}, "_meta": {"title": "x"}}


def node(**inputs) -> dict:
    return {"class_type": "FewStepDistill", "inputs": {"model": ["1", 0], "run_name": "far", **inputs}}


@pytest.fixture
def job(tiny, tmp_path):
    from fewstep.host.training.job import Job

    return Job(*[None] * 6, "far", [], place=tmp_path / "far")


def test_texts_from_other_nodes_become_values_and_what_is_behind_stays_out(job):
    from fewstep.host.training import run_folder

    graph = {"1": LOADER, "2": node(start_file=["7", 1]), "7": node(), "8": {"class_type": "Save", "inputs": {}}}
    told = {"start_file": "fewstep/first.safetensors", "where": "in this process"}
    run_folder.write(job, graph, "2", told)
    found, key = run_folder.read(job.folder.path)
    assert list(found) == ["1", "2"] and key == "2" and "_meta" not in found["1"]
    assert found["2"]["inputs"]["start_file"] == "fewstep/first.safetensors"
    assert graph["2"]["inputs"]["start_file"] == ["7", 1]  # the host's own graph is as it was


def test_a_training_behind_a_training_is_refused(job):
    from fewstep.host.training import run_folder

    with pytest.raises(ValueError, match=r"another training \(node 7\) leads to this one"):
        run_folder.write(job, {"1": LOADER, "2": node(model=["7", 0]), "7": node()}, "2", {})
    assert not job.folder.path.exists()


@pytest.mark.parametrize(
    "text, sentence", [("[1]", "no graph"), ("{", "no graph"), ("{}", "has 0 nodes"), (None, "has no graph.json")]
)
def test_what_is_no_exported_run_is_said(text, sentence, tmp_path, tiny):
    from fewstep.host.training import run_folder

    if text is not None:
        (tmp_path / "graph.json").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        run_folder.read(tmp_path)


def test_two_trainings_in_one_folder_are_said(tmp_path, tiny):
    from fewstep.host.training import run_folder

    (tmp_path / "graph.json").write_text(json.dumps({"1": node(), "2": node()}))
    with pytest.raises(ValueError, match="has 2 nodes"):
        run_folder.read(tmp_path)
