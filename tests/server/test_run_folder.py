"""A run folder leaves the graph, is trained without the server by one process or two, and comes back as a LoRA."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from fewstep.tests.helpers import ranks
from fewstep.tests.helpers.server_runs import api
from fewstep.training.state import RunFolder
from safetensors.torch import load_file

pytest.importorskip("accelerate")
STEPS = 6
DATA = {"count": 8, "width": 64, "height": 64, "teacher_steps": 4}
SHORT = {
    "preview_prompts": "",
    "steps": STEPS,
    "warmup": 0,
    "rank": 8,
    "alpha": 8.0,
    "save_every": 100,
    "preview_every": STEPS,
}


def graph(name: str, **settings) -> dict:
    """A small training, without the sampling behind it."""
    whole = api("distil_lcm_lora", node_3=DATA, node_5={"run_name": name, **SHORT, **settings})
    return {key: whole[key] for key in "12345"}


def exported(client, host, name: str, **settings) -> Path:
    """The run folder that the node writes, with nothing trained in it."""
    told = {"run_name": name, "where": "run folder only", **SHORT, **settings}
    answer = client.submit(api("distil_lcm_lora", node_3=DATA, node_5=told), timeout=120)
    assert "Nothing is trained yet" in answer["5"]["text"][0]
    folder = host.output / "fewstep_runs" / name
    assert sorted(path.name for path in folder.iterdir()) == ["graph.json"]
    written = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
    assert sorted(written) == ["1", "2", "3", "4", "5"]  # what leads to the training, and not the sampling behind it
    return folder


def lora(host, name: str) -> dict[str, torch.Tensor]:
    return load_file(host.workdir / "models" / "loras" / "fewstep" / f"{name}.safetensors")


def farthest(a: dict, b: dict) -> float:
    """How far the up matrices, which begin at zero, lie apart, in units of what was learnt."""
    names = [name for name in a if "lora_up" in name]
    assert a.keys() == b.keys() and names
    learnt, apart = (
        torch.cat([tensor.flatten() for tensor in some])
        for some in ([a[n] for n in names], [a[n] - b[n] for n in names])
    )
    return float(apart.norm() / learnt.norm())


def losses(host, name: str) -> torch.Tensor:
    return torch.tensor([record["loss"] for record in RunFolder(host.output / "fewstep_runs" / name).metrics()])


@pytest.fixture(scope="module")
def trained(client, host, tmp_path_factory):
    """One process with batch 8 and, beside it, two with batch 4 each: what the one said."""
    runs = {"alone": (8, 1), "pair": (4, 2)}
    started = {}
    try:
        for name, (batch, count) in runs.items():
            folders = ranks.folders_of(host, tmp_path_factory.mktemp(name))
            shown = "red apple" if count == 1 else ""
            run = exported(client, host, f"ranks-{name}", batch_size=batch, preview_prompts=shown)
            started[name] = ranks.start(run, folders, count), folders
        return {name: ranks.finish(*one) for name, one in started.items()}["alone"]
    finally:
        for process, _ in started.values():
            ranks.end(process)


@pytest.fixture(scope="module")
def alone(trained, host):
    """The LoRA of one process with batch 8."""
    pictures = host.output / "fewstep_runs" / "ranks-alone" / "previews" / f"step-{STEPS}.jpg"
    assert f"{STEPS} steps of 8 samples" in trained and pictures.is_file(), trained
    return lora(host, "ranks-alone")


@pytest.fixture(scope="module")
def pair(trained, host):
    """The LoRA of two processes with batch 4 each."""
    records = RunFolder(host.output / "fewstep_runs" / "ranks-pair").metrics()
    assert [record["step"] for record in records] == list(range(1, STEPS + 1))  # one writes
    return lora(host, "ranks-pair")


def test_the_run_is_the_one_that_the_node_trains(alone, client, host):
    """Brought back: the same graph under the same name finds it done, and hands its LoRA on."""
    client.submit(graph("ranks-node", batch_size=8), timeout=300)
    assert farthest(lora(host, "ranks-node"), alone) < 1e-3
    before = (host.output / "fewstep_runs" / "ranks-alone" / "metrics.jsonl").read_text()
    answer = client.submit(graph("ranks-alone", batch_size=8), timeout=300)
    assert f"{STEPS} steps of 8 samples" in answer["5"]["text"][0]
    assert (host.output / "fewstep_runs" / "ranks-alone" / "metrics.jsonl").read_text() == before


def test_two_processes_give_the_lora_of_one_with_the_double_batch(alone, pair, client, host):
    """To rounding, which AdamW's first steps enlarge where a gradient is nearly zero; half the batch is another run."""
    client.submit(graph("ranks-half", batch_size=4), timeout=300)
    assert farthest(pair, alone) < 1e-3
    assert farthest(lora(host, "ranks-half"), alone) > 0.1
    assert torch.allclose(losses(host, "ranks-pair"), losses(host, "ranks-alone"), rtol=1e-5)


SLOW = pytest.mark.skipif("FEWSTEP_SLOW" not in os.environ, reason="more process starts; FEWSTEP_SLOW=1 runs it")


@SLOW
def test_full_weights_in_parts_on_two_processes_are_those_of_one(client, host, tmp_path):
    """The same state and the same file, to rounding, though no process has had more than half of the moments."""
    told = {"train": "full", "learning_rate": 1e-4, "save_every": STEPS}
    run = exported(client, host, "parts-pair", batch_size=4, **told)
    said = ranks.train(run, ranks.folders_of(host, tmp_path), 2)
    assert "every process holds whole networks" not in said
    client.submit(graph("parts-one", batch_size=8, **told), timeout=300)
    one, pair = (RunFolder(host.output / "fewstep_runs" / name).load()[1] for name in ("parts-one", "parts-pair"))
    assert {*one, "samples"} == {*pair}
    moments = [name for name in one if name.endswith("exp_avg")]
    whole, parts = (torch.cat([state[name].flatten() for name in moments]) for state in (one, pair))
    assert moments and (parts - whole).norm() < 1e-3 * whole.norm()
    files = [next((host.workdir / "models").rglob(f"parts-{name}.safetensors")) for name in ("one", "pair")]
    ours, theirs = map(load_file, files)
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name].float(), theirs[name].float(), atol=1e-3) for name in ours)


@SLOW
def test_a_lost_process_ends_the_run_and_the_same_command_goes_on(pair, client, host, tmp_path):
    run, folders = exported(client, host, "ranks-lost", batch_size=4), ranks.folders_of(host, tmp_path)
    process = ranks.start(run, folders, 2)
    try:
        ranks.wait_for_steps(run, process, 3)
        ranks.rank(process, 1).send_signal(signal.SIGKILL)
        assert process.wait(120) != 0
    finally:
        ranks.end(process)
    (saved,) = RunFolder(run).steps()
    assert 3 <= saved < STEPS, "the run was over before the process was killed"
    ranks.train(run, folders, 2)
    assert farthest(lora(host, "ranks-lost"), pair) < 1e-6
