"""The opt-in FEWSTEP_STOCK_LISTS: our names in the stock KSampler, on a server that was started with it."""

import json
import os
from pathlib import Path

import numpy
import pytest
from fewstep.launcher import server
from fewstep.tests.helpers import hosts

ROOT = Path(__file__).resolve().parents[2]
SAMPLERS = ["fewstep_lcm", "fewstep_tcd", "fewstep_ddim", "fewstep_imagine_flash"]
SCHEDULES = ["fewstep_lcm", "fewstep_trailing", "fewstep_segments"]


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """A client of a second server, whose environment has the variable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEWSTEP_STOCK_LISTS", "1")
        with server.host(workdir=tmp_path_factory.mktemp("listed"), **hosts.options()) as running:
            yield running.client()


def lists(client) -> tuple[list[str], list[str]]:
    """(samplers, schedulers) of the stock KSampler."""
    found = client.object_info()["KSampler"]["input"]["required"]
    return found["sampler_name"][0], found["scheduler"][0]


def test_our_names_come_after_the_hosts_once(listed, client):
    """Off by default; on, the host's entries stand as they were and ours follow."""
    plain, added = lists(client), lists(listed)
    assert not any(name.startswith("fewstep") for names in plain for name in names)
    assert added[0] == plain[0] + SAMPLERS
    assert added[1] in (plain[1] + SCHEDULES, plain[1])  # 0.0.1 has no table of schedulers
    if os.environ.get("COMFYUI_DIR"):
        assert added[1] == plain[1] + SCHEDULES


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_stock_ksampler_draws_with_our_names(sampler, listed):
    workflow = json.loads((ROOT / "workflows" / "api" / "01_text_to_image_4_steps.json").read_text(encoding="utf-8"))
    schedulers = lists(listed)[1]
    scheduler = "fewstep_lcm" if "fewstep_lcm" in schedulers else "sgm_uniform"
    old = workflow["6"]["inputs"]
    inputs = {key: old[key] for key in ("model", "positive", "negative", "latent_image")}
    inputs |= {"seed": 1, "steps": 4, "cfg": 1.0, "sampler_name": sampler, "scheduler": scheduler, "denoise": 1.0}
    workflow["6"] = {"class_type": "KSampler", "inputs": inputs}
    (picture, *_) = listed.pictures(listed.submit(workflow, timeout=300))
    pixels = numpy.asarray(picture.convert("RGB"), dtype=numpy.float32) / 255
    assert pixels.std() > 0.08 and abs(numpy.diff(pixels, axis=1)).mean() < 0.5 * pixels.std()
