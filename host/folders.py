"""Where files are: the host's named folders, extended by the pack's own `assets/`."""

import logging
from pathlib import Path

try:
    import folder_paths
except ImportError:  # the PyPI host, when it is used in-process
    from comfy.cmd import folder_paths

log = logging.getLogger(__name__)
ASSETS = Path(__file__).resolve().parent.parent / "assets"


def register_assets() -> None:
    """Show `assets/checkpoints` and `assets/loras` in the stock loaders' lists, with nothing copied."""
    for kind in ("checkpoints", "loras"):
        path = str(ASSETS / kind)
        if path not in folder_paths.get_folder_paths(kind):
            folder_paths.add_model_folder_path(kind, path)
