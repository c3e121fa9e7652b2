"""Make `import fewstep` work; the real host is a fixture that tests ask for by name."""

import importlib.util
import shutil
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def register() -> None:
    """Run bootstrap.py from where it lies: with its folder on the path, `nodes` and `server` would be ours."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.register()


register()


def keep_the_in_process_host_here() -> None:
    """Whatever imports the embedded host first: on the CPU, and with its folders outside the repository."""
    try:
        from comfy.cli_args import args
    except ImportError:
        return  # no embedded host: the tests that need it skip themselves
    args.cpu, args.cwd = True, tempfile.mkdtemp(prefix="fewstep-tests-")
    args.use_pytorch_cross_attention = True  # as the launcher starts it


keep_the_in_process_host_here()


def devices() -> list[str]:
    """Where the mathematics is tested: the CPU, and CUDA where there is one."""
    import torch

    return ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(params=devices())
def device(request):
    import torch

    return torch.device(request.param)


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    """A real ComfyUI server: the embedded one or COMFYUI_DIR (with COMFYUI_PYTHON), on FEWSTEP_TEST_DEVICE.

    It knows two model classes more than a user's: the small SD2.x and SDXL of tests/helpers/tiny_models.
    """
    from fewstep.launcher import server
    from fewstep.tests.helpers import hosts

    workdir = tmp_path_factory.mktemp("host")
    shutil.copytree(ROOT / "tests" / "helpers" / "tiny_models", workdir / "custom_nodes" / "tiny_models")
    with server.host(workdir=workdir, **hosts.options()) as running:
        yield running


@pytest.fixture(scope="session")
def client(host):
    return host.client()


@pytest.fixture(scope="session")
def object_info(client):
    return client.object_info()
