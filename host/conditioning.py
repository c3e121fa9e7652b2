"""Prompts to the keyword tensors that the host passes to its model: `c_crossattn`, `y` (SDXL, SD3, Flux), `guidance`
(Flux)."""

from collections.abc import Callable, Iterable
from functools import lru_cache, partial

import torch
from torch import Tensor

from ..training.prompts import different
from . import architectures
from .progress import throw_if_cancelled
from .sockets import Clip, Model

Encoded = tuple[Tensor, Tensor | None]  # hidden states [1, tokens, width], pooled [1, width]


def encode_text(clip: Clip, prompt: str) -> Encoded:
    """(hidden states [1, tokens, width], pooled [1, width] or None), as the stock CLIPTextEncode gives them."""
    with torch.inference_mode():  # in which the host moves its weights; see TrainingCopy
        return clip.encode_from_tokens(clip.tokenize(prompt), return_pooled=True)


def text_encoder(clip: Clip, prompts: Iterable[str], megabytes: int) -> Callable[[str], Encoded]:
    """prompt -> what encode_text gives, as many of the latest kept as fit into the megabytes.

    When all of these prompts fit (by the size of the empty one), each is encoded now and clip is not asked again, so
    that the host may free it. Otherwise it is asked whenever a batch has a prompt that is not kept.
    """
    size = sum(part.numel() * part.element_size() for part in encode_text(clip, "") if part is not None)
    most = megabytes * 2**20 // size
    encode = lru_cache(most + 1)(partial(encode_text, clip))
    for prompt in ["", *(different(prompts, most) or ())]:
        throw_if_cancelled()
        encode(prompt)
    return encode


def model_keywords(
    model: Model,
    hidden: Tensor,
    pooled: Tensor | None,
    height: int,
    width: int,
    options: dict[str, float] | None = None,
) -> dict[str, Tensor]:
    """What `apply_model` needs for one prompt at a size in pixels, as tensors [1, ...] outside inference mode.

    options: SDXL's `width`, `crop_w`, `target_width` and so on where the picture is a resized or cropped one; Flux's
    `guidance`. Where the host would not repeat a text to a common length, because the network joins text and image,
    its own length comes along as `tokens`.
    """
    latent = torch.zeros(1, *architectures.latent_shape(model, height, width))
    with torch.no_grad():
        keywords = model.model.extra_conds(
            cross_attn=hidden,
            pooled_output=pooled,
            noise=latent,
            device=torch.device("cpu"),
            prompt_type="positive",
            **{"width": width, "height": height, **(options or {})},
        )
    with torch.inference_mode(False):
        tensors = {n: entry.cond.detach().clone() for n, entry in keywords.items() if isinstance(entry.cond, Tensor)}
        if architectures.of(model).repeats_text:
            return tensors
        return {**tensors, "tokens": torch.tensor([tensors["c_crossattn"].shape[1]])}  # the host may have padded it


def encode_prompts(model: Model, clip: Clip, prompts: list[str], height: int, width: int) -> list[dict[str, Tensor]]:
    """One dict of keyword tensors per prompt."""
    return [model_keywords(model, *encode_text(clip, prompt), height, width) for prompt in prompts]
