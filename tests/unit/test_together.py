"""Two gloo processes are one process with the double batch; one that is lost costs no more than the unsaved steps."""

import signal

import pytest
import torch
from fewstep.tests.helpers import together
from fewstep.training import processes
from fewstep.training.data import make_batch
from fewstep.training.state import RunFolder

pytest.importorskip("accelerate")
STEPS = 4


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """The folder in which two processes trained every method, one after the other."""
    folder = tmp_path_factory.mktemp("two")
    codes, said = together.pair(folder, ",".join(together.METHODS), STEPS, 4)
    assert codes == [0, 0], said
    return folder


@pytest.mark.parametrize("name", together.METHODS)
def test_two_processes_are_one_with_the_double_batch(name, pairs, tmp_path):
    """Gradients of every role in every step to 1e-9, in fp64; the weights after them too."""
    alone = together.run(tmp_path, name, STEPS, 8).results()
    found = together.results_of(pairs, name)
    assert found.keys() == alone.keys() and all(value.dtype == torch.float64 for value in alone.values())
    roles = {key.split(".")[1] for key in alone if not key.startswith("weight.")}
    assert roles == set(together.METHODS[name]().trained)
    for key, value in alone.items():
        assert (found[key] - value).abs().max() < 1e-9, key
    for role in roles:  # or the comparison would say nothing
        assert max(value.abs().max() for key, value in alone.items() if key.startswith(f"0.{role}.")) > 1e-4


def test_the_first_process_alone_writes(pairs):
    assert not (pairs / "second").exists()
    for name in together.METHODS:
        metrics = RunFolder(pairs / name).metrics()
        assert [record["step"] for record in metrics] == [1, 2, 3, 4], name


def test_a_lost_process_ends_the_run_which_goes_on_from_its_last_step(pairs, tmp_path):
    codes, said = together.pair(tmp_path, "lcm", STEPS, 4, dies_at=2)
    assert codes[0] not in (0, None) and codes[1] == -signal.SIGKILL, said
    assert RunFolder(tmp_path / "lcm").steps() == [2], said
    codes, said = together.pair(tmp_path, "lcm", STEPS, 4)
    assert codes == [0, 0], said
    whole = {key: value for key, value in together.results_of(pairs, "lcm").items() if key.startswith("weight.")}
    found = together.results_of(tmp_path, "lcm")
    assert whole and all(torch.equal(found[key], value) for key, value in whole.items())


def test_a_state_of_two_processes_goes_on_in_one_behind_their_samples(pairs, tmp_path, monkeypatch):
    """4 steps of 2 micro-batches of 2 x 4 samples are 64: the next is the 65th, for any number of processes."""
    asked = []
    monkeypatch.setattr("fewstep.training.loop.make_batch", lambda *a, **k: asked.append(a[2]) or make_batch(*a, **k))
    (tmp_path / "lcm").mkdir()
    for file in (pairs / "lcm").iterdir():
        (tmp_path / "lcm" / file.name).write_bytes(file.read_bytes())
    together.run(tmp_path / "lcm", "lcm", STEPS + 1, 4).results()
    assert asked == [64, 68]
    codes, said = together.pair(tmp_path, "lcm", STEPS + 2, 4)  # and back: samples 72 .. 87
    assert codes == [0, 0], said
    assert int(RunFolder(tmp_path / "lcm").load()[1]["samples"]) == 88


def test_one_process_of_its_own_needs_no_package(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "accelerate", None)
    assert processes.launched() is processes.ALONE
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="pip install accelerate"):
        processes.launched()


def test_gradients_travel_in_bounded_parts_of_one_dtype(monkeypatch):
    monkeypatch.setattr(processes, "BUCKET", 10)
    kinds = [(4, torch.float32), (6, torch.float32), (1, torch.float32), (30, torch.float64), (2, torch.float64)]
    tensors = [torch.zeros(size, dtype=dtype) for size, dtype in kinds]
    assert [[len(one) for one in bucket] for bucket in processes.buckets(tensors)] == [[4, 6], [1], [30], [2]]
