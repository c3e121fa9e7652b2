"""A layer with a LoRA by one product instead of three: (W + s B A) x, where that is less work than W x + s B (A x).

With n positions (tokens or pixels), i inputs (times the kernel's area), o outputs and rank r, in multiplications beside
those of W x, a backward pass counted as two more of the same:

|               | without gradient | with it           | kept for the backward pass |
| W x + s B A x | n r (i + o)      | 3 n r (i + o)     | n r                        |
| (W + s B A) x | r i o            | 3 r i o + n i o   | i o                        |

Few positions on wide layers favour the first form (SDXL's inner blocks), many the second. The results differ by
rounding, in fp32 by some 1e-6. In half precision s B A would be lost in W's rounding: there it is always the first, as
where W is quantised (packed.py), which autograd would keep unpacked.
"""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .packed import Packed

EXACT = (torch.float32, torch.float64)


def one_product(layer: nn.Module, x: Tensor, rank: int) -> bool:
    """Whether the merged weight is less work for this input, and keeps no more memory for the backward pass."""
    weight = layer.weight
    plain = isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)
    if isinstance(layer, Packed) or not plain or weight.dtype not in EXACT or x.dtype != weight.dtype:
        return False
    o, i = weight.shape[0], prod(weight.shape[1:])
    n = x.numel() // weight.shape[1] // prod(getattr(layer, "stride", (1,)))
    if not torch.is_grad_enabled():
        return i * o < n * (i + o)
    return i * o <= n * rank and 3 * rank * i * o + n * i * o < 3 * n * rank * (i + o)


def merged(weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """W + scale up down. weight [o, i, ...], down [r, i, ...], up [o, r] or [o, r, 1, 1]."""
    return weight + scale * (up.flatten(1) @ down.flatten(1)).view_as(weight)


def apply(layer: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    """The Linear or Conv2d layer with another weight."""
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, layer.bias)
    return layer._conv_forward(x, weight, layer.bias)


def cheapest(layer: nn.Module, beside: Callable, x: Tensor, *args, **named) -> Tensor:
    """What a peft layer returns for x; beside: its own forward, W x + s B (A x) by the adapter that is switched on."""
    if layer.disable_adapters or len(layer.active_adapters) != 1:
        return beside(x, *args, **named)
    role, base = layer.active_adapters[0], layer.base_layer
    if role not in layer.lora_A or not one_product(base, x, layer.r[role]):
        return beside(x, *args, **named)
    down, up = layer.lora_A[role].weight, layer.lora_B[role].weight
    return apply(base, x, merged(base.weight, down, up, layer.scaling[role]))
