"""Networks in parts on two gloo processes (FSDP2) are trained as whole ones are, in fp64."""

import json
import os
import signal

import pytest
import torch
from fewstep.tests.helpers import together
from fewstep.tests.helpers.together import PARTS
from fewstep.training import sharding
from fewstep.training.state import RunFolder

pytest.importorskip("accelerate")
pytestmark = pytest.mark.skipif(not sharding.available(), reason="this torch has no FSDP2")
STEPS = 4


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """The folder in which two processes trained every method's networks in parts."""
    folder = tmp_path_factory.mktemp("parts")
    codes, said = together.pair(folder, ",".join(name + PARTS for name in together.METHODS), STEPS, 4)
    assert codes == [0, 0], said
    return folder


@pytest.mark.parametrize("name", together.METHODS)
def test_parts_are_trained_as_the_whole_is(name, pairs, tmp_path):
    """Every role's gradient in every step, clipped where it is, and the weights after them, to 1e-9."""
    alone = together.run(tmp_path, name, STEPS, 8).results()
    found = together.results_of(pairs, name + PARTS)
    assert found.keys() == alone.keys() and any(key.startswith("0.student") for key in alone)
    for key, value in alone.items():
        assert (found[key] - value).abs().max() < 1e-9, key


def test_each_process_has_half_of_the_gradients_and_moments(pairs):
    for index in (0, 1):
        held = json.loads((pairs / f"lcm{PARTS}.held-{index}.json").read_text())
        assert held["gradients"] and held["moments"]
        assert set(held["gradients"]) == set(held["moments"]) == {0.5}


def test_the_first_process_alone_writes(pairs):
    assert not (pairs / "second").exists()
    for name in together.METHODS:
        metrics = RunFolder(pairs / (name + PARTS)).metrics()
        assert [record["step"] for record in metrics] == [1, 2, 3, 4], name


@pytest.mark.skipif("FEWSTEP_SLOW" not in os.environ, reason="a minute of process starts; FEWSTEP_SLOW=1 runs it")
def test_a_state_goes_from_one_process_to_two_with_parts_and_back(tmp_path):
    """It ends where whole networks on one process, two and one again end."""
    name, found = "tscd", {}
    for how in (name, name + PARTS):
        together.run(tmp_path / how, name, 2, 4).results()
        codes, said = together.pair(tmp_path, how, 4, 4)
        assert codes == [0, 0], said
        assert int(RunFolder(tmp_path / how).load()[1]["samples"]) == 48  # 2 steps of 2 x 4 and 2 of 2 x 8
        found[how] = together.run(tmp_path / how, name, 6, 4).results()
    assert RunFolder(tmp_path / (name + PARTS)).steps()[-2:] == [4, 6]
    whole, parts = found.values()
    weights = [key for key in whole if key.startswith("weight.")]
    assert weights and all((parts[key] - whole[key]).abs().max() < 1e-9 for key in weights)


@pytest.mark.skipif("FEWSTEP_SLOW" not in os.environ, reason="a minute of process starts; FEWSTEP_SLOW=1 runs it")
def test_a_lost_process_costs_the_steps_since_the_last_state(pairs, tmp_path):
    """What lies in parts cannot be saved without it; the same command goes on from there."""
    codes, said = together.pair(tmp_path, "lcm" + PARTS, 2, 4)
    assert codes == [0, 0], said
    codes, said = together.pair(tmp_path, "lcm" + PARTS, STEPS, 4, dies_at=3)
    assert codes[0] not in (0, None) and codes[1] == -signal.SIGKILL, said
    assert "ended in the middle" in said and RunFolder(tmp_path / ("lcm" + PARTS)).steps() == [2]
    codes, said = together.pair(tmp_path, "lcm" + PARTS, STEPS, 4)
    assert codes == [0, 0], said
    found, whole = (together.results_of(folder, "lcm" + PARTS) for folder in (tmp_path, pairs))
    weights = [key for key in whole if key.startswith("weight.")]
    assert weights and all(torch.equal(found[key], whole[key]) for key in weights)
