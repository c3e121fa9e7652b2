"""A teacher that carries the user's own LoRAs: the student as one LoRA over the plain base, task and speed together.

student over patched model = base + task + speed. As a file over the plain base: (task + speed), one LoRA by exact rank
concatenation, which needs neither the task's file nor its strength any more. Patches that are no LoRA (a merge of two
models) go in by SVD when that is asked for, with their error.
"""

import comfy.lora
import torch
from torch import Tensor

from ...training.checks import choices, require
from ...training.config import TrainConfig
from ...weights import keys, merge
from .. import quantised
from ..sockets import Model
from . import layers
from .job import Job

UNET = "diffusion_model."
PATCHED, PLAIN_BASE, BY_SVD = choices(TrainConfig, "lora_over")
UP, DOWN, ALPHA, PLAIN = 0, 1, 2, 3  # what the host keeps of a LoRA; from PLAIN on: mid, DoRA scale, reshape


def check(job: Job) -> None:
    """Refuse, by name, patches that are no plain LoRA where the product must be exact, before anything is drawn; and
    to take differences of quantised weights, whose scales the host's arithmetic of patches does not know."""
    if job.config.lora_over == PLAIN_BASE:
        task(job.model)
    packed = quantised.first_of(job.model.model.diffusion_model)
    require(
        job.config.lora_over != BY_SVD or not job.model.patches or packed is None,
        f'FewStepDistill: lora_over "{BY_SVD}" takes differences of the model\'s weights, and they are quantised: '
        f'{" is ".join(packed or ())}. Set it to "{PATCHED}", or load the fp16, bf16 or fp32 checkpoint.',
    )


def task(model: Model, rank: int = 0) -> tuple[dict[str, list[merge.Delta]], float]:
    """{kohya's module: deltas} of what lies on a MODEL, at the strengths it has there; and its relative error.

    Plain LoRAs are exact. Whatever else (differences of model merges, LoHa, LoKr, DoRA) is refused at rank 0; else it
    is what the host makes of the weight, minus the weight, by SVD at that rank. What no LoRA holds, biases and norms
    mostly, is lost and counts in the error.
    """
    names, deltas_of, lost, whole = layers.lora_names(model), {}, 0.0, 0.0
    weights = model.model.state_dict()
    for key, patches in model.patches.items():
        module = str(key).removeprefix(UNET).removesuffix(".weight")
        strange = next((patch for patch in patches if not is_plain(patch)), None)
        if strange is None and module in names:
            deltas, error = [delta_of(patch[0], kind_of(patch[1])[1], weights[key].shape) for patch in patches], 0.0
            size = float(sum(delta.dense() for delta in deltas).square().sum()) if rank else 0.0
        else:
            require(rank > 0, refusal(key, kind_of((strange or patches[0])[1])[0]))
            difference = change(model, key, weights[key], patches)
            fits = module in names and difference.ndim > 1
            delta, error = merge.factored(difference, rank) if fits else (None, 1.0)
            deltas, size = [delta] if fits else [], float(difference.square().sum())
        if deltas:
            deltas_of.setdefault(keys.kohya_name(names[module]), []).extend(deltas)
        lost, whole = lost + error**2 * size, whole + size
    return deltas_of, (lost / max(whole, 1e-30)) ** 0.5


def is_plain(patch: tuple) -> bool:
    """Whether a patch is an ordinary LoRA on a whole weight that it adds to."""
    kind, parts = kind_of(patch[1])
    plain = kind == "lora" and all(part is None for part in parts[PLAIN:]) and patch[2] == 1
    return plain and all(part is None for part in patch[3:])  # neither a part of the weight nor a function of it


def refusal(key: str, kind: str) -> str:
    return (
        f"FewStepDistill: {key} carries a patch of kind {kind!r} that is no plain LoRA of the U-Net. It cannot go "
        f'exactly into one LoRA over the plain base. Set lora_over to "{BY_SVD}", which takes the nearest LoRA of the '
        f'rank and reports how near it is; to "{PATCHED}"; or take that patch off.'
    )


@torch.no_grad()
def change(model: Model, key: str, weight: Tensor, patches: list) -> Tensor:
    """What the patches of one key add to its weight, in fp32, by the host's own arithmetic."""
    kept = model.backup.get(key)  # where patches are on the weights just now
    plain = (weight if kept is None else getattr(kept, "weight", kept)).detach().float().cpu()
    calculate = getattr(comfy.lora, "calculate_weight", None) or model.calculate_weight
    return calculate(patches, plain.clone(), key) - plain


def kind_of(patch) -> tuple[str, tuple]:
    """(kind, parts) of a patch: an object with a name on later hosts, a tuple on earlier ones."""
    if hasattr(patch, "weights"):
        return patch.name, tuple(patch.weights)
    if isinstance(patch, list):  # another model's weight, with the patches that lie on it
        return "merge", ()
    return ("diff", tuple(patch)) if len(patch) == 1 else (patch[0], tuple(patch[1]))


def delta_of(strength: float, parts: tuple, shape: torch.Size) -> merge.Delta:
    """strength alpha / r up down, shaped like the weight; without alpha the scale is 1."""
    up, down = parts[UP].float().flatten(1), parts[DOWN].float()
    scale = strength if parts[ALPHA] is None else strength * float(parts[ALPHA]) / down.shape[0]
    if len(shape) == 4:
        up, down = up[:, :, None, None], down.reshape(-1, *shape[1:])
    return merge.Delta(up * scale, down)


def product(job: Job, speed: dict[str, Tensor]) -> tuple[dict[str, Tensor], float]:
    """The student's file: its own LoRA, or that and the task's as one; and the relative error of the task in it."""
    if job.config.lora_over == PATCHED or not job.model.patches:
        return speed, 0.0
    pieces, error = task(job.model, job.training("student").rank if job.config.lora_over == BY_SVD else 0)
    for module, delta in merge.deltas(speed).items():
        pieces.setdefault(module, []).append(delta)
    whole = {m: merge.weighted_sum([({m: d}, 1.0) for d in deltas])[m] for m, deltas in pieces.items()}
    return merge.to_file(whole), error


def carrier(job: Job) -> Model:
    """The MODEL that the product goes on: the wired one, or its clone without LoRAs."""
    if job.config.lora_over == PATCHED:
        return job.model
    plain = job.model.clone()
    plain.patches = {}
    return plain


def check_start(job: Job, metadata: dict[str, str]) -> None:
    """A LoRA that holds its task already would bring it twice onto a MODEL that has it too."""
    require(
        not job.model.patches or '"lora_over": "plain base' not in metadata.get("fewstep", ""),
        f'FewStepDistill: "{job.start}" is over the plain base and holds its task already, and this MODEL has it too. '
        "Take the LoRAs off the MODEL, or start from a speed LoRA (lora_over: patched model).",
    )
