"""Frozen layers whose weight stays packed (fp8, int8, GGUF's blocks) and is unpacked for one product at a time.

y = W x + b forward, dL/dx = W^T dL/dy backward: neither needs more than W. So nothing is kept between the two but the
packed weight, which is unpacked again on the way back; autograd by itself would keep W of every layer, the whole model
in the precision of the run.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Unpack = Callable[[torch.dtype], Tensor]  # dtype -> W in it, [o, i, ...], an ordinary tensor


class Product(torch.autograd.Function):
    """W x + b of a packed layer, with a gradient for x alone."""

    @staticmethod
    def forward(ctx, x: Tensor, layer: "PackedLinear | PackedConv2d") -> Tensor:
        ctx.layer, ctx.shape = layer, x.shape
        return layer.product(x, layer.unpack(precision_of(x)))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.adjoint(gradient, ctx.layer.unpack(gradient.dtype), ctx.shape), None


def precision_of(x: Tensor) -> torch.dtype:
    """What the product runs in: autocast's dtype where that is on, else the input's."""
    kind = x.device.type
    on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)  # not on tensors without memory
    return torch.get_autocast_dtype(kind) if on else x.dtype


class Packed:
    """What both kinds share. weight: as it is stored. One without `unpack` is an ordinary layer: peft makes a LoRA's
    convolutions of the class of the layer that it is for."""

    compute_dtype = torch.float32  # peft reads it: adapters in the dtype of the weight would be fp8 themselves
    unpack: Unpack | None = None

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.unpack is None else Product.apply(x, self)

    def bias_for(self, weight: Tensor) -> Tensor | None:
        return None if self.bias is None else self.bias.to(weight.dtype)


class PackedLinear(Packed, nn.Linear):
    """A Linear over a packed weight."""

    def forward(self, x: Tensor) -> Tensor:
        """By rows [n, i]: on more axes torch's product is a view, which no host may then add to in place."""
        if x.ndim == 2:
            return super().forward(x)
        return super().forward(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], self.out_features)

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x.to(weight.dtype), weight, self.bias_for(weight))

    def adjoint(self, gradient: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        return gradient @ weight


class PackedConv2d(Packed, nn.Conv2d):
    """A Conv2d, padded by zeros, over a packed weight."""

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        return self._conv_forward(x.to(weight.dtype), weight, self.bias_for(weight))

    def adjoint(self, gradient: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        return nn.grad.conv2d_input(shape, weight, gradient, self.stride, self.padding, self.dilation, self.groups)


def packed(layer: nn.Module, weight: nn.Parameter, bias: Tensor | None, unpack: Unpack) -> PackedLinear | PackedConv2d:
    """One for the place of a layer. weight: as stored; bias: an ordinary tensor; unpack: dtype -> W."""
    if isinstance(layer, nn.Conv2d):
        sizes = {name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation", "groups")}
        made = PackedConv2d(layer.in_channels, layer.out_channels, device="meta", **sizes)
    else:
        made = PackedLinear(layer.in_features, layer.out_features, device="meta")
    made.weight, made.unpack = weight, unpack
    made.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
    return made
