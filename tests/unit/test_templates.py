"""The host's official templates: every few-step file in them is known, and no row differs from one without a reason."""

import json
import re
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip(
    "comfyui_workflow_templates_json", reason="the official templates (requirements-test.txt) are not installed"
)

from fewstep.benchmarks.templates import __main__ as command  # noqa: E402 (after the skip)
from fewstep.benchmarks.templates import exceptions, official  # noqa: E402
from fewstep.weights import families  # noqa: E402
from fewstep.weights.families import models  # noqa: E402

FILES = re.compile(r"[^/\\\s]+\.(?:safetensors|gguf|sft)$")
# Publishers' words for few steps; the rows' own patterns are not used here, or an unknown file would go unseen.
WORDS = re.compile(
    r"turbo|lightning|distill|schnell|lightx2v|causvid|lcm|hyper-?sd|klein(?!-base)|fast|\dsteps?|causal_forcing", re.I
)
LORAS = ("LoraLoader", "LoraLoaderModelOnly")
MODELS = ("UNETLoader", "CheckpointLoaderSimple", "ImageOnlyCheckpointLoader")
STYLES = {"pixel_art_style_z_image_turbo.safetensors"}  # a style for a turbo model, which is no few-step file itself


@cache
def named() -> set[tuple[str, str]]:
    """(kind of loader, file) of every few-step name in the raw JSON, bypassed loaders too."""
    found = set()
    for file in official.folder().glob("*.json"):
        data = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            continue
        graphs = [data, *(data.get("definitions") or {}).get("subgraphs", [])]
        for node in (node for graph in graphs for node in graph.get("nodes", [])):
            kind = "lora" if node["type"] in LORAS else "model" if node["type"] in MODELS else ""
            values = node.get("widgets_values") if kind else None
            found |= {(kind, v) for v in values or [] if isinstance(v, str) and FILES.match(v) and WORDS.search(v)}
    return {(kind, file) for kind, file in found if file not in STYLES}


def test_the_templates_name_at_least_the_files_that_were_counted():
    assert len([file for kind, file in named() if kind == "lora"]) >= 26
    assert len([file for kind, file in named() if kind == "model"]) >= 30


def test_every_few_step_file_is_known_to_its_loader():
    known = {"lora": families.from_name, "model": models.found}
    assert not sorted(file for kind, file in named() if not known[kind](file))


def test_every_template_that_samples_is_read():
    assert len(list(official.templates(official.folder()))) == 241  # counted in version 0.1.123


@cache
def disagreements() -> list:
    return official.disagreements(official.folder())


def test_no_row_differs_from_a_template_without_a_reason():
    silent = [(t, f.file, f.field, f.found) for t, f in disagreements() if not exceptions.reason(t, f.file, f.field)]
    assert not silent


@pytest.mark.parametrize("row", exceptions.EXCEPTIONS, ids=lambda row: " ".join(row[:3]))
def test_every_reason_is_for_a_disagreement_that_exists(row):
    first = (
        next(r for r in exceptions.EXCEPTIONS if exceptions.fits(r, t, f.file, f.field)) for t, f in disagreements()
    )
    assert row in list(first) and row[3]


def test_the_page_is_current():
    """python run.py bench templates writes it."""
    page = Path(command.PAGE).read_text(encoding="utf-8")
    assert page == command.text(official.folder())
