"""Servers of the tests' own: which host the environment names."""

import os


def options() -> dict[str, str | None]:
    """What launcher.server.host takes: the embedded host or COMFYUI_DIR (with COMFYUI_PYTHON), FEWSTEP_TEST_DEVICE."""
    found = {"device": os.environ.get("FEWSTEP_TEST_DEVICE", "cpu")}
    if os.environ.get("COMFYUI_DIR"):
        found |= {"comfyui": os.environ["COMFYUI_DIR"], "python": os.environ.get("COMFYUI_PYTHON")}
    return found
