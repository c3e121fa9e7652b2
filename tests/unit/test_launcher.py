"""The launcher: hosts are started and always stopped, environments are made once, errors are sentences."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from fewstep.launcher import cli, folders, install, pip, process, server, upstream

# A ComfyUI in 15 lines: it answers /system_stats, has a child process, and notes both process ids.
FAKE = """
import argparse, http.server, os, pathlib, subprocess, sys
parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
args, rest = parser.parse_known_args()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("pids").write_text(f"{os.getpid()} {child.pid}")
pathlib.Path("arguments").write_text("\\n".join(rest))
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"system": {}}')
http.server.HTTPServer(("127.0.0.1", args.port), Page).serve_forever()
"""
CRASH = "import sys; print('loading'); print('\\033[31mno such weights: x.bin'); sys.exit(3)"


def checkout(folder: Path, code: str) -> Path:
    folder.mkdir()
    (folder / "main.py").write_text(code)
    return folder


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def settle(condition, limit: float = 5.0) -> bool:
    deadline = time.monotonic() + limit
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_host_and_its_children_end_with_the_block(tmp_path, error):
    fake, work = checkout(tmp_path / "fake", FAKE), tmp_path / "work"
    try:
        with server.host(comfyui=fake, workdir=work) as running:
            pids = [int(text) for text in (work / "pids").read_text().split()]
            assert server.answers(running.url) and running.process.pid == pids[0]
            assert os.path.samefile(work / "custom_nodes" / "fewstep", folders.ROOT)
            if error:
                raise error
    except (ValueError, KeyboardInterrupt):
        assert error is not None
    assert settle(lambda: all(map(gone, pids)))
    server.check_port(running.port)


def test_host_listens_here_alone_and_keeps_off_the_users_database(tmp_path):
    fake, work = checkout(tmp_path / "fake", FAKE), tmp_path / "work"
    (fake / "models" / "vae").mkdir(parents=True)
    with server.host(comfyui=fake, workdir=work, models={"checkpoints": [tmp_path]}):
        arguments = (work / "arguments").read_text().splitlines()
        models = json.loads(Path(arguments[arguments.index("--extra-model-paths-config") + 1]).read_text())
    assert arguments[arguments.index("--listen") + 1] == "127.0.0.1" and "--cpu" in arguments
    assert arguments[arguments.index("--database-url") + 1] == "sqlite:///:memory:"
    assert models == {"launcher": {"vae": str(fake / "models" / "vae"), "checkpoints": str(tmp_path)}}


def test_early_end_shows_the_hosts_own_words(tmp_path):
    with (
        pytest.raises(server.HostError, match=r"(?s)exit code 3.*no such weights: x\.bin.*host-.*\.log") as caught,
        server.host(comfyui=checkout(tmp_path / "fake", CRASH), workdir=tmp_path / "work"),
    ):
        pass
    assert "\033" not in str(caught.value)


def test_silence_ends_with_the_log(tmp_path):
    child = process.start([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, tmp_path / "log")
    with pytest.raises(server.HostError, match="did not answer within 0 s"):
        server.wait_ready(child, f"http://127.0.0.1:{server.free_port()}", tmp_path / "log", limit=0.3)
    process.stop(child)
    assert child.poll() is not None


def test_a_taken_port_and_a_wrong_folder_are_refused(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(server.HostError, match="is taken"), server.host(port=taken.getsockname()[1]):
            pass
    with pytest.raises(server.HostError, match="no ComfyUI folder"), server.host(comfyui=tmp_path, workdir=tmp_path):
        pass


def test_old_logs_go(tmp_path):
    (tmp_path / "logs").mkdir()
    for port in range(folders.KEPT_LOGS + 5):
        (tmp_path / "logs" / f"host-{port}.log").touch()
        os.utime(tmp_path / "logs" / f"host-{port}.log", (port, port))
    folders.new_log(tmp_path, 99)
    left = {path.name for path in (tmp_path / "logs").iterdir()}
    assert len(left) == folders.KEPT_LOGS - 1 and "host-0.log" not in left


def test_link_is_renewed_but_a_real_folder_is_not_touched(tmp_path):
    link = tmp_path / "fewstep"
    if os.name != "nt":
        link.symlink_to(tmp_path)
    folders.link_pack(link)
    folders.link_pack(link)
    assert os.path.samefile(link, folders.ROOT)
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    with pytest.raises(FileExistsError, match="Move it away"):
        folders.link_pack(tmp_path / "real")


def test_stamp_follows_the_requirement_files(tmp_path):
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for file in files:
        file.write_text("torch\n")
    home = tmp_path / "venv"
    assert not install.installed(home, files)
    install.venv_python(home).parent.mkdir(parents=True)
    install.venv_python(home).touch()
    (home / install.STAMP).write_text(json.dumps(install.stamp(files)))
    assert install.installed(home, files) and install.installed(home, files[:1])
    files[1].write_text("torch>=2\n")
    assert not install.installed(home, files) and install.installed(home, files[:1])
    (home / install.STAMP).write_text('{"a.t')
    assert not install.installed(home, files)


def test_fill_installs_no_deps_lines_last_and_stamps_only_success(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(install, "make_venv", lambda folder: folder.mkdir(exist_ok=True))
    monkeypatch.setattr(install, "install", lambda python, arguments, log: calls.append(arguments))
    file = tmp_path / "r.txt"
    file.write_text("# no-deps: comfyui==0.0.1\ntorch\n")
    install.fill(tmp_path / "venv", [file])
    assert calls[-1] == ["--no-deps", "comfyui==0.0.1"] and ["-r", str(file)] == calls[-2][-2:]
    assert json.loads((tmp_path / "venv" / install.STAMP).read_text()) == install.stamp([file])

    def fail(*_):
        raise pip.InstallError("no network")

    monkeypatch.setattr(install, "install", fail)
    with pytest.raises(pip.InstallError):
        install.fill(tmp_path / "other", [file])
    assert not (tmp_path / "other" / install.STAMP).exists()


@pytest.mark.parametrize("version", [(3, 9), (3, 13)])
def test_other_pythons_are_refused(version):
    with pytest.raises(install.InstallError, match=rf"3\.10, 3\.11 or 3\.12; this is 3\.{version[1]}"):
        install.check_version(version)


def test_missing_packages_of_the_users_python_are_named_with_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "requirements.txt").write_text("# comment\npytest>=7\nno-such-package-here[x]>=1\n")
    monkeypatch.setattr(install, "ROOT", tmp_path)
    with pytest.raises(install.InstallError, match=r"lacks no-such-package-here\. (?s:.*)-m pip install -r"):
        install.check_packages(Path(sys.executable), install.HOST)


def test_pip_lines_become_progress(tmp_path):
    view = pip.Progress(tmp_path / "bin" / "python", io.StringIO())
    for line in (
        "Collecting torch<=2.14,>=2.2 (from -r x)",
        "  Downloading torch-2.14.1-cp311-cp311-linux.whl.metadata (30 kB)",
        "Collecting scipy",
        "Downloading torch-2.14.1-cp311-cp311-linux.whl (880.2 MB)",
        "Progress 10 of 100",
        "Using cached scipy-1.17-cp311.whl (38 MB)",
    ):
        view.feed(line)
    assert view.stream.getvalue() == "[1/2] fetching torch (880.2 MB)\n" and view.seen == view.fetched == 2
    assert pip.bar(3, 6).endswith(" 3/6") and pip.bar(5_000_000, 10_000_000).endswith(" 5/10 MB")


def test_pip_failure_names_the_log(tmp_path):
    with pytest.raises(pip.InstallError, match=r"(?s)exit code 1.*pip\.log.*Run the same command again"):
        pip.install(Path(sys.executable), ["--no-index", str(tmp_path / "nothing.whl")], tmp_path / "pip.log")


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_latest_is_cloned_once_and_whole(tmp_path, monkeypatch):
    origin, home, fills = checkout(tmp_path / "origin", ""), tmp_path / "home", []
    (origin / "requirements.txt").touch()
    git = ["git", "-C", str(origin), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(upstream, "fill", lambda folder, files: fills.append([file.name for file in files]))
    with pytest.raises(pip.InstallError, match="--comfyui-url"):
        upstream.prepare_latest((tmp_path / "nowhere").as_uri(), home)
    python = upstream.prepare_latest(origin.as_uri(), home)
    upstream.prepare_latest((tmp_path / "nowhere").as_uri(), home)  # is not asked again
    assert (upstream.checkout("latest", home) / "main.py").is_file() and python.is_relative_to(home)
    assert fills[0] == ["comfyui.txt", "pack.txt", "launcher.txt"]
    assert "torch>=" in (home / "launcher.txt").read_text() and "torchvision" in (home / "launcher.txt").read_text()


def test_python_beside_a_checkout_is_found(tmp_path):
    folder = checkout(tmp_path / "ComfyUI", "")
    with pytest.raises(install.InstallError, match="--python"):
        upstream.find_python(folder)
    python = install.venv_python(folder / ".venv")
    python.parent.mkdir(parents=True)
    python.touch()
    assert upstream.find_python(folder) == python


def test_exit_code_and_sentence_come_through_both_starts(tmp_path):
    environment = os.environ | {"FEWSTEP_VENV": sys.prefix, "COMFYUI_DIR": ""}
    command = [sys.executable, str(folders.ROOT / "run.py"), "api", str(tmp_path / "none.json")]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert answer.returncode == 1 and "there is no workflow file" in answer.stderr and "Traceback" not in answer.stderr


def test_unknown_options_go_to_pytest_alone(capsys):
    assert cli.parse(["test", "-k", "sheet", "--device", "cpu"]).rest == ["-k", "sheet"]
    with pytest.raises(SystemExit):
        cli.parse(["demo", "--nope"])
    assert "demo does not know --nope" in capsys.readouterr().err


def test_a_log_is_shown_on_a_terminal_that_does_not_know_its_signs():
    """Windows writes a code page where the output goes to a file or a pipe."""
    code = "import bootstrap; bootstrap.register(); from fewstep.launcher import cli; "
    code += "cli.main(['bench', 'no-such']); print('\\u2713 loaded')"
    env = os.environ | {"PYTHONIOENCODING": "cp1252", cli.INSIDE: "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folders.ROOT, env=env, capture_output=True)
    assert done.returncode == 0 and done.stdout == b"? loaded" + os.linesep.encode(), done.stderr
    assert b"there is no 'no-such' in benchmarks" in done.stderr


def test_the_command_line_begins_in_a_bare_python():
    """`python run.py` comes before any package is installed: it may import the standard library alone."""
    code = "import runpy, sys; sys.argv = ['run.py', '-h']; runpy.run_path('run.py', run_name='__main__')"
    alone = [sys.executable, "-S", "-c", code]  # without site-packages
    done = subprocess.run(alone, cwd=folders.ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""})
    assert done.returncode == 0, done.stderr
    assert "train a run folder" in done.stdout
