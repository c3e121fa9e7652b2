"""One base with a LoRA per role, and a network per role, of the host's U-Net with random weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

# The host's U-Net: SD1.5's form. "half" has half of its width, so that three copies with moments fit into 24 GB.
SIZES = {
    "tiny": {"model_channels": 64, "channel_mult": [1, 2], "num_res_blocks": [1, 1], "context_dim": 64, "side": 12},
    "half": {"model_channels": 160, "channel_mult": [1, 2, 4, 4], "num_res_blocks": [2] * 4, "context_dim": 768},
    "sd15": {"model_channels": 320, "channel_mult": [1, 2, 4, 4], "num_res_blocks": [2] * 4, "context_dim": 768},
}


def unet(size: str) -> nn.Module:
    """[b, 4, h, w] -> eps, its parameters ordinary tensors in fp32."""
    from comfy import ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from fewstep.host import model_copy

    config = {key: value for key, value in SIZES[size].items() if key != "side"}
    levels = len(config["channel_mult"])
    deep = [1] * (levels - 1) + [0] if levels > 2 else [1] * levels
    down = [d for d in deep for _ in range(config["num_res_blocks"][0])]
    up = [d for d in deep for _ in range(config["num_res_blocks"][0] + 1)]
    net = UNetModel(
        image_size=32,
        in_channels=4,
        out_channels=4,
        num_heads=8,
        use_spatial_transformer=True,
        legacy=False,
        transformer_depth=down,
        transformer_depth_output=up,
        transformer_depth_middle=1,
        dtype=torch.float32,
        operations=ops.disable_weight_init,
        **config,
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            nn.init.normal_(parameter, std=0.02)
    return model_copy.to_trainable(net, torch.float32)


class Denoiser(nn.Module):
    """denoise(y, sigma, cond) -> x0 = y - sigma eps(y / sqrt(1 + sigma^2), t)."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, y: Tensor, sigma: Tensor, cond: dict) -> Tensor:
        s = sigma.view(-1, 1, 1, 1)
        t = (sigma.clamp(min=1e-3).log() * 100 + 500).clamp(0, 999)  # only its size matters here
        return y - s * self.net(y / (1 + s**2).sqrt(), t, context=cond["text"])


def on_one_base(size: str, roles: tuple[str, ...], rank: int):
    """LoraRoles over all layers that the pack adapts."""
    from fewstep.training.roles import LoraRoles, equal_adapters

    net = unet(size)
    outside = ("input_blocks.0.", "out.", "time_embed.")
    targets = [n for n, m in net.named_modules() if isinstance(m, nn.Linear | nn.Conv2d) and not n.startswith(outside)]
    return LoraRoles(net, Denoiser(net), equal_adapters(targets, rank, rank, roles)), [net]


def separate(size: str, roles: tuple[str, ...], rank: int):
    """A frozen teacher, and a whole network for every other role, as DMD2 has them. rank: not used."""
    from fewstep.training.roles import ModuleRoles

    nets = {role: Denoiser(unet(size)).requires_grad_(role in ("student", "critic")) for role in ("teacher", *roles)}
    return ModuleRoles(nets), list(nets.values())


LAYOUTS: dict[str, Callable] = {"one base + LoRAs": on_one_base, "separate networks": separate}
