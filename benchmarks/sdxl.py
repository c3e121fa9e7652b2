"""SDXL's U-Net by its layout: the host's own class without weights, and LoRA files of the right names and shapes."""

import torch
from torch import nn

CONFIG = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320, "num_res_blocks": [2, 2, 2],
    "channel_mult": [1, 2, 4], "transformer_depth": [0, 0, 2, 2, 10, 10], "transformer_depth_middle": 10,
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10], "use_spatial_transformer": True, "legacy": False,
    "use_linear_in_transformer": True, "context_dim": 2048, "num_head_channels": 64, "num_heads": -1,
    "num_classes": "sequential", "adm_in_channels": 2816, "use_temporal_attention": False,
}  # fmt: skip


def model(dtype: torch.dtype, device: str = "meta"):
    """A MODEL of SDXL's size. On "meta" it has no numbers; on "cpu" zeros that take no memory until used."""
    import comfy.supported_models as supported
    from comfy.model_patcher import ModelPatcher

    config = supported.SDXL({**CONFIG, "dtype": dtype})
    with torch.inference_mode():
        made = config.get_model({}, "", device="meta")
        if device != "meta":
            fill(made.diffusion_model, dtype)
    return ModelPatcher(made, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))


def fill(net: nn.Module, dtype: torch.dtype) -> None:
    """Zeros that the system hands out page by page, when somebody writes to them."""
    for module in net.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(torch.zeros(parameter.shape, dtype=dtype), requires_grad=False)


def lora(rank: int, dtype: torch.dtype, seed: int) -> dict[str, torch.Tensor]:
    """A random LoRA for every layer that few-step LoRAs of SDXL adapt, in kohya's names, alpha half the rank."""
    from fewstep.host.training import layers

    base = model(torch.float16)
    names, shapes = (
        layers.lora_names(base),
        {k: p.shape for k, p in base.model.diffusion_model.named_parameters()},
    )
    generator, file = torch.Generator().manual_seed(seed), {}
    for host in layers.lora_targets(base):
        name, (out, *inside) = "lora_unet_" + names[host].replace(".", "_"), shapes[f"{host}.weight"]
        down = torch.randn((rank, *inside), generator=generator) * 0.02
        up = torch.randn((out, rank, *(1 for _ in inside[1:])), generator=generator) * 0.02
        file[f"{name}.lora_down.weight"], file[f"{name}.lora_up.weight"] = down.to(dtype), up.to(dtype)
        file[f"{name}.alpha"] = torch.tensor(rank / 2)
    return file
