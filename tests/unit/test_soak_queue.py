"""What the soak of a host's queue complains of."""

from fewstep.benchmarks.soak import queued
from fewstep.launcher.api import Client
from fewstep.tests.helpers.fake_server import FakeServer

KINDS = 4


def runs(count: int = 120) -> list[tuple[float, str, int]]:
    """Runs of a host without fault."""
    return [(900.0, str(number % KINDS) * 64, number % KINDS) for number in range(count)]


def test_flat_memory_and_the_same_pictures_are_right():
    assert queued.judge(runs()) == []


def test_a_picture_that_differs_from_its_first_is_told_by_its_run():
    found = runs()
    found[70] = (900.0, "9" * 64, 70 % KINDS)
    (wrong,) = queued.judge(found)
    assert wrong.startswith("run 71 (graph 2): 999999999999, first 222222222222")


def test_a_failed_run_is_no_first_picture():
    found = runs()
    found[1] = (900.0, "failed", 1)
    assert queued.judge(found) == ["run 2 (graph 1): failed, first none"]


def test_graphs_that_draw_alike_are_told():
    assert queued.judge([(mb, "0" * 64, kind) for mb, _, kind in runs()]) == ["two graphs gave one picture"]


def test_memory_counts_once_it_has_settled():
    early = [(400.0 + min(number, 40) * 10, picture, kind) for number, (_, picture, kind) in enumerate(runs())]
    assert queued.judge(early) == []
    steady = [(900.0 + number, picture, kind) for number, (_, picture, kind) in enumerate(runs())]
    assert queued.judge(steady) == ["memory grew by 69 MB from run 51 to run 120"]


def test_no_graph_follows_one_of_its_own_lora():
    names = [graph["2"]["inputs"]["lora_name"] for graph in queued.graphs()]
    assert all(one != other for one, other in zip(names, [*names[1:], names[0]], strict=True))


def test_queued_graphs_are_followed_to_their_pictures():
    with FakeServer() as fake:
        client = Client(fake.url)
        waiting = [
            queued.queue(client, {"1": {"inputs": values}}) for values in ({"width": 8}, {"width": 8, "fails": 1})
        ]
        done, failed = (queued.ended(client, prompt_id) for prompt_id in waiting)
        assert [queued.picture_of(client, record) for record in (done, failed)] == ["grey", "failed"]
        done["status"]["messages"].append(["execution_cached", {"nodes": ["1", "6"]}])
        assert queued.picture_of(client, done) == "not sampled"
