"""A training as a page sees it while it runs: texts on the node, the loss beside the pictures, and what is on disk."""

import json
import shutil
import threading
import time
from importlib.util import find_spec

import numpy
import pytest
from fewstep.tests.helpers import hosts
from fewstep.tests.helpers.server_runs import api, assert_is_a_picture, pictures
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
    texts, previews, events = watched(host.url, distil(run_name="live"))
    assert "fewstep.files" in [kind for kind, _ in events]  # the page lists the new LoRA (web/fewstep.js)
    said = [text for node, text in texts if node == NODE]
    assert not texts_are_shown or any(text.startswith("step 4 of 4, loss 0.") and "s left" in text for text in said)
    width, height = previews[-1].size
    assert width > 2 * height and len(previews) >= 2  # the curve on the left, two rows of pictures
    folder = host.workdir / "output" / "fewstep_runs" / "live" / "previews"
    assert sorted(file.name for file in folder.iterdir()) == [
        *("curve.png", "prompts.txt", "step-2.jpg", "step-4.jpg", "strip-1.png", "strip-2.png", "teacher.jpg"),
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


def test_tensorboard_that_is_not_there_is_said_before_anything_is_drawn(host):
    if find_spec("tensorboard") or hosts.options().get("python"):
        pytest.skip("the host may have it")
    *_, events = watched(host.url, distil(run_name="board", tensorboard=True))
    (error,) = [data for kind, data in events if kind == "execution_error"]
    assert "FewStep Distill: tensorboard is on, but the package tensorboard is not inst" in error["exception_message"]
    assert not (host.workdir / "output" / "fewstep_runs" / "board").exists()


def cancelled(client, host, name: str, **settings) -> None:
    """A run that is cancelled after its second step."""
    metrics = host.workdir / "output" / "fewstep_runs" / name / "metrics.jsonl"

    def cancel():
        while not metrics.is_file() or metrics.read_text().count("\n") < 2:
            time.sleep(0.05)
        client.interrupt()

    helper = threading.Thread(target=cancel)
    helper.start()
    with pytest.raises(RuntimeError, match="(?i)interrupt|cancel"):
        client.submit(distil(run_name=name, steps=200, preview_every=1000, **settings), timeout=300)
    helper.join()


def test_a_cancelled_run_can_be_used_at_once(client, host):
    """Cancel writes the run's LoRA where that was asked for; the saved step can be exported in any case."""
    loras = host.workdir / "models" / "loras" / "fewstep"
    cancelled(client, host, "stopped")
    assert not (loras / "stopped.safetensors").exists()
    cancelled(client, host, "used", write_on_cancel=True)
    assert (loras / "used.safetensors").is_file()
    graph = api("text_to_image_4_steps", node_2={"lora_file": ["e", 0]})
    graph["e"] = {"class_type": "FewStepExportSteps", "inputs": {"run": "stopped", "steps": "newest"}}
    made = pictures(client, graph)
    for picture in made["fewstep_4_steps"]:
        assert_is_a_picture(picture)
    assert len(list(loras.glob("stopped-step-*.safetensors"))) == 1


def test_saved_steps_of_a_run_side_by_side(client, host):
    watched(host.url, distil(run_name="steps", save_every=2, keep_last=4))
    graph = api("compare", node_5={"loras": ["e", 1], "samplers": "auto", "steps": "4", "cfgs": "0", "seeds": "1"})
    graph["e"] = {"class_type": "FewStepExportSteps", "inputs": {"run": "steps", "steps": "all"}}
    (sheet,) = pictures(client, graph)["fewstep_compare"]
    assert sheet.shape[1] == 110 + 2 * 96
