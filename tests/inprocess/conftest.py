"""The embedded host, imported into this process: its tiny base, and a small random model of SDXL's class."""

from pathlib import Path

import pytest

TINY = Path(__file__).resolve().parents[2] / "assets" / "checkpoints" / "fewstep-tiny-sd.safetensors"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """(MODEL, CLIP, VAE) of the tiny base through the stock loading function."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COMFYUI_DIR", raising=False)
        from fewstep.host import headless

        headless.start(workdir=tmp_path_factory.mktemp("in-process"))
        yield headless.load_checkpoint(TINY)


@pytest.fixture(scope="module")
def bases(tiny):
    """{name: MODEL} of the tiny base and of a small random SDXL."""
    from fewstep.tests.helpers.small_models import random_sdxl

    return {"tiny": tiny[0], "sdxl": random_sdxl()}
