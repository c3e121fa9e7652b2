"""Random factors for every layer that a LoRA can reach."""

import torch

RANK = 4


def factors(model, rank: int = RANK) -> dict[str, tuple]:
    """{(host module, diffusers module): (up, down)} for attention, feed-forward, conv and time_emb_proj layers."""
    from fewstep.host.training import layers

    generator = torch.Generator().manual_seed(3)
    names, weights = layers.lora_names(model), model.model.diffusion_model.state_dict()
    found = {}
    for host in layers.lora_targets(model):
        shape = weights[f"{host}.weight"].shape
        up = torch.randn(shape[0], rank, *(1 for _ in shape[2:]), generator=generator) * 0.125
        found[host, names[host]] = up, torch.randn(rank, *shape[1:], generator=generator) * 0.125
    return found
