"""What a run will need, known before anything is drawn or copied: memory by part, disk for its states.

Weights, gradients and moments are counted. What autograd keeps for the backward pass is measured by `hollow`. Left out:
the networks of rewards and their VAE, the allocator's gaps, cuDNN's workspaces. A refusal therefore wants a clear case:
more than MARGIN times what is free.
"""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from comfy import model_management
from torch import nn

from ...training.adversarial import Discriminator
from ...training.roles import DISCRIMINATOR
from . import activations, layers

MARGIN = 1.2
SIZE = {"fp32": 4, "bf16": 2, "fp16": 2}  # bytes of a weight or an activation
MOMENTS = {"adamw": 8, "adamw8bit": 2}  # bytes a weight
NODE = "FewStepDistill"
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


def of(job) -> Need:
    """Count and measure, on tensors without memory."""
    config, net, note = job.config, job.model.model.diffusion_model, ""
    try:
        kept, widths = activations.kept(job)
        stored, working = kept.bytes(config.gradient_checkpointing), 2 * kept.largest
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError, KeyError) as error:
        log.warning("%s: this model's activations cannot be measured beforehand (%s).", NODE, error)
        stored, widths, working, note = 0, [], 0, "; activations unknown"
    own = sum(p.numel() * p.element_size() for p in net.parameters())
    copy = sum(p.numel() for p in net.parameters()) * SIZE[config.precision]
    halved = config.train != "lora" and config.precision != "fp32"
    cast = copy if halved else 0  # autocast keeps a whole student's weights in half precision for the way back
    numbers = weights_of_roles(job, widths)
    trained = [numbers[role] for role in job.method.trained if role in numbers]
    passes = 2 if DISCRIMINATOR in job.method.roles else 1  # the student's graph, and that of the discriminator
    parts = {
        "training copy": copy,
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
    return Need(parts, host + max(own, copy), states, free_memory(job.model), free_disk, note)


def weights_of_roles(job, widths: list[int]) -> dict[str, int]:
    """{role: its number of weights}: a LoRA, a whole network, or the discriminator's heads."""
    config, net = job.config, job.model.model.diffusion_model
    modules = dict(net.named_modules())
    whole = sum(p.numel() for p in net.parameters())
    found = {}
    for role in job.method.roles:
        if role == DISCRIMINATOR:
            told = net.context_dim if hasattr(net, "context_dim") else 0
            found[role] = sum(p.numel() for p in Discriminator(widths, 16 + told).parameters())
        elif role != "target" or config.ema_decay:
            is_whole = config.train != "lora" and (role != "critic" or config.train != "full")
            own = job.training(role)
            sizes = (side for name in layers.chosen(job.model, own.layers) for side in sides(modules[name]))
            found[role] = whole if is_whole else own.rank * sum(sizes)
    return found


def sides(module: nn.Module) -> tuple[int, int]:
    """(inputs of a LoRA's down, outputs of its up) for one rank."""
    return module.weight[0].numel(), module.weight.shape[0]


def existing(path: Path) -> Path:
    return next(part for part in (path, *path.parents) if part.exists())


def free_memory(model) -> int:
    """Free on the training device once the host has unloaded its models, as it does for a run."""
    device = model.load_device
    free = model_management.get_free_memory(device)
    if device.type == "cpu":
        return free
    loaded = [m for m in model_management.current_loaded_models if m.device == device]
    return free + sum(getattr(m, "model_loaded_memory", m.model_memory)() for m in loaded)


def check(job) -> Need:
    """The estimate, written to the log. Raises ValueError when the run clearly cannot fit, and says what to lower."""
    need = of(job)
    log.info("%s: %s", job.run_name, need.text().replace("\n", "; "))
    if need.memory > MARGIN * need.free:
        raise ValueError(
            f"{NODE}: the run needs about {size(need.memory)} of memory ({', '.join(largest(need))}), and "
            f"{size(need.free)} are free. {' '.join(remedies(job, need))}"
        )
    if need.states > need.free_disk:
        raise ValueError(
            f"{NODE}: the saved states need {size(need.states)} of disk ({job.config.keep_last} and the one being "
            f"written), and {size(need.free_disk)} are free at {job.folder.path}. Lower keep_last or rank, or free "
            "some disk."
        )
    return need


def largest(need: Need) -> list[str]:
    """The three largest parts in words."""
    ordered = sorted(need.parts.items(), key=lambda part: -part[1])[:3]
    return [f"{name} {size(count)}" for name, count in ordered]


def remedies(job, need: Need) -> list[str]:
    """What would help, the cheapest first."""
    config, found = job.config, []
    moving = need.parts["activations"] + need.parts["passes without gradient"]
    fixed = sum(need.parts.values()) - moving
    fits = int((need.free - fixed) / max(moving, 1) * config.batch_size)
    if 1 <= fits < config.batch_size:
        found.append(f"Lower batch_size to {fits} (and raise accumulate to {-(-config.batch_size // fits)}).")
    elif config.batch_size > 1 and moving > 0.2 * need.memory:
        found.append("Lower batch_size to 1.")
    if not config.gradient_checkpointing and moving > 0.2 * need.memory:
        found.append("Turn gradient_checkpointing on.")
    if config.precision == "fp32":
        found.append("Take bf16.")
    if config.train != "lora":
        found.append("Train a LoRA instead of the whole model.")
    elif need.parts["roles"] + need.parts["moments"] > 0.2 * need.memory:
        found.append("Lower rank, or train fewer layers.")
    if config.optimizer == "adamw" and need.parts["moments"] > 0.1 * need.memory:
        found.append("Take adamw8bit.")
    return [*found, "Or take smaller pictures, or close what else uses the memory."]


def left(seconds: float) -> str:
    """720 -> "about 12 min left"."""
    if seconds < 90:
        return f"about {seconds:.0f} s left"
    return f"about {seconds / 60:.0f} min left" if seconds < 5400 else f"about {seconds / 3600:.1f} h left"


def progress(job, step: int, record: dict) -> None:
    """A line in the log after the first steps, and with every preview."""
    if step % job.config.preview_every == 0 or step == 3:
        loss = f", loss {record['loss']:.5f}" if "loss" in record else ""
        log.info("%s: step %s of %s%s, %s", job.run_name, step, job.config.steps, loss, left(record["left_s"]))
