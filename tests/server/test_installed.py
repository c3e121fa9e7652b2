"""A user's install: the pack without what .comfyignore names, as a real folder among a host's custom nodes."""

import json
import shutil
import urllib.request
from pathlib import Path

import numpy
import pytest
from fewstep.launcher import server
from fewstep.tests.helpers import hosts
from fewstep.tests.helpers.server_runs import ROOT, api, assert_is_a_picture

OURS = ("__init__.py", "nodes", "host", "samplers", "weights", "training", "web", "locales", "workflows", "assets")


def lines_of(file: str) -> set[str]:
    """The top-level names in an ignore file."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return {line.strip("/") for line in lines if line and not line.startswith("#")}


def copied(target: Path) -> Path:
    """The pack in `target` as the registry hands it out, but for what git ignores."""
    left_out = lines_of(".comfyignore") | lines_of(".gitignore") | {".git", "input"}
    target.mkdir(parents=True)
    for place in ROOT.iterdir():
        if place.name in left_out:
            continue
        if place.is_dir():
            shutil.copytree(place, target / place.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(place, target)
    for inner in (target / name for name in lines_of(".comfyignore") if "/" in name):
        inner.unlink()
    return target


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return copied(tmp_path_factory.mktemp("registry") / "fewstep")


@pytest.fixture(scope="module")
def installed(pack, tmp_path_factory):
    """A server whose custom_nodes holds that copy."""
    with server.host(workdir=tmp_path_factory.mktemp("installed"), pack=pack, **hosts.options()) as running:
        yield running


def fetched(host, path: str) -> bytes:
    with server.DIRECT.open(urllib.request.Request(f"{host.url}{path}"), timeout=30) as reply:
        return reply.read()


def test_the_ignore_file_names_things_that_exist():
    """A renamed folder would be shipped again without a word."""
    assert not [name for name in lines_of(".comfyignore") if not (ROOT / name).exists() and name != ".github"]


def test_only_what_a_user_needs_is_copied(pack):
    names = {place.name for place in pack.iterdir()}
    assert set(OURS) <= names
    assert not names & {"launcher", "tests", "benchmarks", "recipes", "tools", "run.py", "bootstrap.py", ".ci", ".venv"}
    assert sum(file.stat().st_size for file in pack.rglob("*") if file.is_file()) < 48 * 2**20
    assert not (pack / "assets" / "loras" / "fewstep-tiny-sd-tscd.safetensors").exists()
    assert (pack / "assets" / "loras" / "fewstep-tiny-sd-dmd.safetensors").exists()


def test_all_nodes_are_there(installed, object_info):
    """object_info: of the host that has the whole repository."""
    ours = {name for name in object_info if name.startswith("FewStep")}
    assert len(ours) >= 30
    assert {name for name in installed.client().object_info() if name.startswith("FewStep")} == ours


def test_help_and_workflows_are_served(installed, object_info):
    for node in sorted(name for name in object_info if name.startswith("FewStep")):
        page = fetched(installed, f"/extensions/fewstep/docs/{node}/en.md")
        assert page == (ROOT / "web" / "docs" / node / "en.md").read_bytes(), node
    if not hosts.options().get("comfyui"):
        return  # the embedded host is older than the list of templates
    templates = sorted(file.stem for file in (ROOT / "workflows").glob("*.json"))
    listed = json.loads(fetched(installed, "/api/workflow_templates"))
    assert sorted(listed["fewstep"]) == templates
    for name in templates:
        assert fetched(installed, f"/api/workflow_templates/fewstep/{name}.json")


def test_it_draws(installed):
    client = installed.client()
    (picture, *_) = client.pictures(client.submit(api("text_to_image_4_steps"), timeout=300))
    assert_is_a_picture(numpy.asarray(picture, dtype=numpy.float32) / 255)
