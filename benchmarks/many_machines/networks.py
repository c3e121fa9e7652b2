"""What a pass of SD1.5, SDXL and Flux costs, and how large their LoRAs are: counted on networks without memory."""

from dataclasses import dataclass

import torch
from fewstep.benchmarks.networks import SD15
from fewstep.benchmarks.sdxl import CONFIG as SDXL
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

META = torch.device("meta")
FLUX = {
    **{"image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": 768, "context_in_dim": 4096},
    **{"hidden_size": 3072, "mlp_ratio": 4.0, "num_heads": 24, "depth": 19, "depth_single_blocks": 38},
    **{"axes_dim": [16, 56, 56], "theta": 10000, "patch_size": 2, "qkv_bias": True, "guidance_embed": True},
    **{"txt_ids_dims": []},
}


@dataclass(frozen=True)
class Size:
    """latent: [c, h, w]; text: [tokens, width]; pooled: its width, 0 for none."""

    config: dict
    host_class: str
    latent: tuple[int, int, int]
    text: tuple[int, int]
    pooled: int


SIZES = {
    "SD1.5, 512": Size(SD15, "SD15", (4, 64, 64), (77, 768), 0),
    "SDXL, 1024": Size(SDXL, "SDXL", (4, 128, 128), (77, 2048), 2816),
    "Flux, 1024": Size(FLUX, "Flux", (16, 128, 128), (512, 4096), 768),
}


@dataclass(frozen=True)
class Cost:
    """flops: of one forward pass at batch 1; weights, lora: numbers in the network and in its LoRA of rank 64."""

    flops: float
    weights: int
    lora: int


def cost(size: Size, rank: int = 64) -> Cost:
    import comfy.supported_models as supported
    from comfy.model_patcher import ModelPatcher
    from fewstep.host import kernels
    from fewstep.host.training import layers

    config = getattr(supported, size.host_class)({**size.config, "dtype": torch.float32})
    model = ModelPatcher(config.get_model({}, "", device=META), META, META)
    net = model.model.diffusion_model.to(META)
    modules = dict(net.named_modules())
    shapes = [modules[name].weight.shape for name in layers.lora_targets(model)]
    lora = sum(rank * (shape[1:].numel() + shape[0]) for shape in shapes)
    inputs = {"context": torch.empty(1, *size.text, device=META)}
    if size.pooled:
        inputs["y"] = torch.empty(1, size.pooled, device=META)
    if size.config.get("guidance_embed"):
        inputs["guidance"] = torch.empty(1, device=META)
    y, t = torch.empty(1, *size.latent, device=META), torch.empty(1, device=META)
    with torch.no_grad(), kernels.differentiable(attention), FlopCounterMode(display=False) as counter:
        net(y, t, **inputs)
    return Cost(counter.get_total_flops(), sum(p.numel() for p in net.parameters()), lora)


def attention(q, k, v, heads, *_, skip_reshape=False, **__) -> Tensor:
    """In the host's signature, as two products that are counted: [b, n, h d], or [b, h, n, d] with skip_reshape."""
    if not skip_reshape:
        q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    return (q @ k.transpose(-1, -2) @ v).transpose(1, 2).flatten(2)
