"""Prompts to the keyword tensors that the host passes to its model (`c_crossattn`, and `y` for SDXL)."""

import torch
from torch import Tensor


def encode_text(clip, prompt: str) -> tuple[Tensor, Tensor | None]:
    """(hidden states [1, tokens, width], pooled [1, width] or None), as the stock CLIPTextEncode gives them."""
    with torch.no_grad():
        return clip.encode_from_tokens(clip.tokenize(prompt), return_pooled=True)


def model_keywords(model, hidden: Tensor, pooled: Tensor | None, height: int, width: int) -> dict[str, Tensor]:
    """What `apply_model` needs for one prompt at a size in pixels, as tensors [1, ...] outside inference mode."""
    latent = torch.zeros(1, model.model.latent_format.latent_channels, height // 8, width // 8)
    with torch.no_grad():
        found = model.model.extra_conds(
            cross_attn=hidden,
            pooled_output=pooled,
            noise=latent,
            width=width,
            height=height,
            device=torch.device("cpu"),
            prompt_type="positive",
        )
    with torch.inference_mode(False):
        return {name: entry.cond.detach().clone() for name, entry in found.items() if isinstance(entry.cond, Tensor)}


def encode_prompts(model, clip, prompts: list[str], height: int, width: int) -> list[dict[str, Tensor]]:
    """One dict of keyword tensors per prompt."""
    return [model_keywords(model, *encode_text(clip, prompt), height, width) for prompt in prompts]
