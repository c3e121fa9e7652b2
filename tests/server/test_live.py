"""A training as a page sees it while it runs: texts on the node, the loss beside the pictures, and what is on disk."""

import json
import shutil
import threading
import time

import numpy
import pytest
from fewstep.tests.helpers.server_runs import api, assert_is_a_picture
from fewstep.tests.helpers.watching import watched
from PIL import Image

NODE = "5"


@pytest.fixture(scope="module")
def texts_are_shown(host, client):
    """Pages get texts on nodes from 0.3.40 on; the embedded host's has none."""
    return not client.get("/system_stats")["system"].get("comfyui_version", "0.2").startswith("0.2")


def distil(**settings) -> dict:
    short = {"steps": 4, "batch_size": 4, "preview_every": 2, "preview_prompts": "red apple\nrobot", **settings}
    workflow = api("distil_lcm_lora", node_3={"count": 8}, node_5=short)
    return {key: node for key, node in workflow.items() if key in needed(workflow, NODE)}


def needed(workflow: dict, key: str) -> set[str]:
    links = [value for value in workflow[key]["inputs"].values() if isinstance(value, list)]
    return {key}.union(*(needed(workflow, link[0]) for link in links))


def test_step_loss_time_and_pictures_are_on_the_node(host, texts_are_shown):
    texts, previews, _ = watched(host.url, distil(run_name="live"))
    said = [text for node, text in texts if node == NODE]
    assert not texts_are_shown or any(text.startswith("step 4 of 4, loss 0.") and "s left" in text for text in said)
    width, height = previews[-1].size
    assert width > 2 * height and len(previews) >= 2  # the curve on the left, two rows of pictures
    folder = host.workdir / "output" / "fewstep_runs" / "live" / "previews"
    assert sorted(file.name for file in folder.iterdir()) == [
        *("curve.png", "step-2.jpg", "step-4.jpg", "strip-1.png", "strip-2.png", "teacher.jpg"),
    ]
    teacher = Image.open(folder / "teacher.jpg")
    assert teacher.size == (2 * 96, 96)
    assert_is_a_picture(numpy.asarray(teacher, dtype=numpy.float32) / 255)
    strip = Image.open(folder / "strip-2.png")
    assert 3 * 96 < strip.width < 5 * 96  # teacher, step 2, step 4

    texts, *_ = watched(host.url, distil(run_name="live", steps=6))
    said = [text for node, text in texts if node == NODE]
    assert not texts_are_shown or "resuming at step 4 of 6" in said
    assert not texts_are_shown or any("resumed at step 4" in text for text in said)
    assert (folder / "step-6.jpg").is_file()


def test_a_finished_run_queued_again_trains_nothing(host, texts_are_shown):
    watched(host.url, distil(run_name="finished", steps=3))
    metrics = host.workdir / "output" / "fewstep_runs" / "finished" / "metrics.jsonl"
    before = metrics.read_text()
    texts, *_ = watched(host.url, distil(run_name="finished", steps=3, save_every=7))  # not from the host's cache
    assert metrics.read_text() == before
    said = [text for node, text in texts if node == NODE]
    assert not texts_are_shown or "step 3 of 3 is reached: nothing is left to train" in said


def test_a_run_folder_deleted_while_it_trains_is_said_and_does_not_come_back(host):
    folder = host.workdir / "output" / "fewstep_runs" / "deleted"

    def delete_after_two_steps():
        while not (folder / "metrics.jsonl").is_file() or (folder / "metrics.jsonl").read_text().count("\n") < 2:
            time.sleep(0.05)
        shutil.rmtree(folder)

    helper = threading.Thread(target=delete_after_two_steps)
    helper.start()
    *_, events = watched(host.url, distil(run_name="deleted", steps=200, preview_every=1000))
    helper.join()
    (error,) = [data for kind, data in events if kind == "execution_error"]
    assert "FewStep Distill: The folder of the run 'deleted' was deleted or moved" in error["exception_message"]
    assert not folder.exists(), json.dumps([file.name for file in folder.iterdir()])
