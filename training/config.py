"""What a run needs to know, checked before anything is allocated, and kept in its folder as config.json."""

import json
from dataclasses import asdict, dataclass
from math import cos, pi
from typing import Literal

from .checks import check_fields, require

# "steps" is where to stop and where the cosine ends; the others change how a step is run, not which steps there are.
MAY_CHANGE_ON_RESUME = ("steps", "learning_rate", "precision", "save_every", "keep_last", "preview_every")
MAY_CHANGE_ON_RESUME += ("gradient_checkpointing", "keep", "lora_over")
# What a method is told to change when its run is dead (watch.py), at any depth of its options. A weight that is 0 stays
# 0 and one that is not stays so: otherwise there would be other networks, or other data.
RESCUES = ("student_every", "rate", "adversarial", "discriminator_weight")
STARTS = ("start", "start_model")  # settings that a run without them does not name
# What is kept as a hash, in words.
SAID = {"base": "another model, or other LoRAs on it", "data": "other prompts, pictures or sizes"}
SAID |= {"vae": "another VAE", "start_model": "another one"}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of the loop; those of a method live with the method."""

    steps: int = 1000  # optimizer steps
    batch_size: int = 12  # samples per micro-batch
    accumulate: int = 1  # micro-batches per optimizer step
    learning_rate: float = 0.0  # of the student, AdamW; 0: the method's own
    warmup: int = 0  # steps of linear warm-up
    decay: Literal["constant", "cosine"] = "constant"  # or to zero at `steps`
    clip: float = 1.0  # gradient norm
    rank: int = 0  # of the student's LoRA; 0: the method's own
    alpha: float = 0.0  # of the student's LoRA; 0: the method's own. The delta is alpha / rank * B A
    ema_decay: float = 0.0  # 0: the student itself is kept; else its moving average
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"  # of the forward pass; LoRA weights and losses stay fp32
    gradient_checkpointing: bool = False
    seed: int = 0
    save_every: int = 500
    keep_last: int = 2
    preview_every: int = 100
    optimizer: Literal["adamw", "adamw8bit"] = "adamw"  # 8 bit: with bitsandbytes
    layers: str = ""  # which layers get the student's LoRA: see host/training/layers.py; "": the method's own
    # Over the plain base the product holds the LoRAs on the wired MODEL too.
    lora_over: Literal["patched model", "plain base", "plain base by SVD"] = "patched model"
    keep: Literal["last", "best"] = "last"  # what becomes the product; best by the held-out trajectory error
    # LoRAs on one base; the student's every weight; the critic's too.
    train: Literal["lora", "full", "full and critic"] = "lora"

    def __post_init__(self):
        counts = ("steps", "batch_size", "accumulate", "save_every", "keep_last", "preview_every")
        check_fields(self, counts=counts)
        for name in ("learning_rate", "rank", "alpha"):
            value = getattr(self, name)
            require(value >= 0, f"{name} must be positive, or 0 for the method's own, got {value}.")
        require(0 <= self.ema_decay < 1, f"ema_decay must lie in 0..1 (1 excluded), got {self.ema_decay}.")
        require(self.warmup >= 0 and self.clip > 0, "warmup must not be negative, and clip must be positive.")

    def rate(self, step: int, peak: float, warmup: int = 0, first: int = 0) -> float:
        """The learning rate of a step: linear warm-up from `first` to the peak, then constant or half a cosine to zero.

        first: the step in which the role begins, so that a critic's head start does not use up the student's warm-up.
        """
        rising = min(1.0, (step - first + 1) / warmup) if warmup else 1.0
        falling = 0.5 * (1 + cos(pi * min(step / self.steps, 1))) if self.decay == "cosine" else 1.0
        return peak * rising * falling


def check_resume(old: dict, new: dict, run: str) -> list[str]:
    """What changed, in words. Refuses to resume a run under settings that would make it another run, and names them."""
    absent = dict.fromkeys((*STARTS, "parts"))
    old, new = flat({**absent, **asdict(TrainConfig()), **old}), flat({**absent, **json.loads(json.dumps(new))})
    # A run of before a setting existed has its default; one of the method's is taken to be as it was.
    changed = {key: (old[key], value) for key, value in new.items() if key in old and old[key] != value}
    refused = [
        f"{key} ({SAID[key]})" if key in SAID else said(key, *values)
        for key, values in changed.items()
        if not (key in MAY_CHANGE_ON_RESUME or rescues(key, *values))
    ]
    require(
        not refused,
        f"{run} was started with other settings: {', '.join(refused)}. "
        "Set them back to resume it, or choose another run name.",
    )
    return [said(key, *values) for key, values in changed.items()]


def said(key: str, before, now) -> str:
    return f"{key} ({before!r} -> {now!r})"


def rescues(key: str, before, now) -> bool:
    """Whether a method's setting may change: named in RESCUES, and on or off as it was, in every phase."""

    def on(value) -> list[bool]:
        return [bool(one) for one in (value if isinstance(value, list) else [value])]

    return key.split(".")[-1] in RESCUES and on(before) == on(now)


def flat(settings: dict, within: str = "") -> dict:
    """{"score.adversarial": 0.1, "parts": 2, "parts.0.skip": 20, ...}: settings by path, of a list of parts the number
    too."""
    found = {}
    for key, value in settings.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            found[within + key] = len(value)
            value = dict(enumerate(value))
        if isinstance(value, dict):
            found.update(flat(value, f"{within}{key}."))
        else:
            found[within + key] = value
    return found
