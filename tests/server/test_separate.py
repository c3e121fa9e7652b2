"""where separate process: the host samples meanwhile, the node hears of it, cancel saves, the student comes back."""

import asyncio
import io
import json
import re
import struct
import time
import uuid

import aiohttp
import psutil
import pytest
from fewstep.tests.helpers.server_runs import api
from fewstep.training.state import RunFolder
from PIL import Image

DATA = {"count": 2, "width": 64, "height": 64, "teacher_steps": 2}
SHORT = {"warmup": 0, "rank": 4, "alpha": 4.0, "preview_prompts": "red apple", "batch_size": 2, "preview_every": 3}
PREVIEWS = (1, 4)  # the host's binary messages with a picture: the older one, and the one that names its node


def graph(name: str, steps: int, **more) -> dict:
    told = {"run_name": name, "where": "separate process", "steps": steps, "save_every": 1000, **SHORT, **more}
    whole = api("distil_lcm_lora", node_3=DATA, node_5=told)
    return {key: whole[key] for key in "12345"}


async def heard(url: str, workflow: dict, last: int, limit: float = 150) -> tuple[list[int], list[Image.Image], bool]:
    """(steps on the node's bar, pictures, whether they came after the graph's end) of a graph, to step `last`."""
    steps, pictures, over, me = [], [], False, uuid.uuid4().hex
    deadline = time.monotonic() + limit
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/ws?clientId={me}", max_msg_size=0) as ws:
        async with session.post(f"{url}/prompt", json={"prompt": workflow, "client_id": me}) as reply:
            prompt = (await reply.json())["prompt_id"]
        while last not in steps or not pictures:
            message = await ws.receive(timeout=deadline - time.monotonic())
            if message.type == aiohttp.WSMsgType.BINARY:
                (kind,) = struct.unpack(">I", message.data[:4])
                if kind in PREVIEWS and over:
                    start = 8 if kind == 1 else 8 + struct.unpack(">I", message.data[4:8])[0]
                    pictures.append(Image.open(io.BytesIO(message.data[start:])).convert("RGB"))
                continue
            event = message.json()
            data = event.get("data", {})
            assert event["type"] != "execution_error", data
            over = over or (data.get("prompt_id") == prompt and data.get("node", 0) is None)
            if event["type"] == "progress" and over and data.get("node") == "5":
                steps.append(data["value"])
    return steps, pictures, over


def settled(condition, limit: float = 120) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_cancel_saves_it_while_the_host_is_free_and_it_goes_on_to_its_student(client, host):
    """One run through both: stopped in its first process, heard and finished in its second."""
    folder = host.output / "fewstep_runs" / "apart"
    answer = client.submit(graph("apart", 500), timeout=120)
    process = int(re.search(r"trains in process (\d+)", answer["5"]["text"][0])[1])
    settled(lambda: (folder / "metrics.jsonl").is_file() and len(RunFolder(folder).metrics()) >= 2)
    before = len(RunFolder(folder).metrics())
    assert client.submit(api("base_text_to_image"), timeout=120)  # while it trains
    again = client.submit(graph("apart", 500), timeout=120)  # a second time starts no second one
    assert "trains in process" in again["5"]["text"][0]
    assert RunFolder(folder).steps() == [] and len(RunFolder(folder).metrics()) >= before
    time.sleep(1)
    client.interrupt()
    settled(lambda: len(RunFolder(folder).steps()) == 1)
    (saved,) = RunFolder(folder).steps()
    settled(lambda: "Stopped after step" in (folder / "train.log").read_text())
    assert 2 <= saved < 490
    last = saved + 6
    settled(lambda: not psutil.pid_exists(process))
    steps, pictures, over = asyncio.run(heard(host.url, graph("apart", last), last))
    assert over and steps == sorted(steps) and steps[0] > saved
    assert pictures[-1].width > 300  # the curve beside the images
    settled(lambda: RunFolder(folder).steps()[-1] == last)
    settled((host.workdir / "models" / "loras" / "fewstep" / "apart.safetensors").is_file)
    said = f"{last} steps of 2 samples"
    settled(lambda: said in client.submit(graph("apart", last), timeout=300)["5"]["text"][0])
    assert json.loads((folder / "graph.json").read_text())["5"]["inputs"]["where"] == "in this process"


def test_what_went_wrong_there_is_said_at_the_next_time(client, host):
    name = "apart-broken"
    client.submit(graph(name, 3, where="run folder only"), timeout=120)
    folder = host.output / "fewstep_runs" / name
    (folder / "lock").mkdir()  # what no training can open
    with pytest.raises(RuntimeError, match=r"the process ended with 1: .*lock"):
        settled(lambda: not client.submit(graph(name, 3), timeout=120))
