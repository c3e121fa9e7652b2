"""PEFT's alpha from a file's header: newer diffusers writes no alpha tensors, but its adapter's configuration as JSON.

{"unet.r": 64, "unet.lora_alpha": 32, "unet.rank_pattern": {...}, "unet.alpha_pattern": {...}, "unet.use_rslora": false}
under the key lora_adapter_metadata, one prefix per network (unet, transformer, text_encoder, text_encoder_2), or none.
The scale is alpha / r, and alpha / sqrt(r) with rslora. Read in diffusers 0.35 loaders/lora_base.py and peft 0.17
utils/other.py (get_pattern_key).
"""

import json
import math
import re

import torch
from torch import Tensor

KEY = "lora_adapter_metadata"
NETWORKS = ("text_encoder_3", "text_encoder_2", "text_encoder", "transformer", "unet")


def with_alphas(tensors: dict[str, Tensor], metadata: dict[str, str]) -> dict[str, Tensor]:
    """The file with an alpha per module that has none, from its header; keys as in the file. Unchanged without one.

    Raises ValueError when the header is damaged.
    """
    config = read(metadata)
    if not config:
        return tensors
    added = {}
    for key, down in tensors.items():
        module = re.fullmatch(r"(.+?)\.(?:lora_A|lora\.down|lora_down)(?:\.(?!weight)\w+)?\.weight", key)
        if module and f"{module[1]}.alpha" not in tensors and down.ndim > 1:
            alpha = alpha_of(module[1], config, down.shape[0])
            added |= {} if alpha is None else {f"{module[1]}.alpha": torch.tensor(alpha)}
    return {**tensors, **added}


def read(metadata: dict[str, str]) -> dict:
    if KEY not in metadata:
        return {}
    try:
        config = json.loads(metadata[KEY])
    except json.JSONDecodeError as error:
        raise ValueError(f"its {KEY} is damaged ({error}). Get the file again.") from error
    if not isinstance(config, dict):
        raise ValueError(f"its {KEY} is a {type(config).__name__}, not an object. Get the file again.")
    return config


def alpha_of(module: str, config: dict, rank: int) -> float | None:
    """A module's alpha, so that alpha / r is PEFT's scale; None when the header does not speak of its network."""
    network = next((name for name in NETWORKS if module.startswith(f"{name}.")), "")
    prefix = f"{network}." if any(key.startswith(f"{network}.") for key in config) and network else ""
    inner = module.removeprefix(f"{network}.") if network else module
    if f"{prefix}lora_alpha" not in config:
        return None
    value = by_name(config.get(f"{prefix}alpha_pattern") or {}, inner, config[f"{prefix}lora_alpha"])
    if not isinstance(value, int | float) or not math.isfinite(value) or value == 0:
        raise ValueError(f"its {KEY} says alpha {value!r}, which is no scale. Get the file again.")
    return value * math.sqrt(rank) if config.get(f"{prefix}use_rslora") else float(value)


def by_name(patterns: dict, module: str, otherwise: float) -> float:
    """The value of the first name that is a module's, or the end of it after a dot; `^` pins the start.

    PEFT takes any regular expression here; those that are no plain name are refused, because a file from anywhere
    could carry one that never ends.
    """
    for pattern, value in patterns.items():
        name = pattern.removesuffix("$")
        if not re.fullmatch(r"\^?[\w.]+", name):
            raise ValueError(f"its {KEY} has the pattern {pattern!r}, which is no module's name. Load it in diffusers.")
        pinned = name.startswith("^")
        if module == name.removeprefix("^") or (not pinned and module.endswith(f".{name}")):
            return value
    return otherwise
