"""What the soak of trainings says of what it saw."""

import copy
import json

from fewstep.benchmarks.soak import trainings

SEEN = {"same": {"grad mode": [True], "hooks": 12}, "U-Nets": 1, "threads": 4, "MB": 600.0}


def probed(*seen: dict) -> list[trainings.Queued]:
    queue = [trainings.probe(10 * n) for n in range(len(seen))]
    for one, found in zip(queue, seen):
        one.record = {"outputs": {"2": {"text": [json.dumps(found)]}}}
    return queue


def test_a_host_as_before_is_told_from_one_that_keeps_something():
    assert trainings.looks(probed(SEEN, SEEN))[1] == []
    later = copy.deepcopy(SEEN) | {"U-Nets": 2, "MB": 700.0}
    later["same"]["hooks"] = 13
    rows, wrong = trainings.looks(probed(SEEN, later))
    assert rows[1] == "| 10 | 700 | 2 | 4 | hooks, U-Nets |"
    assert wrong == ["after 10: hooks is not as it was", "after 10: U-Nets is not as it was", "memory grew by 100 MB"]


def test_a_training_must_end_as_its_kind_does():
    error = {"node_id": "5", "node_type": "FewStepDistill", "exception_type": "ValueError"}
    failed = {"status_str": "error", "messages": [["execution_error", error | {"exception_message": "out of memory"}]]}
    ended = {name: {"status": status} for name, status in (("done", {"status_str": "success"}), ("failed", failed))}
    queue = [trainings.training(f"{kind} {name}", kind) for kind in ("LCM", "refused") for name in ended]
    for one in queue:
        one.record = ended[one.name.split()[1]]
    wrong = [line.split(" (")[0] for line in trainings.wrong_ends(queue)]
    assert wrong == ["LCM failed", "refused done", "refused failed"]


def test_the_queue_has_every_kind_first_and_a_probe_after_every_tenth():
    queue = trainings.plan(25)
    kinds = [one.kind for one in queue]
    assert kinds[: kinds.index("probe")] == list(dict.fromkeys(trainings.KINDS))
    assert [one.name for one in queue if one.kind == "probe"] == ["0", "10", "20", "25"]
    assert len({one.name for one in queue}) == len(queue) and len(queue) - 4 == 25 + len(set(trainings.KINDS))
