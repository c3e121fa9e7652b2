"""Inpainting: what the mask keeps must come out of a step as it went in."""

from torch import Tensor


def keep(x: Tensor, x0: Tensor, extra_args: dict) -> Tensor:
    """x where the host's inpainting mask is 1, x0 where it is 0: there x0 is the image itself, and x is not."""
    mask = extra_args.get("denoise_mask")
    return x if mask is None else x0 + mask * (x - x0)
