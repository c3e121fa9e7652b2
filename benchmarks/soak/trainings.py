"""Short trainings queued behind each other on one server, with cancels and errors among them; a probe between them."""

import asyncio
import hashlib
import json
import shutil
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from fewstep.launcher import server
from fewstep.launcher.api import Client
from fewstep.launcher.wording import bad_end

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("LCM", "cancelled", "TSCD", "refused", "LCM", "broken", "DMD", "cancelled", "LCM", "TSCD")
WORKFLOWS = {"TSCD": "23_distil_tscd", "DMD": "26_distil_dmd"}  # the others are LCM's
SAID = {"cancelled": "was cancelled", "refused": "no layer of this model", "broken": "metrics.jsonl"}
DATA = {"count": 2, "width": 64, "height": 64, "teacher_steps": 2}
SHORT = {"steps": 2, "batch_size": 2, "rank": 4, "alpha": 4.0, "warmup": 0, "preview_prompts": "", "start_lora": "none"}
MORE = {"cancelled": {"steps": 500}, "refused": {"layers": "to_x"}}
PROBE = "probe"
EVERY = 10  # trainings between two probes
GROWTH = 50.0  # MB from the first probe to the last that count as flat


@dataclass
class Queued:
    """One graph in the host's queue, and its entry in the host's history when it has ended."""

    name: str
    kind: str
    graph: dict
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    record: dict = field(default_factory=dict)
    pressed: bool = False


def training(name: str, kind: str) -> Queued:
    file = ROOT / "workflows" / "api" / f"{WORKFLOWS.get(kind, '21_distil_lcm_lora')}.json"
    whole = json.loads(file.read_text(encoding="utf-8"))
    graph = {key: {"class_type": whole[key]["class_type"], "inputs": dict(whole[key]["inputs"])} for key in "12345"}
    graph["3"]["inputs"] |= DATA
    graph["5"]["inputs"] |= {"run_name": name, **SHORT, **MORE.get(kind, {})}
    return Queued(name, kind, graph)


def probe(number: int) -> Queued:
    loader = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "fewstep-tiny-sd.safetensors"}}
    inputs = {"model": ["1", 0], "clip": ["1", 1], "vae": ["1", 2], "number": number}
    return Queued(f"{number}", PROBE, {"1": loader, "2": {"class_type": "SoakProbe", "inputs": inputs}})


def plan(count: int) -> list[Queued]:
    """One of each kind to warm up, then `count` trainings, with a probe before them and after every tenth."""
    queue = [training(f"soak-first-{kind}", kind) for kind in dict.fromkeys(KINDS)] + [probe(0)]
    for number in range(count):
        queue.append(training(f"soak-{number}", KINDS[number % len(KINDS)]))
        if (number + 1) % EVERY == 0 or number + 1 == count:
            queue.append(probe(number + 1))
    return queue


def send(client: Client, queue: list[Queued]) -> None:
    for one in queue:
        body = {"prompt": one.graph, "client_id": client.id, "prompt_id": one.id}
        one.id = asyncio.run(client.call("post", "/prompt", json=body))["prompt_id"]


def wait(client: Client, queue: list[Queued], runs: Path) -> None:
    """Until all have ended; the cancel button is pressed when a run that shall be cancelled has logged a step."""
    while left := [one for one in queue if not one.record]:
        for one in left:
            metrics = runs / one.name / "metrics.jsonl"
            if one.kind == "cancelled" and not one.pressed and metrics.is_file() and metrics.stat().st_size:
                one.pressed = True
                client.interrupt()
        one = left[0]  # the host runs them in order
        one.record = client.history(one.id)
        time.sleep(0.1)


def wrong_ends(queue: list[Queued]) -> list[str]:
    """Trainings that ended otherwise than their kind should."""
    found = []
    for one in queue:
        said, wanted = bad_end(one.record), SAID.get(one.kind, "")
        if bool(said) != bool(wanted) or wanted not in said:
            found.append(f"{one.name} ({one.kind}): {said or 'came to its end'}")
    return found


def unequal(queue: list[Queued], loras: Path) -> list[str]:
    """Methods whose trainings, all with the same settings, gave more than one LoRA: the metadata has the run's name."""
    from safetensors.torch import load_file

    found: dict[str, set[str]] = {}
    for one in queue:
        if one.kind not in (*SAID, PROBE) and not bad_end(one.record):
            tensors = load_file(loras / f"{one.name}.safetensors")
            data = b"".join(name.encode() + tensors[name].numpy().tobytes() for name in sorted(tensors))
            found.setdefault(one.kind, set()).add(hashlib.sha256(data).hexdigest())
    return [f"{kind}: {len(hashes)} different LoRAs" for kind, hashes in found.items() if len(hashes) > 1]


def looks(queue: list[Queued]) -> tuple[list[str], list[str]]:
    """(rows of the table, what is not as it was) of the probes."""
    seen = [(one.name, json.loads(one.record["outputs"]["2"]["text"][0])) for one in queue if one.kind == PROBE]
    first, rows, wrong = seen[0][1], [], []
    for after, found in seen:
        changed = [name for name, value in found["same"].items() if value != first["same"][name]]
        changed += [name for name in ("U-Nets", "threads") if found[name] > first[name]]
        wrong += [f"after {after}: {name} is not as it was" for name in changed]
        cells = (after, f"{found['MB']:.0f}", found["U-Nets"], found["threads"], ", ".join(changed) or "nothing")
        rows.append(f"| {' | '.join(map(str, cells))} |")
    grown = seen[-1][1]["MB"] - first["MB"]
    return rows, wrong + ([f"memory grew by {grown:.0f} MB"] if grown > GROWTH else [])


def soak(count: int) -> int:
    """Print the table; 1 where something is wrong."""
    with tempfile.TemporaryDirectory(prefix="fewstep-trainings-") as folder:
        place = Path(folder)
        shutil.copytree(Path(__file__).parent / "probe", place / "custom_nodes" / "soak_probe")
        with server.host(workdir=place) as host:
            client, queue = host.client(), plan(count)
            for one in queue:
                if one.kind == "broken":
                    (host.output / "fewstep_runs" / one.name / "metrics.jsonl").mkdir(parents=True)
            send(client, queue)
            wait(client, queue, host.output / "fewstep_runs")
        wrong = wrong_ends(queue) + unequal(queue, place / "models" / "loras" / "fewstep")
        rows, changed = looks(queue)
    kinds = [one.kind for one in queue if one.kind != PROBE]
    print(", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(KINDS)))
    print("| after trainings | MB | U-Nets alive | threads | not as it was |\n|---|---|---|---|---|")
    print("\n".join([*rows, *wrong, *changed]))
    return bool(wrong or changed)
