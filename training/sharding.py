"""Whole networks in parts over the processes that train them together: FSDP2, torch.distributed.fsdp.fully_shard.

Each process keeps its part of every weight, of its gradient and of its moments (a DTensor), and has a block's weights
whole only while it runs. Parts have the same results as wholes: the gradients are the mean over the processes.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def available() -> bool:
    """Whether this torch has FSDP2 (2.6 or newer)."""
    try:
        from torch.distributed.fsdp import fully_shard  # noqa: F401
    except ImportError:
        return False
    return True


def shard(net: nn.Module, blocks: Iterable[nn.Module], device: torch.device, count: int) -> None:
    """Part the network's weights over `count` processes; each block is made whole by itself, the rest together.

    Every process must then run the network equally often and in the same order.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (count,))
    for block in blocks:
        if any(True for _ in block.parameters()):
            fully_shard(block, mesh=mesh)
    fully_shard(net, mesh=mesh, reshard_after_forward=True)  # or the root would keep old weights of averages


def is_part(tensor: Tensor) -> bool:
    """Whether this process has a part of it alone (a DTensor, which older torch does not have)."""
    return hasattr(tensor, "full_tensor")


def own(tensor: Tensor) -> Tensor:
    """What this process has of it, as an ordinary tensor over the same memory."""
    return tensor.to_local() if is_part(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of it. Where there are parts, every process must ask."""
    return tensor.full_tensor() if is_part(tensor) else tensor


def part_of(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor that every process has, parted as `like`. A count or a table of no such shape stays whole."""
    if not is_part(like) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def longest(count: int) -> int:
    """The largest of the processes' counts."""
    counts = [0] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(counts, count)
    return max(counts)


@torch.no_grad()
def clip(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Scale the gradients to this norm at most, as torch's clip_grad_norm_ does; the norm of all parts before it."""
    parameters = list(parameters)
    shared, parts = torch.zeros(2, dtype=torch.float64, device=parameters[0].device).unbind()
    for p in parameters:
        (parts if is_part(p) else shared).add_(own(p.grad).double().square().sum())
    torch.distributed.all_reduce(parts)
    norm = (shared + parts).sqrt()
    scale = (limit / (norm + 1e-6)).clamp(max=1.0)
    for p in parameters:
        own(p.grad).mul_(scale.to(p.grad.dtype))
    return norm
