"""A ComfyUI inside this process, without its server: for tests, benchmarks and training scripts.

`start()` makes `import comfy` work, either from the installed PyPI host or from an upstream checkout.
"""

import os
import sys
import tempfile
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


def load_checkpoint(path: str | os.PathLike):
    """(MODEL, CLIP, VAE) as the stock CheckpointLoaderSimple returns them."""
    import comfy.sd
    import torch

    with torch.inference_mode():  # as the host runs its nodes
        return comfy.sd.load_checkpoint_guess_config(str(path), output_vae=True, output_clip=True)[:3]
