"""PEFT's alpha from a file's header: newer diffusers writes no alpha tensors, but its adapter's configuration as JSON.

{"unet.r": 64, "unet.lora_alpha": 32, "unet.rank_pattern": {...}, "unet.alpha_pattern": {...}, "unet.use_rslora": false}
under the key lora_adapter_metadata, one prefix per network (unet, transformer, text_encoder, text_encoder_2), or none.
The scale is alpha / r, and alpha / sqrt(r) with rslora. Read in diffusers 0.35 loaders/lora_base.py and peft 0.17
utils/other.py (get_pattern_key).
"""

import math
import re

import torch
from torch import Tensor

from . import plain_json

KEY = "lora_adapter_metadata"
MOST = 1000  # entries; PEFT's configurations have about thirty for each network
LARGEST = 1e30  # alpha
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
        config = plain_json.parse(metadata[KEY])
    except ValueError as error:
        raise ValueError(f"its {KEY} is damaged ({error}). Get the file again.") from error
    if not isinstance(config, dict) or len(config) > MOST:
        what = type(config).__name__
        raise ValueError(f"its {KEY} is a {what}, not an object of at most {MOST} entries. Get the file again.")
    return {key: numbered(value) if key.endswith("alpha_pattern") else value for key, value in config.items()}


def numbered(patterns: object) -> dict[str, tuple[int, object]]:
    """{name: (its place, its alpha)}: of the names that are a module's, PEFT takes the first.

    PEFT takes any regular expression here; those that are no plain name are refused, because a file from anywhere
    could carry one that never ends.
    """
    if not isinstance(patterns or {}, dict):
        raise ValueError(f"its {KEY} has an alpha_pattern that is a {type(patterns).__name__}. Get the file again.")
    for name in patterns or {}:
        if not re.fullmatch(r"\^?[\w.]+\$?", name):
            raise ValueError(
                f"its {KEY} has the pattern {name[:60]!r}, which is no module's name. Load it in diffusers."
            )
    return {name: (place, alpha) for place, (name, alpha) in enumerate((patterns or {}).items())}


def alpha_of(module: str, config: dict, rank: int) -> float | None:
    """A module's alpha, so that alpha / r is PEFT's scale; None when the header does not speak of its network."""
    network = next((name for name in NETWORKS if module.startswith(f"{name}.")), "")
    prefix = f"{network}." if any(key.startswith(f"{network}.") for key in config) and network else ""
    inner = module.removeprefix(f"{network}.") if network else module
    if f"{prefix}lora_alpha" not in config:
        return None
    value = by_name(config.get(f"{prefix}alpha_pattern", {}), inner, config[f"{prefix}lora_alpha"])
    if type(value) not in (int, float) or not 0 < abs(value) < LARGEST:
        raise ValueError(f"its {KEY} says alpha {repr(value)[:40]}, which is no scale. Get the file again.")
    return value * math.sqrt(rank) if config.get(f"{prefix}use_rslora") else float(value)


def by_name(patterns: dict[str, tuple[int, object]], module: str, otherwise: object) -> object:
    """The alpha of the first name that is a module's, or the end of it after a dot; `^` pins the start."""
    parts = module.split(".")
    ends = [".".join(parts[start:]) for start in range(len(parts))]
    names = [f"{end}{stop}" for end in (*ends, f"^{module}") for stop in ("", "$")]
    return min((patterns[name] for name in names if name in patterns), default=(0, otherwise), key=lambda one: one[0])[
        1
    ]
