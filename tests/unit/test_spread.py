"""Runs that survive a lost connection, and rows spread over hosts that die: none lost, none doubled."""

import asyncio
import json
import threading
import time
import uuid

import pytest
from fewstep.launcher import api, cli, headless, rows
from fewstep.launcher.bars import silent
from fewstep.tests.helpers.fake_server import FakeServer
from PIL import Image


def graph(width: int = 3, **values) -> dict:
    return {"1": {"class_type": "Draw", "inputs": {"width": width, **values}}}


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch):
    monkeypatch.setattr(api, "PAUSE", 0.05)
    monkeypatch.setattr("fewstep.launcher.spread.AGAIN", 0.05)


def performed(host: FakeServer, patience: float = 5.0, **values) -> api.Run:
    return asyncio.run(api.Client(host.url, patience=patience).perform(graph(**values), str(uuid.uuid4()), silent))


@pytest.mark.parametrize("takes_ids", [True, False])
@pytest.mark.parametrize("trouble", ["hang_up", "swallow"])
def test_a_lost_socket_or_answer_doubles_nothing(trouble, takes_ids):
    with FakeServer(0.3, takes_ids) as host:
        setattr(host, trouble, 1)
        run = performed(host)
        assert run.outputs["1"]["images"][0]["filename"] == "3.png"
        assert list(host.runs.values()) == [1]


def test_a_lost_end_is_asked_for(monkeypatch):
    """The message that tells the end may go to a socket that is gone."""
    monkeypatch.setattr(api, "SILENCE", 0.2)
    with FakeServer(0.3) as host:
        host._sayer = lambda *_: nothing_said
        assert performed(host).outputs and list(host.runs.values()) == [1]


async def nothing_said(*_, **__) -> None:
    return None


def after(runs: int, host: FakeServer, *calls) -> threading.Thread:
    """Call these once the host has begun so many runs and is in the middle of the last."""

    def work():
        while sum(host.runs.values()) < runs:
            time.sleep(0.01)
        time.sleep(host.seconds / 4)
        for call in calls:
            call()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_host_that_restarts_gets_the_graph_again():
    with FakeServer(1.0) as host:
        helper = after(1, host, host.die, host.forget, host.revive)
        assert performed(host).outputs
        helper.join()
        assert list(host.runs.values()) == [2]


def test_a_host_that_stays_away_is_told_by_its_address():
    with FakeServer(1.0) as host:
        helper = after(1, host, host.die)
        with pytest.raises(api.HostLost, match=rf"{host.url} was lost before the graph was done"):
            performed(host, patience=0.3)
        helper.join()
        host.revive()


def test_a_failure_that_was_missed_is_told():
    with FakeServer(0.3) as host:
        host.hang_up = 1
        with pytest.raises(api.WorkflowError, match=r"node 1 \(Draw\) failed with ValueError: out of paint"):
            performed(host, fails=True)


def table(tmp_path, hosts, lines, head="Draw.width", patience=0.3, more=()) -> int:
    """The command itself, in this process."""
    (tmp_path / "w.json").write_text(json.dumps(graph(fails=False, refused=False)))
    (tmp_path / "v.csv").write_text("\n".join([head, *lines]) + "\n")
    words = ["api", str(tmp_path / "w.json"), "--csv", str(tmp_path / "v.csv"), "--out", str(tmp_path / "out")]
    words += [word for host in hosts for word in ("--host", f"127.0.0.1:{host.port}")]
    return headless.api(cli.parse([*words, "--patience", str(patience), *more]))


