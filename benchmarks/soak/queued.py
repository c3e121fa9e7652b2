"""Hundreds of graphs in the queue of one host: does its memory grow, is every picture what it was the first time?

A few graphs take turns, so that no two in a row share a LoRA and the host can hand out nothing it remembers.
"""

import asyncio
import copy
import hashlib
import json
import time
import uuid
from collections.abc import Iterator
from itertools import cycle, islice, product
from pathlib import Path

import numpy
import psutil
from fewstep.launcher import server
from fewstep.launcher.api import KEY, Client

GRAPH = Path(__file__).resolve().parents[2] / "workflows" / "api" / "01_text_to_image_4_steps.json"
LORAS = (("lcm-lora", 2), ("dmd", 1), ("dmd2-4-steps", 2))  # (file, steps)
PROMPTS = ("red apple, 3d style", "robot, flat style, on a blue background")
SEEDS = (1, 2)
SETTLED, GROWTH = 50, 50.0  # runs after which memory is compared; MB that it may then grow by
SILENCE = 300.0  # seconds without an end of a run after which the host counts as stuck


def graphs() -> list[dict]:
    """One graph for each seed, prompt and LoRA; the LoRA changes from one to the next."""
    good, found = json.loads(GRAPH.read_text(encoding="utf-8")), []
    for seed, prompt, (lora, steps) in product(SEEDS, PROMPTS, LORAS):
        graph = copy.deepcopy(good)
        graph["2"]["inputs"] |= {"lora_name": f"fewstep-tiny-sd-{lora}.safetensors", "steps": steps}
        graph["3"]["inputs"]["text"] = prompt
        graph["5"]["inputs"]["batch_size"] = 1
        graph["6"]["inputs"]["noise_seed"] = seed
        found.append(graph)
    return found


def queue(client: Client, graph: dict) -> str:
    """The host's id of a graph that now waits in its queue."""
    key = str(uuid.uuid4())
    body = {"prompt": graph, "client_id": client.id, "prompt_id": key, "extra_data": {KEY: key}}
    return asyncio.run(client.call("post", "/prompt", json=body))["prompt_id"]  # older hosts choose their own


def ended(client: Client, prompt_id: str) -> dict:
    """The host's record of a run, once there is one."""
    limit = time.monotonic() + SILENCE
    while time.monotonic() < limit:
        if record := client.history(prompt_id):
            return record
        time.sleep(0.05)
    raise TimeoutError(f"soak: run {prompt_id} did not end within {SILENCE:.0f} s of the one before; see {client.log}.")


def picture_of(client: Client, record: dict) -> str:
    """The hash of a run's pixels; what kind of failure, if there are none of its own."""
    if record["status"]["status_str"] != "success":
        return "failed"
    if any("6" in data.get("nodes", ()) for kind, data in record["status"]["messages"] if kind == "execution_cached"):
        return "not sampled"
    (image,) = client.pictures(record["outputs"])
    pixels = numpy.asarray(image)
    return hashlib.sha256(pixels.tobytes()).hexdigest() if pixels.std() > 20 else "grey"


def rows(running: server.Host, count: int) -> Iterator[tuple[float, str, int]]:
    """(the host's memory in MB, hash, number of the graph) of each run, in the queue's order."""
    client, process = running.client(), psutil.Process(running.process.pid)
    kinds = graphs()
    waiting = [queue(client, graph) for graph in islice(cycle(kinds), count)]
    for number, prompt_id in enumerate(waiting):
        record = ended(client, prompt_id)
        yield process.memory_info().rss / 2**20, picture_of(client, record), number % len(kinds)


def judge(found: list[tuple[float, str, int]]) -> list[str]:
    """What is wrong with these runs: a picture that differs from its graph's first, two graphs alike, memory."""
    first, wrong = {}, []
    for number, (_, picture, kind) in enumerate(found):
        if len(picture) != 64 or picture != first.setdefault(kind, picture):
            wrong.append(f"run {number + 1} (graph {kind}): {picture[:12]}, first {first.get(kind, 'none')[:12]}")
    if len(set(first.values())) < len(first):
        wrong.append("two graphs gave one picture")
    memory = [mb for mb, _, _ in found[SETTLED:]]
    if memory and memory[-1] - memory[0] > GROWTH:
        wrong.append(f"memory grew by {memory[-1] - memory[0]:.0f} MB from run {SETTLED + 1} to run {len(found)}")
    return wrong


def soak(count: int, workdir: Path, comfyui: str | None, python: str | None) -> list[str]:
    """Print the host's memory along the queue; what was wrong."""
    found = []
    with server.host(workdir=workdir, comfyui=comfyui, python=python) as running:
        print("| runs done | memory of the host, MB |\n|---|---|", flush=True)
        for row in rows(running, count):
            found.append(row)
            if len(found) in (1, len(graphs()), count) or len(found) % 50 == 0:
                print(f"| {len(found)} | {row[0]:.0f} |", flush=True)
    wrong = judge(found)
    right = sum(len(picture) == 64 for _, picture, _ in found)
    print(f"\n{right} of {count} drew a picture of their own; {len(wrong)} complaints", *wrong, sep="\n")
    return wrong
