"""A run's files after power cuts, bad disks, kills, copies and second hosts: noticed, said, and the run goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from fewstep.tests.helpers.trainers import trainer
from fewstep.training import run_lock
from fewstep.training.loop import NonFiniteLoss
from fewstep.training.state import RunFolder
from fewstep.training.watchdog import Watch, way_back
from fewstep.weights import io, sealed

ROOT = Path(__file__).resolve().parents[2]


def zeroed_tail(data: bytes) -> bytes:
    return data[:-500] + bytes(500)


def flipped(data: bytes) -> bytes:
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


def of_no_checksum(data: bytes) -> bytes:
    return data.replace(sealed.CHECKSUM.encode(), b"fewstep.checkSUM")


DAMAGE = {
    "a tail of zeros": (zeroed_tail, "does not fit its checksum"),
    "one bit": (flipped, "does not fit its checksum"),
    "cut short": (lambda data: data[:-9], "is cut short"),
    "empty": (lambda data: b"", "is cut short"),
    "other metadata": (lambda data: data.replace(b'"step":"8"', b'"step":"9"'), "does not fit its checksum"),
    "no checksum": (of_no_checksum, "has no checksum"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_is_passed_over_and_the_run_ends_as_if_it_had_not_been(damage, tmp_path):
    spoil, message = DAMAGE[damage]
    trainer(tmp_path / "whole", 10).run()
    trainer(tmp_path / "run", 8).run()
    file = tmp_path / "run" / "state-8.safetensors"
    file.write_bytes(spoil(file.read_bytes()))
    trainer(tmp_path / "run", 10).run()
    folder = RunFolder(tmp_path / "run")
    (note,) = folder.notes()
    assert message in note and "goes on from the state of step 4; the file is kept in set-aside/" in note
    assert (folder.path / "set-aside" / "state-8.safetensors").is_file()
    assert [record["step"] for record in folder.metrics()] == list(range(1, 11))
    ours, theirs = folder.load()[1], RunFolder(tmp_path / "whole").load()[1]
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_an_older_state_under_a_newer_name_is_noticed(tmp_path):
    trainer(tmp_path, 8).run()
    (tmp_path / "state-9.safetensors").write_bytes((tmp_path / "state-4.safetensors").read_bytes())
    assert RunFolder(tmp_path).load()[0] == 8
    assert "state-9.safetensors holds the state of step 4" in RunFolder(tmp_path).notes()[0]


def test_a_run_whose_every_state_is_damaged_starts_anew(tmp_path):
    trainer(tmp_path, 8).run()
    for file in RunFolder(tmp_path).states():
        file.write_bytes(b"cut short")
    trainer(tmp_path, 3).run()
    assert "from the start, as no saved state is sound" in RunFolder(tmp_path).notes()[0]
    assert [record["step"] for record in RunFolder(tmp_path).metrics()] == [1, 2, 3]


def test_copies_and_folders_beside_the_states_do_not_count(tmp_path):
    trainer(tmp_path, 4).run()
    for name in ("state-30 (copy).safetensors", "state-.safetensors", "state-4x.safetensors", "state-٣.safetensors"):
        (tmp_path / name).write_bytes(b"a copy")
    (tmp_path / "state-50.safetensors").mkdir()
    trainer(tmp_path, 6).run()
    assert RunFolder(tmp_path).steps() == [4, 6] and not RunFolder(tmp_path).notes()


def test_a_state_that_is_not_finite_is_never_resumed(tmp_path):
    folder = RunFolder(tmp_path)
    folder.save(1, {"a": torch.ones(2)}, 3)
    folder.save(2, {"a": torch.tensor([1.0, float("nan")])}, 3)
    assert folder.load()[0] == 1 and "holds NaN or infinity in a" in folder.notes()[0]


def test_a_state_that_the_system_does_not_open_is_not_put_away(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.save(1, {"a": torch.ones(2)}, 3)

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sealed, "safe_open", refused)
    with pytest.raises(ValueError, match='"state-1.safetensors" cannot be opened'):
        folder.load()
    assert folder.steps() == [1]


def test_the_best_weights_are_looked_for_anew_when_theirs_are_damaged(tmp_path):
    folder = RunFolder(tmp_path)
    folder.save_best(7, 0.5, {"a": torch.ones(100)})
    assert folder.best_error() == 0.5 and torch.equal(folder.load_best()[0]["a"], torch.ones(100))
    file = tmp_path / "best.safetensors"
    file.write_bytes(flipped(file.read_bytes()))
    assert folder.best_error() == float("inf") and not file.exists()
    assert "looked for anew" in folder.notes()[0]


def test_going_back_keeps_what_came_later_and_repeats_it_exactly(tmp_path):
    trainer(tmp_path, 12, keep_last=9).run()
    folder = RunFolder(tmp_path)
    last = folder.load()[1]
    with pytest.raises(ValueError, match="no saved step 5. It has: 0, 4, 8, 12"):
        folder.go_back(5)
    folder.go_back(4)
    assert folder.steps() == [4] and len(list((tmp_path / "set-aside").iterdir())) == 2
    trainer(tmp_path, 12, keep_last=9).run()
    assert all(torch.equal(tensor, last[key]) for key, tensor in folder.load()[1].items())
    folder.go_back(0)
    assert folder.steps() == [] and folder.load() == (0, {}) and folder.metrics() == []


def test_going_back_to_a_damaged_state_is_refused_and_changes_nothing(tmp_path):
    trainer(tmp_path, 8).run()
    file = tmp_path / "state-4.safetensors"
    file.write_bytes(flipped(file.read_bytes()))
    with pytest.raises(ValueError, match="state-4.safetensors does not fit its checksum"):
        RunFolder(tmp_path).go_back(4)
    assert RunFolder(tmp_path).steps() == [4, 8]


def test_a_run_that_blew_up_names_the_step_to_go_back_to_and_keeps_it(tmp_path):
    """At a rate of 1e9 the loss explodes, then is no number; the state of step 8 is the last that gave usual losses."""
    trainer(tmp_path, 8, keep_last=1).run()
    with pytest.raises(NonFiniteLoss, match="set resume_step to go back to step 8, the last saved one that was sound"):
        trainer(tmp_path, 400, keep_last=1, learning_rate=1e9).run()
    folder = RunFolder(tmp_path)
    assert folder.steps()[0] == 8 and len(folder.steps()) == 2
    folder.go_back(8)
    trainer(tmp_path, 12, keep_last=1).run()
    assert folder.steps() == [12]


def test_usual_losses_vouch_for_the_weights_before_them():
    def watch(*losses):
        return Watch.of([{"step": n + 1, "loss": loss, "student_gradient": 1.0} for n, loss in enumerate(losses)])

    assert watch(1, 2, 20, 1).sound == 3 and not watch(1, 2, 20, 1).protected
    assert watch(1, 2, 1, 1e5, 1e6).sound == 2 and watch(1, 2, 1, 1e5, 1e6).protected == 2
    assert watch(0, 0, 1, 1).sound == 3  # a first turn may have no loss at all
    rising = [0, 1e-6, 1e-6, *[1.0] * 101]  # SwiftBrush's, whose critic begins as the teacher
    assert watch(*rising[:100]).sound == 2 and watch(*rising).sound == len(rising) - 1
    assert "step 0, its start" in way_back([10, 20], 9) and "step 10, the last" in way_back([10, 20], 19)


ODD_LINES = [
    b"\x00" * 100,
    b"\xff\xfe\x00",
    b"[1, 2]",
    b"null",
    b'{"step": "3", "loss": 1.0}',
    b'{"step": true}',
    b'{"step": 2, "loss": "low"}',
    b'{"step": 2, "loss": [1]}',
    b'{"step": 2, "loss": NaN}',
    b'{"step": 2, "loss": 1e999}',
    b'{"step": 2, "loss": ' + b"9" * 5000 + b"}",
    b'{"step": -1}',
    b'{"a":' * 5000,
    b'{"step": 2, "x": "' + b"y" * 300_000 + b'"}',
]


def test_odd_lines_of_the_metrics_do_not_count(tmp_path):
    good = [b'{"step": %d, "loss": 1.0}' % step for step in range(1, len(ODD_LINES) + 1)]
    mixed = [line for pair in zip(good, ODD_LINES) for line in pair]
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join(mixed) + b"\n")
    assert [record["step"] for record in RunFolder(tmp_path).metrics()] == list(range(1, len(good) + 1))


def test_a_step_that_two_hosts_wrote_counts_once(tmp_path):
    for step in (1, 1, 2, 2, 3):
        RunFolder(tmp_path).log({"step": step, "loss": 1.0})
    assert [record["step"] for record in RunFolder(tmp_path).metrics()] == [1, 2, 3]


@pytest.mark.parametrize("text", [b'{"a":' * 5000, b'{"a":' * 60 + b"1" + b"}" * 60, b"\x00"])
def test_settings_nested_without_end_are_refused(text, tmp_path):
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(ValueError, match="is not the settings of a FewStep run"):
        RunFolder(tmp_path).read_config()


HOLD = (
    "import sys, time, pathlib; sys.path.insert(0, {root!r}); import bootstrap; bootstrap.register();"
    "from fewstep.training import run_lock\n"
    "with run_lock.held(pathlib.Path({folder!r})): print('held', flush=True); time.sleep(60)"
)


def test_a_second_host_is_told_who_trains_the_run_and_a_dead_ones_lock_is_taken_over(tmp_path):
    code = HOLD.format(root=str(ROOT), folder=str(tmp_path / "run"))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "held\n"
            with pytest.raises(
                run_lock.Held, match=rf"The run 'run' is being trained by process {other.pid} on .*since"
            ):
                RunFolder(tmp_path / "run").held().__enter__()
        finally:
            os.kill(other.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
        other.wait(10)
    with RunFolder(tmp_path / "run").held():
        assert f"process {os.getpid()}" in (tmp_path / "run" / "lock").read_text()
    with RunFolder(tmp_path / "run").held():
        pass  # and it is given back


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    for name in ("a.safetensors.123.tmp", "b.txt.9.tmp", "keep.safetensors", "tmp"):
        (tmp_path / name).write_bytes(b"x")
    assert io.sweep(tmp_path, "a.safetensors.") == ["a.safetensors.123.tmp"]
    assert io.sweep(tmp_path) == ["b.txt.9.tmp"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keep.safetensors", "tmp"]


def test_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    """fsync of the file, the rename, fsync of the folder, in this order."""
    seen, replace, sync, sync_folder = [], os.replace, io.sync, io.sync_folder
    monkeypatch.setattr(os, "replace", lambda *paths: (seen.append("rename"), replace(*paths)))
    monkeypatch.setattr(io, "sync", lambda path: (seen.append(path.suffix), sync(path)))
    monkeypatch.setattr(io, "sync_folder", lambda path: (seen.append(path.name), sync_folder(path)))
    io.write_text(tmp_path / "file.json", json.dumps({}))
    assert seen == [".tmp", "rename", tmp_path.name]


def test_a_disk_that_refuses_gets_a_sentence_without_the_way_to_the_file(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError(30, "Read-only file system", str(tmp_path))

    for name in ("mkdir", "touch"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, refused)
            with pytest.raises(OSError, match="run/a.safetensors could not be written: Read-only.*another output") as e:
                io.save({"a": torch.ones(1)}, tmp_path / "run" / "a.safetensors", {})
            assert str(tmp_path) not in str(e.value)


def test_a_checksum_is_cheap():
    """A state of 100 MB in well under a second: it is the fast kind, not a cryptographic one in Python."""
    tensors = {"a": torch.zeros(25_000_000)}
    started = time.process_time()
    sealed.checksum(tensors, {})
    assert time.process_time() - started < 1
