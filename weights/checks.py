"""Is what a LoRA file holds usable? The faults a reader would carry silently into the picture, each as a sentence."""

import torch
from torch import Tensor

from .keys import modules_of
from .sizes import DOWN, MID, UP, shape_of
from .threads import one_thread


def check(tensors: dict[str, Tensor]) -> None:
    """Raise ValueError for a file (keys in kohya's form) that is empty, not finite, not floating, or half there."""
    check_parts(tensors)
    with one_thread():
        for key, tensor in tensors.items():
            check_finite(key, tensor)


def check_parts(tensors: dict) -> None:
    """The same for what can be told from dtypes, shapes and alphas: the other tensors may still be unread."""
    if not tensors:
        raise ValueError("it holds no tensors. Get the file again.")
    for key, tensor in tensors.items():
        check_kind(key, tensor)
    for module, names in modules_of(tensors).items():
        check_pair(module, {name.removeprefix(f"{module}."): tensors[name] for name in names})


def check_kind(key: str, tensor) -> None:
    """Floating; alpha one finite number that is not 0 (an integer is allowed there)."""
    if key.endswith(".alpha"):
        if tensor.numel() != 1 or not finite(tensor.float()) or float(tensor) == 0:
            raise ValueError(f"{key} is {tensor.flatten()[:3].tolist()}, which is no scale. Get the file again.")
    elif not tensor.is_floating_point():
        raise ValueError(
            f"{key} is {str(tensor.dtype).removeprefix('torch.')}, not fp32, fp16, bf16 or fp8. Convert it."
        )


def check_finite(key: str, tensor: Tensor) -> None:
    """Raise ValueError for NaN and infinities; whole numbers pass."""
    if tensor.is_floating_point() and not finite(tensor):
        raise ValueError(f"{key} holds NaN or infinite numbers, which make black pictures. Get the file again.")


def finite(tensor: Tensor) -> bool:
    """No NaN and no infinity: NaN goes into both extremes. One pass; only 8-bit kinds are made larger beside it."""
    if not tensor.numel():
        return True
    # fp32, not fp16: the scales of mxfp8 (e8m0) are powers of 2 up to 2^127
    ends = torch.stack(torch.aminmax(tensor if tensor.element_size() > 1 else tensor.float()))
    return bool(ends.isfinite().all())


def check_pair(module: str, parts: dict[str, Tensor]) -> None:
    """Up and down together, of one rank above 0, and matrices or kernels; the parts of LoHa, LoKr and Tucker too."""
    for here, missing in ((UP, DOWN), (DOWN, UP)):
        if here in parts and missing not in parts:
            raise ValueError(f"{module} has {here} but no {missing}: the file is incomplete. Get it again.")
    if set(parts) == {"alpha"}:
        raise ValueError(f"{module} has an alpha but no weights: the file is incomplete. Get it again.")
    if UP in parts:
        up, down = parts[UP], parts[DOWN]
        if up.ndim < 2 or down.ndim < 2 or up.numel() == 0 or down.numel() == 0:
            raise ValueError(f"{module} has shapes {tuple(up.shape)} and {tuple(down.shape)}, which are no LoRA pair.")
        if MID not in parts and up.shape[1] != down.shape[0]:
            raise ValueError(f"{module} has rank {up.shape[1]} above and {down.shape[0]} below. Get the file again.")
    try:
        shape_of(parts)
    except ValueError as error:
        raise ValueError(f"{module} {error}") from error
