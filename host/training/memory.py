"""What a run will need, known before anything is drawn or copied: memory by part, disk for its states.

Weights, gradients and moments are counted. What autograd keeps for the backward pass is measured (activations.py). Left
out: the networks of rewards and their VAE, the allocator's gaps, cuDNN's workspaces.
"""

import logging
import shutil
from dataclasses import dataclass
from math import prod
from pathlib import Path

from comfy import model_management
from torch import nn

from ...training.adversarial import ANGLES, Discriminator
from ...training.roles import DISCRIMINATOR
from .. import quantised
from ..sockets import Model
from . import activations, layers
from .job import NODE, Job

SIZE = {"fp32": 4, "bf16": 2, "fp16": 2}  # bytes of a weight or an activation
MOMENTS = {"adamw": 8, "adamw8bit": 2}  # bytes a weight
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Need:
    """Bytes. parts: memory by name at the peak of a step; copying: while the model is copied, before the first step."""

    parts: dict[str, int]
    copying: int
    states: int
    free: int
    free_disk: int
    note: str = ""

    @property
    def memory(self) -> int:
        return max(sum(self.parts.values()), self.copying)

    def text(self) -> str:
        """Two lines for the log and the report."""
        parts = ", ".join(f"{name} {size(count)}" for name, count in self.parts.items() if count)
        return (
            f"memory: about {size(self.memory)} ({parts}{self.note}), {size(self.free)} free\n"
            f"disk: {size(self.states)} for saved states, {size(self.free_disk)} free"
        )


def size(count: float) -> str:
    """123,456,789 -> 0.12 GB; small ones in MB."""
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def of(job: Job) -> Need:
    """Count and measure, on tensors without memory."""
    config, net, note = job.config, job.model.model.diffusion_model, ""
    try:
        kept, widths = activations.kept(job)
        stored, working = kept.bytes(config.gradient_checkpointing), 2 * kept.largest
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError, KeyError) as error:
        log.warning("%s: this model's activations cannot be measured beforehand (%s).", NODE, error)
        stored, widths, working, note = 0, [], 0, "; activations unknown"
    own = sum(quantised.nbytes(p) for p in net.parameters())
    copy, shared, unpacked = quantised.copied(net, SIZE[config.precision])
    halved = not job.trains_lora and config.precision != "fp32"
    cast = copy if halved else 0  # autocast keeps a whole student's weights in half precision for the way back
    numbers = weights_of_roles(job, widths)
    trained = [numbers[role] for role in job.method.trained if role in numbers]
    passes = 2 if DISCRIMINATOR in job.method.roles else 1  # the student's graph, and that of the discriminator
    parts = {
        "training copy": copy,
        "the layer that is unpacked": unpacked,
        "roles": 4 * sum(numbers.values()),
        "gradients": 4 * max(trained),
        "moments": MOMENTS[config.optimizer] * sum(trained),
        "activations": passes * (stored + cast),
        "passes without gradient": working,
    }
    kept_weights = 4 * sum(numbers.values()) + parts["moments"]
    free_disk = shutil.disk_usage(existing(job.folder.path)).free
    states = (config.keep_last + 1) * kept_weights
    host = 0 if job.model.load_device.type == "cpu" else own  # the wired model itself, loaded to be copied
    return Need(parts, host + max(own, copy) - shared, states, free_memory(job.model), free_disk, note)


def weights_of_roles(job: Job, widths: list[int]) -> dict[str, int]:
    """{role: its number of weights}: a LoRA, a whole network, or the discriminator's heads."""
    config, net = job.config, job.model.model.diffusion_model
    modules = dict(net.named_modules())
    whole = sum(prod(p.shape) for p in net.parameters())

    def weights(role: str) -> int:
        if role == DISCRIMINATOR:
            conds = activations.keywords(job).values()
            told = sum(cond.shape[-1] for cond in conds if cond.ndim in (2, 3) and cond.is_floating_point())
            with activations.META:  # no memory, and no random numbers drawn from the host's generator
                return sum(p.numel() for p in Discriminator(widths, ANGLES + told).parameters())
        if not job.trains_lora and (role != "critic" or config.train != "full"):
            return whole
        own = job.training(role)
        return own.rank * sum(side for name in layers.chosen(job.model, own.layers) for side in sides(modules[name]))

    return {role: weights(role) for role in job.roles}


def sides(module: nn.Module) -> tuple[int, int]:
    """(inputs of a LoRA's down, outputs of its up) for one rank."""
    return prod(module.weight.shape[1:]), module.weight.shape[0]


def existing(path: Path) -> Path:
    return next(part for part in (path, *path.parents) if part.exists())


def free_memory(model: Model) -> int:
    """Free on the training device once the host has unloaded its models, as it does for a run."""
    device = model.load_device
    free = model_management.get_free_memory(device)
    if device.type == "cpu":
        return free
    loaded = [m for m in model_management.current_loaded_models if m.device == device]
    return free + sum(getattr(m, "model_loaded_memory", m.model_memory)() for m in loaded)