def records(tmp_path) -> list[dict]:
    lines = (tmp_path / "out" / "w-v.results.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[1:]]


def assert_each_row_once(tmp_path, widths) -> None:
    found = records(tmp_path)
    assert sorted(record["row"] for record in found) == list(range(1, len(widths) + 1))
    for record in found:
        (name,) = record["files"]
        assert Image.open(tmp_path / "out" / name).width == widths[record["row"] - 1]
    assert len(list((tmp_path / "out").glob("*.png"))) == len(widths)


WIDTHS = list(range(5, 17))


def test_rows_are_shared(tmp_path):
    with FakeServer(0.1) as one, FakeServer(0.1) as two:
        assert table(tmp_path, (one, two), map(str, WIDTHS)) == 0
        assert_each_row_once(tmp_path, WIDTHS)
        assert set((one.runs + two.runs).values()) == {1} and len(one.runs) >= 3 <= len(two.runs)


def test_another_host_takes_the_row_of_one_that_died(tmp_path):
    with FakeServer(0.15) as one, FakeServer(0.15) as two:
        helper = after(3, one, one.die)
        assert table(tmp_path, (one, two), map(str, WIDTHS)) == 0
        helper.join()
        assert_each_row_once(tmp_path, WIDTHS)
        assert len(two.runs) > len(one.runs)
        one.revive()


@pytest.mark.parametrize("remembers", [True, False])
def test_a_host_that_comes_back_works_on_and_doubles_nothing(tmp_path, remembers):
    with FakeServer(0.3) as one, FakeServer(0.3) as two:
        calls = [one.die, *([] if remembers else [one.forget]), lambda: time.sleep(0.8), one.revive]
        helper = after(2, one, *calls)
        assert table(tmp_path, (one, two), map(str, WIDTHS)) == 0
        helper.join()
        assert_each_row_once(tmp_path, WIDTHS)
        assert len(one.runs) >= 3 and not one.queue and not two.queue


def test_when_all_hosts_are_gone_the_next_start_goes_on(tmp_path):
    with FakeServer(0.2) as host:
        helper = after(3, host, host.die)
        with pytest.raises(api.HostLost, match=r"No host is left; \d+ rows are"):
            table(tmp_path, (host,), map(str, WIDTHS))
        helper.join()
        done = len(records(tmp_path))
        assert 0 < done < len(WIDTHS)
        host.revive()
        assert table(tmp_path, (host,), map(str, WIDTHS)) == 0
        assert_each_row_once(tmp_path, WIDTHS)
        assert set(host.runs.values()) == {1}


def test_failures_are_kept_as_sentences_and_run_again_alone(tmp_path):
    with FakeServer() as host:
        assert table(tmp_path, (host,), ["5,,", "6,true,", "7,,true"], "Draw.width,Draw.fails,Draw.refused") == 1
        errors = {record["row"]: record.get("error") for record in records(tmp_path)}
        assert errors[1] is None
        assert errors[2] == "node 1 (Draw) failed with ValueError: out of paint"
        assert errors[3].startswith("The host refused the graph: failed validation\n  node 1 (Draw): Value not in list")
        assert table(tmp_path, (host,), ["5,,", "6,true,", "7,,true"], "Draw.width,Draw.fails,Draw.refused") == 1
        assert sorted(host.runs.values()) == [1, 2]


def test_other_values_do_not_mix_with_older_results(tmp_path):
    with FakeServer() as host:
        table(tmp_path, (host,), ["5"])
        with pytest.raises(ValueError, match="another workflow or other values"):
            table(tmp_path, (host,), ["6"])


def test_a_record_that_was_cut_off_is_no_record(tmp_path):
    with FakeServer() as host:
        table(tmp_path, (host,), ["5", "6"])
        file = tmp_path / "out" / "w-v.results.jsonl"
        file.write_bytes(file.read_bytes()[:-9])
        assert table(tmp_path, (host,), ["5", "6"]) == 0
        assert_each_row_once(tmp_path, [5, 6])


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("", "needs a head"),
        ("Draw.width\n", "needs a head"),
        ("a,a\n1,2\n", "different"),
        ("a,b\n1\n", "line 1 below the head .* has 1 cells, not 2"),
    ],
)
def test_csv_files_that_do_not_fit_get_a_sentence(tmp_path, text, complaint):
    (tmp_path / "v.csv").write_text(text)
    with pytest.raises(ValueError, match=complaint):
        rows.read(tmp_path / "v.csv")


def test_a_value_for_no_input_names_its_line():
    with pytest.raises(ValueError, match=r"no input 'depth'.*line 2 below"):
        rows.graphs(graph(), [{"Draw.width": "4"}, {"Draw.depth": "4"}], "0" * 32)


@pytest.mark.parametrize(
    "text, url",
    [
        ("127.0.0.1:8188", "http://127.0.0.1:8188"),
        ("gpu-box", "http://gpu-box:8188"),
        ("[::1]:99", "http://[::1]:99"),
        ("https://comfy.example/sub/", "https://comfy.example/sub"),
    ],
)
def test_addresses(text, url):
    assert headless.address(text) == url


@pytest.mark.parametrize("text", ["", ":8188", "box:port", "ftp://box", "http://box?x=1"])
def test_addresses_that_are_none(text):
    with pytest.raises(ValueError, match="HOST:PORT"):
        headless.address(text)


def test_nobody_at_home(tmp_path):
    (tmp_path / "w.json").write_text(json.dumps(graph()))
    with FakeServer() as host:
        host.die()
        with pytest.raises(RuntimeError, match="No ComfyUI answers at http://127"):
            headless.api(cli.parse(["api", str(tmp_path / "w.json"), "--host", f"127.0.0.1:{host.port}"]))
        host.revive()


def test_a_run_that_hangs_fails_and_the_others_go_on(tmp_path, monkeypatch):
    with FakeServer(0.05) as host:
        hang = host._run

        async def hanging(item):
            if item[2]["1"]["inputs"]["width"] == 6 and item[1] not in host.stopped:
                await asyncio.sleep(0.05)
                return
            await hang(item)

        monkeypatch.setattr(host, "_run", hanging)
        assert table(tmp_path, (host,), ["5", "6", "7"], more=("--timeout", "2")) == 1
        errors = {record["row"]: record.get("error") for record in records(tmp_path)}
    assert errors[1] is None and errors[3] is None and "not done within 2 s" in errors[2]
