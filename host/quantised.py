"""Quantised weights as the host and its packs keep them: how many bytes, and how one becomes an ordinary tensor.

Three kinds are known: plain fp8 (weight_dtype of the stock loader; with a scale beside it on earlier hosts), the later
hosts' QuantizedTensor (fp8, int8 and smaller), and the GGML tensors of ComfyUI-GGUF, whose shape is that of what they
stand for. Each is unpacked by its own layer.
"""

from math import prod

import torch
from torch import Tensor, nn

from ..training.packed import PackedConv2d, PackedLinear, Unpack, packed

KINDS = ("float8", "int8", "uint8", "float4", "int4")


def kind_of(tensor: Tensor) -> str:
    """The dtype that it is stored in. Later hosts' tensors say the one that they are read as."""
    return str(getattr(tensor, "storage_dtype", tensor.dtype)).removeprefix("torch.")


def is_packed(tensor: Tensor | None) -> bool:
    return tensor is not None and kind_of(tensor).startswith(KINDS)


def first_of(net: nn.Module) -> tuple[str, str] | None:
    """(name, stored dtype) of the first quantised weight; None where there is none."""
    return next(((name, kind_of(p)) for name, p in net.named_parameters() if is_packed(p)), None)


def nbytes(tensor: Tensor) -> int:
    """As it is stored, without the scales inside of it. A GGML tensor's shape is not that of its data."""
    return tensor.nbytes


def is_linear(layer: nn.Module) -> bool:
    """Whether it is a Linear: later hosts' quantised ones are none of torch's."""
    sizes = getattr(layer, "in_features", None), getattr(layer, "out_features", None)
    return isinstance(layer, nn.Linear) or (all(isinstance(n, int) for n in sizes) and hasattr(layer, "weight"))


def is_layer(layer: nn.Module) -> bool:
    """Whether it is one that a LoRA can go on."""
    return is_linear(layer) or isinstance(layer, nn.Conv2d)


def stays_packed(layer: nn.Module) -> bool:
    """Whether training leaves its weight as it is stored: quantised ones, and Linears that are none of torch's."""
    if isinstance(layer, nn.Conv2d):
        return is_packed(layer.weight) and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return is_linear(layer) and (is_packed(layer.weight) or not isinstance(layer, nn.Linear))


def unpacked(layer: nn.Module, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A weight or bias of a layer as an ordinary tensor, by the layer's own arithmetic. [o, i, ...]"""
    if hasattr(layer, "get_weight"):  # ComfyUI-GGUF's, with the LoRAs that lie on it
        found = layer.get_weight(tensor, dtype)
    elif tensor is layer._parameters.get("weight") and hasattr(layer, "convert_weight"):  # the host's scaled ones
        found = layer.convert_weight(tensor.to(dtype))
    else:
        found = tensor
    return plain(found).to(dtype)


def plain(tensor: Tensor) -> Tensor:
    """Without its class: what a layer gives may still carry the pack's."""
    found = tensor.dequantize() if hasattr(tensor, "storage_dtype") else tensor
    return found.as_subclass(Tensor) if type(found) is not Tensor else found


def shared(parameter: nn.Parameter) -> nn.Parameter:
    """Another parameter over the same memory: when the host moves its own away, this one stays where it is."""
    if hasattr(parameter, "storage_dtype"):
        return nn.Parameter(parameter.detach(), requires_grad=False)
    twin = parameter.data
    vars(twin).update(vars(parameter))  # a GGML tensor's kind, shape and LoRAs
    return twin if isinstance(twin, nn.Parameter) else nn.Parameter(twin, requires_grad=False)


def as_packed(layer: nn.Module, dtype: torch.dtype) -> PackedLinear | PackedConv2d:
    """A layer for training in this layer's place. dtype: of its bias."""
    bias = None if layer.bias is None else unpacked(layer, layer.bias, dtype).clone()
    made = packed(layer, layer.weight, bias, unpacker(layer))
    smoothing = getattr(layer, "pre_quant_scale", None)
    if smoothing is not None:  # of the inputs, which its weight was made for
        made.register_forward_pre_hook(lambda _, inputs: (inputs[0] * smoothing.to(inputs[0]),))
    return made


def copied(net: nn.Module, size: int) -> tuple[int, int, int]:
    """Bytes of (a training copy of a network, what of them it shares with the network, its largest weight unpacked).

    size: bytes of a number in the run's precision. An unpacked weight is there twice while it is scaled.
    """
    parts = list(net.modules())
    packed = [part.weight for part in parts if stays_packed(part)]
    shared_bytes, known = sum(map(nbytes, packed)), {id(weight) for weight in packed}
    others = sum(prod(p.shape) for p in net.parameters() if id(p) not in known)
    return shared_bytes + others * size, shared_bytes, 2 * size * max((prod(w.shape) for w in packed), default=0)


def unpacker(layer: nn.Module) -> Unpack:
    @torch.no_grad()
    def unpack(dtype: torch.dtype) -> Tensor:
        return unpacked(layer, layer.weight, dtype)

    return unpack


def replace(net: nn.Module, dtype: torch.dtype) -> None:
    """Every layer that stays packed by one for training, in place."""
    for part in list(net.modules()):
        for name, layer in list(part.named_children()):
            if stays_packed(layer):
                setattr(part, name, as_packed(layer, dtype))
