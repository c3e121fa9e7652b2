"""A ComfyUI inside this process, without its server: for tests, benchmarks and trainings from the command line.

`start()` makes `import comfy` work, either from the installed PyPI host or from an upstream checkout.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path


def start(
    device: str = "cpu", comfyui: str | os.PathLike | None = None, workdir: str | os.PathLike | None = None
) -> None:
    """Import the host once, on `device` ("cpu" or "auto"), and register the tiny base.

    comfyui: an upstream checkout; else the environment's COMFYUI_DIR; else the installed PyPI host.
    workdir: where the host keeps models, input and output; a temporary folder when not given.
    """
    workdir = Path(workdir or tempfile.mkdtemp(prefix="fewstep-host-"))
    checkout = comfyui or os.environ.get("COMFYUI_DIR")
    if checkout and str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    from comfy.cli_args import args  # parses no command line: the host's own `options.args_parsing` is off

    args.cpu = device == "cpu"
    # The host's own choice on a CPU splits attention into pieces, to save memory that small latents do not need.
    args.use_pytorch_cross_attention = args.use_pytorch_cross_attention or args.cpu
    if checkout:
        args.base_directory = str(workdir)
    else:
        args.cwd = str(workdir)
    from . import folders, tiny_sd

    tiny_sd.register()
    folders.register_assets()


def use_extra_paths(checkout: Path) -> None:
    """Also look where the checkout's extra_model_paths.yaml says, as its own server does."""
    file = checkout / "extra_model_paths.yaml"
    if file.is_file():
        from utils.extra_config import load_extra_path_config

        load_extra_path_config(str(file))


def use_folders(file: Path) -> None:
    """Look for models, input and output where another host does: {models: {kind: paths}, input, output} in JSON."""
    from .folders import folder_paths

    told = json.loads(file.read_text(encoding="utf-8"))
    for kind, paths in told["models"].items():
        for path in paths:
            folder_paths.add_model_folder_path(kind, path)
        known = folder_paths.folder_names_and_paths[kind][0]
        known[:] = [*paths, *(path for path in known if path not in paths)]  # the first is where new files go
    folder_paths.set_input_directory(told["input"])
    folder_paths.set_output_directory(told["output"])


def stock_nodes(wanted: Iterable[str]) -> dict[str, type]:
    """The host's own nodes by id. Those of its comfy_extras are imported only where one of `wanted` is among them."""
    if find_spec("comfy.nodes"):  # the PyPI host
        from comfy.nodes import base_nodes, package

        classes = base_nodes.NODE_CLASS_MAPPINGS
        if set(wanted) - set(classes):
            classes = package.import_all_nodes_in_workspace(vanilla_custom_nodes=False).NODE_CLASS_MAPPINGS
        return dict(classes)
    import nodes

    if set(wanted) - set(nodes.NODE_CLASS_MAPPINGS):
        asyncio.run(nodes.init_public_apis())
        asyncio.run(nodes.init_builtin_extra_nodes())
    return dict(nodes.NODE_CLASS_MAPPINGS)


def load_checkpoint(path: str | os.PathLike):
    """(MODEL, CLIP, VAE) as the stock CheckpointLoaderSimple returns them."""
    import comfy.sd
    import torch

    with torch.inference_mode():  # as the host runs its nodes
        return comfy.sd.load_checkpoint_guess_config(str(path), output_vae=True, output_clip=True)[:3]
