"""Make `import fewstep` work; the real host is a fixture that tests ask for by name."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(ROOT))

import bootstrap  # noqa: E402 (the path above comes first)

bootstrap.register()


def keep_the_in_process_host_here() -> None:
    """Whatever imports the embedded host first: on the CPU, and with its folders outside the repository."""
    try:
        from comfy.cli_args import args
    except ImportError:
        return  # no embedded host: the tests that need it skip themselves
    args.cpu, args.cwd = True, tempfile.mkdtemp(prefix="fewstep-tests-")


keep_the_in_process_host_here()


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    """A real ComfyUI server: the embedded one, or the checkout COMFYUI_DIR (with COMFYUI_PYTHON)."""
    from launcher import server

    options = {}
    if os.environ.get("COMFYUI_DIR"):
        options = {"comfyui": os.environ["COMFYUI_DIR"], "python": os.environ.get("COMFYUI_PYTHON")}
    with server.host(workdir=tmp_path_factory.mktemp("host"), **options) as running:
        yield running


@pytest.fixture(scope="session")
def client(host):
    return host.client()


@pytest.fixture(scope="session")
def object_info(client):
    return client.object_info()
