"""The user's cancel as a training in a process of its own hears it."""

import pytest


class Server:
    """Whether a graph runs, and the host's flag."""

    running, flag = True, False

    def idle(self) -> bool:
        return not self.running


@pytest.fixture
def server(tiny, monkeypatch):
    from fewstep.host import spot

    found = Server()
    monkeypatch.setattr(spot, "is_cancelled", lambda: found.flag)
    monkeypatch.setattr(spot, "cancel", lambda pressed: setattr(found, "flag", pressed))
    return found


@pytest.fixture
def cancel(server):
    from fewstep.host.spot import Cancel

    return Cancel(server)


def test_a_press_while_no_graph_runs_is_heard_once(server, cancel):
    server.running = False
    assert not cancel.pressed()
    server.flag = True
    assert cancel.pressed() and not server.flag and not cancel.pressed()


def test_a_press_during_a_graph_is_the_graphs(server, cancel):
    """It stays up for the graph; where that ends first, it is taken back and means nothing."""
    server.flag = True
    assert not cancel.pressed() and server.flag
    server.running = False
    assert not cancel.pressed() and not server.flag


def test_a_press_after_one_that_was_missed_is_heard(server, cancel):
    """A graph ended and the user pressed between two looks: the second press must not be lost with the first."""
    assert not cancel.pressed()
    server.running, server.flag = False, True
    assert not cancel.pressed()
    server.flag = True
    assert cancel.pressed()


def test_it_is_heard_while_pictures_are_drawn(server, tmp_path, monkeypatch):
    """A slow page, as long as the training runs, does not keep the press from the process."""
    import subprocess
    import sys
    import threading
    from types import SimpleNamespace

    from fewstep.host.training import separate

    released = threading.Event()
    monkeypatch.setattr(separate.Separate, "show", lambda run: released.wait(60))
    monkeypatch.setattr(separate, "PAUSE", 0.05)
    server.running, server.text = False, lambda words: None
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    job = SimpleNamespace(run_name="slow", folder=SimpleNamespace(path=tmp_path), config=SimpleNamespace(steps=9))
    told = tmp_path / "told.json"
    try:
        run = separate.Separate(job, child, told, server)
        run.start()
        threading.Event().wait(1.0)
        server.flag = True
        assert child.wait(20) != 0
    finally:
        released.set()
        child.kill()
    run.join(20)
