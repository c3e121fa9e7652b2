"""AdamW, and AdamW with its two moments in 8 bits where bitsandbytes is installed: 2 bytes a weight instead of 8."""

from collections.abc import Iterable

import torch
from torch import nn

from . import sharding


def make(
    name: str, parameters: Iterable[nn.Parameter], rate: float, betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Optimizer:
    """name: "adamw" or "adamw8bit" (Dettmers et al. 2021, block-wise). ValueError where the 8-bit one cannot be had."""
    parameters = list(parameters)
    # Parts and wholes are updated in groups of their own: torch's joint update takes no mixture.
    groups = [[p for p in parameters if sharding.is_part(p) == parted] for parted in (True, False)]
    if name == "adamw":
        groups = [{"params": some} for some in groups if some]
        return torch.optim.AdamW(groups, lr=rate, betas=betas, weight_decay=0.0)
    optimizer = eight_bit()(parameters, lr=rate, betas=betas, weight_decay=0.0)
    try_out(optimizer, parameters[0].device)
    return optimizer


def eight_bit() -> type[torch.optim.Optimizer]:
    """bitsandbytes' class. ValueError, with a remedy, when the package is absent or does not load here."""
    try:
        from bitsandbytes.optim import AdamW8bit
    except (ImportError, OSError, RuntimeError) as error:
        raise ValueError(
            f"adamw8bit needs the package bitsandbytes, which is not usable here ({error}). Install it into the host's "
            "Python (pip install bitsandbytes), or take adamw."
        ) from error
    return AdamW8bit


def try_out(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """One step on a weight of its own: whether the package has a kernel for this device shows only then."""
    probe = nn.Parameter(torch.zeros(64, 64, device=device))
    probe.grad = torch.zeros_like(probe)
    try:
        type(optimizer)([probe], lr=1e-3).step()
    except (RuntimeError, NotImplementedError, AttributeError, ValueError) as error:
        raise ValueError(
            f"adamw8bit does not run on {device} with the installed bitsandbytes ({error}). Take adamw."
        ) from error


def check(name: str) -> None:
    """Refuse the 8-bit optimizer before anything is drawn or copied when its package is missing."""
    if name == "adamw8bit":
        eight_bit()
