"""Noise on the positive conditioning of a MODEL, as a patch that works under any sampling node."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..samplers.condition_noise import noised, weight_at
from ..samplers.schedule import TRAIN_TIMESTEPS, timestep_of

TEXT, POSITIVE = "c_crossattn", 0  # the host's name for the text, its mark for the positive conditioning
WRAPPER = "model_function_wrapper"


def apply(model, amount: float, fade: float, seed: int):
    """The MODEL's clone whose positive text is noised at each pass by how much noise the latent still has."""
    patched = model.clone()
    model_sampling = model.get_model_object("model_sampling")
    inner = model.model_options.get(WRAPPER, plainly)

    def wrapper(apply_model: Callable, given: dict):
        time = (timestep_of(model_sampling, given["timestep"][:1].max().cpu()) + 1) / TRAIN_TIMESTEPS
        weight = weight_at(time, amount, fade)
        if weight > 0 and TEXT in given["c"]:
            given = {**given, "c": {**given["c"], TEXT: text_of(given, weight, seed)}}
        return inner(apply_model, given)

    patched.set_model_unet_function_wrapper(wrapper)
    return patched


def plainly(apply_model: Callable, given: dict):
    return apply_model(given["input"], given["timestep"], **given["c"])


def text_of(given: dict, weight: float, seed: int) -> Tensor:
    """The text of a pass with noise on the positive rows: [chunks b, tokens, width], a chunk a conditioning."""
    chunks = given["c"][TEXT].chunk(len(given["cond_or_uncond"]))
    marked = zip(chunks, given["cond_or_uncond"])
    return torch.cat(
        [noised(text, weight, seed, list(range(len(text)))) if mark == POSITIVE else text for text, mark in marked]
    )
