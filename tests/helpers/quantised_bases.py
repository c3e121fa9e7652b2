"""The tiny base with quantised weights: as the host's own files have them, by its options, and as GGUF packs them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

TINY = Path(__file__).resolve().parents[2] / "assets" / "checkpoints" / "fewstep-tiny-sd.safetensors"
NET = "model.diffusion_model."
FP8 = torch.float8_e4m3fn


def scaled_fp8(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices as weight / scale in fp8, the scale beside each, and the mark."""
    made = {f"{NET}scaled_fp8": torch.zeros(2, dtype=FP8)}
    for name, tensor in tensors.items():
        if is_matrix(name, tensor):
            scale = tensor.abs().max().float() / 448
            made |= {name: (tensor.float() / scale).to(FP8), f"{stem(name)}scale_weight": scale}
        else:
            made[name] = tensor
    return made


def int8(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices as round(weight / scale) in int8, and what they are as JSON beside each."""
    said = torch.tensor(list(json.dumps({"format": "int8_tensorwise"}).encode()), dtype=torch.uint8)
    made = {}
    for name, tensor in tensors.items():
        if is_matrix(name, tensor):
            scale = tensor.abs().max().float() / 127
            made |= {name: (tensor.float() / scale).round().to(torch.int8)}
            made |= {f"{stem(name)}weight_scale": scale, f"{stem(name)}comfy_quant": said.clone()}
        else:
            made[name] = tensor
    return made


def is_matrix(name: str, tensor: Tensor) -> bool:
    return name.startswith(NET) and name.endswith(".weight") and tensor.ndim == 2


def stem(name: str) -> str:
    return name.removesuffix("weight")


def write(kind, path: Path) -> Path:
    """The tiny base's file, quantised by kind (scaled_fp8 or int8)."""
    save_file(kind(load_file(TINY)), path)
    return path


def in_fp8() -> tuple:
    """(MODEL, CLIP, VAE) with every weight of the network in fp8, as --fp8_e4m3fn-unet loads it."""
    from comfy import model_management
    from fewstep.host import headless

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_management, "unet_dtype", lambda *_, **__: FP8)
        return headless.load_checkpoint(TINY)


class PackedTensor(torch.Tensor):
    """As ComfyUI-GGUF's tensors: bytes, under the shape of what they stand for."""

    @property
    def shape(self) -> torch.Size:
        return getattr(self, "tensor_shape", None) or self.size()

    def detach(self) -> Tensor:
        return self

    def clone(self, *_, **__) -> Tensor:
        return self

    @staticmethod
    def of(weight: Tensor) -> nn.Parameter:
        """Rows of int8 with the scale of each as four more bytes."""
        rows = weight.detach().float().flatten(1)
        scale = (rows.abs().amax(1, keepdim=True) / 127).clamp(min=1e-12)
        data = torch.cat([(rows / scale).round().to(torch.int8).view(torch.uint8), scale.view(torch.uint8)], 1)
        packed = nn.Parameter(data.as_subclass(PackedTensor), requires_grad=False)
        packed.tensor_shape = torch.Size(weight.shape)
        return packed


def packed_linear(linear: type) -> type:
    """A class of the host's Linear in ComfyUI-GGUF's protocol: get_weight unpacks, the forward pass calls it."""

    class GGMLLinear(linear):
        def get_weight(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
            if not isinstance(tensor, PackedTensor):
                return tensor.to(dtype)
            data = tensor.as_subclass(torch.Tensor)
            scale = data[:, -4:].contiguous().view(torch.float32)
            return (data[:, :-4].contiguous().view(torch.int8) * scale).to(dtype).view(tensor.shape)

        def forward(self, x: Tensor) -> Tensor:
            bias = None if self.bias is None else self.bias.to(x.dtype)
            return nn.functional.linear(x, self.get_weight(self.weight, x.dtype), bias)

    return GGMLLinear


def in_gguf() -> tuple:
    """(MODEL, CLIP, VAE) whose Linears are such layers."""
    from comfy import ops
    from fewstep.host import headless

    loaded, kind = headless.load_checkpoint(TINY), packed_linear(ops.manual_cast.Linear)
    with torch.inference_mode():
        for part in loaded[0].model.diffusion_model.modules():
            if isinstance(part, nn.Linear):
                part.__class__, part.weight = kind, PackedTensor.of(part.weight)
    return loaded
