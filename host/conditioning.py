"""Prompts to the keyword tensors that the host passes to its model: `c_crossattn`, `y` (SDXL, SD3, Flux), `guidance`
(Flux), `t5xxl_ids` and `t5xxl_weights` (Anima)."""

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..training.checks import require
from ..training.prompts import different
from . import architectures
from .progress import throw_if_cancelled
from .sockets import Clip, Model


class Encoded(NamedTuple):
    """A text as the stock CLIPTextEncode gives it."""

    hidden: Tensor  # [1, tokens, width]
    pooled: Tensor | None  # [1, width]
    # What else of its CONDITIONING a family's row names: numbers, and further texts [tokens] (Anima's).
    options: dict[str, float | Tensor]

    @property
    def tensors(self) -> list[Tensor]:
        """All that it holds, the texts of its options in the order of their names."""
        found = (self.hidden, self.pooled, *(value for _, value in sorted(self.options.items())))
        return [part for part in found if isinstance(part, Tensor)]


def encode_text(clip: Clip, prompt: str) -> Encoded:
    """The prompt's text, with what a family's row names of the rest that the encoder gives."""
    tokens = clip.tokenize(prompt)
    with torch.inference_mode():  # in which the host moves its weights; see TrainingCopy
        if not hasattr(clip, "encode_from_tokens_scheduled"):  # earlier hosts have no more than text and pooled
            return Encoded(*clip.encode_from_tokens(tokens, return_pooled=True), {})
        (hidden, found), *_ = clip.encode_from_tokens_scheduled(tokens)
    texts = {name: found[name] for name in architectures.TEXTS if name in found}
    return Encoded(hidden, found["pooled_output"], texts)


def text_encoder(clip: Clip, prompts: Iterable[str], megabytes: int) -> Callable[[str], Encoded]:
    """prompt -> what encode_text gives, as many of the latest kept as fit into the megabytes.

    When all of these prompts fit (by the size of the empty one), each is encoded now and clip is not asked again, so
    that the host may free it. Otherwise it is asked whenever a batch has a prompt that is not kept.
    """
    size = sum(part.numel() * part.element_size() for part in encode_text(clip, "").tensors)
    most = megabytes * 2**20 // size
    encode = lru_cache(most + 1)(partial(encode_text, clip))
    for prompt in ["", *(different(prompts, most) or ())]:
        throw_if_cancelled()
        encode(prompt)
    return encode


def model_keywords(
    model: Model,
    text: Encoded,
    height: int,
    width: int,
    sizes: dict[str, int] | None = None,
) -> dict[str, Tensor]:
    """What `apply_model` needs for one prompt at a size in pixels, as tensors [1, ...] outside inference mode.

    sizes: SDXL's `width`, `crop_w`, `target_width` and so on where the picture is a resized or cropped one. Where the
    host would not repeat a text to a common length, because the network joins text and image, its own length and those
    of the row's further texts come along as `tokens` [1, texts]. Raises ValueError without one of these texts.
    """
    row = architectures.of(model)
    require_texts(row, text)
    # Outside inference mode, where Anima's class leaves its second text to the network, which training has on its
    # device: inside it, it would run a part of the network here.
    with torch.inference_mode(False), torch.no_grad():
        keywords = model.model.extra_conds(
            cross_attn=text.hidden.clone(),
            pooled_output=None if text.pooled is None else text.pooled.clone(),
            noise=torch.zeros(1, *architectures.latent_shape(model, height, width)),
            device=torch.device("cpu"),
            prompt_type="positive",
            **{"width": width, "height": height, **text.options, **(sizes or {})},
        )
        tensors = {n: entry.cond.detach().clone() for n, entry in keywords.items() if isinstance(entry.cond, Tensor)}
        if row.repeats_text:
            return tensors
        lengths = [tensors[name].shape[1] for name in row.texts]  # the host may have padded them
        return {**tensors, "tokens": torch.tensor([lengths])}


def require_texts(row: architectures.Architecture, text: Encoded) -> None:
    """Refuse a text without the further ones that the family's network reads."""
    lost = [name for name in row.texts[1:] if name not in text.options]
    require(
        not lost,
        f"{row.base} reads its text in two parts, and this one came without {' and '.join(lost)}: it is of another "
        f"text encoder. Connect the CLIP of {row.base}.",
    )


def encode_prompts(model: Model, clip: Clip, prompts: list[str], height: int, width: int) -> list[dict[str, Tensor]]:
    """One dict of keyword tensors per prompt."""
    return [model_keywords(model, encode_text(clip, prompt), height, width) for prompt in prompts]
