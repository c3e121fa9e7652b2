"""Latents on disk: made once, a file for every few hundred, and read one by one while training."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ...training.checks import require
from ...training.data import Lazy
from ...training.state import RunFolder
from ...weights import io, sealed
from ..progress import throw_if_cancelled

CHUNK = 256  # latents in one file


def kept(folder: Path, key: str, count: int, make: Callable[[range], list[Tensor]]) -> Lazy:
    """Latents [c, h, w] by index, from the files of an earlier run with this key where they are, made where not.

    make(indices) -> their latents. A cancelled run makes no finished file twice, and a damaged one is made again.
    """
    files = [folder / f"latents-{key}-{start}.safetensors" for start in range(0, count, CHUNK)]
    for number, file in enumerate(files):
        throw_if_cancelled()
        if not is_sound(file):
            latents = make(range(number * CHUNK, min((number + 1) * CHUNK, count)))
            require(
                all(bool(torch.isfinite(latent).all()) for latent in latents),
                "FewStepDistill: the latents hold NaN or infinity. Try fp32, a lower teacher_cfg or another VAE.",
            )
            sealed.save({str(i): latent for i, latent in enumerate(latents)}, file, {"latents": file.stem})
    return Lazy(count, lambda index: io.load_tensor(files[index // CHUNK], str(index % CHUNK)))


def is_sound(file: Path) -> bool:
    """Whether an earlier run's latents can be used; damaged ones are noted."""
    if not file.exists():
        return False
    try:
        if sealed.load(file)[1].get("latents") == file.stem:
            return True
        problem = f"{file.name} holds other latents"
    except sealed.Damaged as error:
        problem = str(error)
    RunFolder(file.parent).note(f"{problem}: these latents are made again.")
    return False
