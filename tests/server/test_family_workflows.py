"""The workflows for published few-step files: current, valid for the host, and run on a random small SDXL in it."""

import json

import numpy
import pytest
from fewstep.tests.helpers import tiny_transformers
from fewstep.tests.helpers.server_runs import pictures
from fewstep.tools import family_workflows
from fewstep.tools.family_workflows import FOLDER, ROWS, UPSTREAM
from fewstep.tools.ui_format import (
    NEWER_NODES,
    choices_of,
    inputs_of,
    is_forced,
    is_link,
    is_widget,
    nodes_for,
    options_of,
)

FILES = ("ckpt_name", "lora_name", "unet_name", "vae_name", "model_name", "clip_name", "clip_name1", "clip_name2")
KINDS = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}
TRANSFORMERS = [row for row in ROWS if row.name.startswith(("sd3", "flux"))]
RUN = [row for row in ROWS if row.name.startswith(("sdxl", "sd15"))]


def read(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def complaints(workflow: dict, object_info: dict) -> list[str]:
    """What a host with these nodes would refuse, except for files that are not there."""
    found = []
    for key, node in workflow.items():
        info = object_info.get(node["class_type"])
        if info is None:
            found.append(f"{key}: no node {node['class_type']}")
            continue
        specs = inputs_of(info)
        found += [f"{key}: {name} is missing" for name in info["input"]["required"] if name not in node["inputs"]]
        for name, value in node["inputs"].items():
            text = wrong(name, value, specs.get(name), workflow, object_info)
            found += [f"{key}.{name}: {text}"] if text else []
    return found


def wrong(name: str, value, spec: list | None, workflow: dict, object_info: dict) -> str:
    """What does not fit of one input: its link's type, its kind, its list, its bounds. "" if it fits."""
    if spec is None:
        return "no such input"
    if is_link(value):
        outputs = object_info.get(workflow[value[0]]["class_type"], {"output": []})["output"]
        return "" if outputs[value[1] : value[1] + 1] == [spec[0]] else f"wants {spec[0]}, is linked to {outputs}"
    if not is_widget(spec) or is_forced(spec):
        return "a value where a link is wanted"
    choices, options = choices_of(spec), options_of(spec)
    if choices is not None:
        return "" if name in FILES or value in choices else f"{value!r} is not in its list"
    if not isinstance(value, KINDS[spec[0]]) or isinstance(value, bool) != (spec[0] == "BOOLEAN"):
        return f"{value!r} is no {spec[0]}"
    numeric = spec[0] in ("INT", "FLOAT")
    return "" if not numeric or options["min"] <= value <= options["max"] else f"{value} is out of bounds"


@pytest.fixture(scope="module")
def files(host):
    """Random files under the published names, in the host's folders."""
    pytest.importorskip("comfy", reason="the embedded host's classes make the small SDXL")
    from fewstep.tests.helpers.tiny_files import write

    write(host.workdir / "models", RUN)


def test_the_files_are_what_the_table_says():
    """Otherwise: `python run.py tool family_workflows`, then `python run.py tool ui_format`."""
    assert {file.stem for file in FOLDER.glob("*.json")} == {row.name for row in ROWS}
    for row in ROWS:
        text = (FOLDER / f"{row.name}.json").read_text(encoding="utf-8")
        assert text == family_workflows.text_of(family_workflows.workflow(row)), row.name


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_note_names_every_file_and_where_it_is_from(row):
    workflow = read(row.name)
    (note,) = (node["_meta"]["note"] for node in workflow.values() if "_meta" in node)
    named = {value for node in workflow.values() for name, value in node["inputs"].items() if name in FILES}
    assert named == {file.name for file in (*row.files, *row.base)}
    assert all(f"{file.folder}/{file.name}\n  from {file.page}" in note for file in (*row.files, *row.base))
    assert "sampler" in note and "source" in note and "://" not in note


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_host_knows_every_node_widget_and_list(row, object_info):
    """A host too old for a base's nodes is completed from a newer one's description."""
    workflow = read(row.name)
    nodes = nodes_for(FOLDER / f"{row.name}.json", object_info)
    assert complaints(workflow, nodes) == []


FAULTS = [
    ("2", "steps", 4.5, "2.steps: 4.5 is no INT"),
    ("2", "steps", 0, "2.steps: 0 is out of bounds"),
    ("2", "family", "LCM", "2.family: 'LCM' is not in its list"),
    ("2", "step", 4, "2.step: no such input"),
    ("2", "model", 1, "2.model: a value where a link is wanted"),
    ("2", "model", ["1", 1], "2.model: wants MODEL, is linked to"),
    ("6", "sigmas", ["2", 7], "6.sigmas: wants SIGMAS, is linked to"),
]


@pytest.mark.parametrize("key, name, value, text", FAULTS)
def test_faults_are_found(key, name, value, text, object_info):
    """The check above is worth something."""
    workflow = read("sdxl_lcm_lora")
    workflow[key]["inputs"][name] = value
    (found,) = complaints(workflow, object_info)
    assert found.startswith(text)


def test_missing_inputs_and_nodes_are_found(object_info):
    workflow = read("sdxl_lcm_lora")
    del workflow["6"]["inputs"]["sigmas"]
    workflow["5"]["class_type"] = "NoSuchNode"
    assert {"6: sigmas is missing", "5: no node NoSuchNode"} <= set(complaints(workflow, object_info))


def test_the_newer_hosts_description_is_true(object_info):
    """Where the host of these tests is a newer one, it has those nodes with those inputs."""
    if "FluxGuidance" not in object_info:
        pytest.skip("this host is too old to compare")
    for name, info in json.loads(NEWER_NODES.read_text(encoding="utf-8")).items():
        assert inputs_of(info).keys() <= inputs_of(object_info[name]).keys()
        assert info["output"] == object_info[name]["output"]


@pytest.mark.parametrize("row", RUN, ids=lambda row: row.name)
def test_it_runs_on_random_small_weights(row, client, files):
    """As it stands, at 128 pixels; the few-step file changes the picture, except where it is the whole model."""
    workflow = read(row.name)
    for node in workflow.values():
        if node["class_type"] == "EmptyLatentImage":
            node["inputs"].update(width=128, height=128)
    (made,) = pictures(client, workflow)[f"fewstep_{row.name}"]
    assert made.shape == (128, 128, 3) and numpy.isfinite(made).all() and made.std() > 0.05
    if row.file.folder == "loras":
        lora = next(node for node in workflow.values() if node["class_type"] == "FewStepLoadLora")
        lora["inputs"]["strength"] = 0.0
        (without,) = pictures(client, workflow)[f"fewstep_{row.name}"]
        assert abs(made - without).mean() > 0.005


@pytest.mark.parametrize("row", TRANSFORMERS, ids=lambda row: row.name)
def test_a_transformers_workflow_runs_on_random_small_weights(row, client, host, object_info):
    """The shipped graph but for its loaders of base, text and VAE (see tiny_transformers.py)."""
    if tiny_transformers.SINCE[row.name.partition("_")[0]] not in object_info:
        pytest.skip("this host is too old to tell this transformer's size from its tensors, or the file's names")
    tiny_transformers.write(host.workdir / "models", row)
    graph = tiny_transformers.with_small_parts(row, read(row.name), 128)
    (made,) = pictures(client, graph)[f"fewstep_{row.name}"]
    assert made.shape == (128, 128, 3) and numpy.isfinite(made).all() and made.std() > 0.05
    (lora,) = (node for node in graph.values() if node["class_type"] == "FewStepLoadLora")
    lora["inputs"]["strength"] = 0.0
    (without,) = pictures(client, graph)[f"fewstep_{row.name}"]
    assert abs(made - without).mean() > 0.005


def test_every_base_that_needs_a_newer_host_says_so(object_info):
    """On an old host those workflows, and only those, would be refused."""
    if "FluxGuidance" in object_info:
        pytest.skip("this host is new enough for all")
    assert {row.name for row in ROWS if complaints(read(row.name), object_info)} == UPSTREAM
