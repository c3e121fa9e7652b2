"""A teacher that carries the user's own LoRAs: the student as one LoRA over the plain base, task and speed together.

student over patched model = base + task + speed. As a file over the plain base: (task + speed), one LoRA by exact rank
concatenation, which needs neither the task's file nor its strength any more.
"""

import torch
from torch import Tensor

from ..training.config import require
from ..weights import keys, merge
from . import models

UNET = "diffusion_model."
UP, DOWN, ALPHA, PLAIN = 0, 1, 2, 3  # what the host keeps of a LoRA; from PLAIN on: mid, DoRA scale, reshape


def check(job) -> None:
    """Refuse, by name, patches that are no plain LoRA, before anything is drawn."""
    if job.config.lora_over == "plain base":
        task(job.model)


def task(model) -> dict[str, list[merge.Delta]]:
    """{kohya's module: deltas} of the LoRAs on a MODEL, at the strengths they have there."""
    names, found = models.diffusers_names(model), {}
    weights = model.model.state_dict()
    for key, patches in model.patches.items():
        module = str(key).removeprefix(UNET).removesuffix(".weight")
        for patch in patches:
            kind, parts = kind_of(patch[1])
            plain = kind == "lora" and all(part is None for part in parts[PLAIN:]) and patch[2] == 1
            whole = all(part is None for part in patch[3:])  # neither a part of the weight nor a function of it
            require(
                plain and whole and module in names,
                f"FewStepDistill: {key} carries a patch of kind {kind!r} that is no plain LoRA of the U-Net. It cannot "
                'go into one LoRA over the plain base. Set lora_over to "patched model", or take that patch off.',
            )
            found.setdefault(keys.kohya_name(names[module]), []).append(delta_of(patch[0], parts, weights[key].shape))
    return found


def kind_of(patch) -> tuple[str, tuple]:
    """(kind, parts) of a patch: an object with a name on later hosts, a tuple on earlier ones."""
    if hasattr(patch, "weights"):
        return patch.name, tuple(patch.weights)
    return ("diff", tuple(patch)) if len(patch) == 1 else (patch[0], tuple(patch[1]))


def delta_of(strength: float, parts: tuple, shape: torch.Size) -> merge.Delta:
    """strength alpha / r up down, shaped like the weight; without alpha the scale is 1."""
    up, down = parts[UP].float().flatten(1), parts[DOWN].float()
    scale = strength if parts[ALPHA] is None else strength * float(parts[ALPHA]) / down.shape[0]
    if len(shape) == 4:
        up, down = up[:, :, None, None], down.reshape(-1, *shape[1:])
    return merge.Delta(up * scale, down)


def product(job, speed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The student's file: its own LoRA, or that and the task's as one."""
    if job.config.lora_over != "plain base" or not job.model.patches:
        return speed
    pieces = task(job.model)
    for module, delta in merge.deltas(speed).items():
        pieces.setdefault(module, []).append(delta)
    whole = {m: merge.weighted_sum([({m: d}, 1.0) for d in deltas])[m] for m, deltas in pieces.items()}
    return merge.to_file(whole)


def carrier(job):
    """The MODEL that the product goes on: the wired one, or its clone without LoRAs."""
    if job.config.lora_over != "plain base":
        return job.model
    plain = job.model.clone()
    plain.patches = {}
    return plain


def check_start(job, metadata: dict, start: str) -> None:
    """A LoRA that holds its task already would bring it twice onto a MODEL that has it too."""
    require(
        not job.model.patches or '"lora_over": "plain base"' not in metadata.get("fewstep", ""),
        f'FewStepDistill: "{start}" is over the plain base and holds its task already, and this MODEL has it too. '
        "Take the LoRAs off the MODEL, or start from a speed LoRA (lora_over: patched model).",
    )
