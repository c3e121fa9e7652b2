"""Whether the networks of a full-weight run lie in parts on its processes, and their weights at its end."""

from torch import Tensor

from ...training import sharding
from ...training.data import Examples
from ...training.state import read_state
from .job import Job


def why_whole(job: Job, examples: Examples) -> str:
    """Why every process holds whole networks, as the end of a sentence; "" where the networks lie in parts."""
    config = job.config
    if not sharding.available():
        return "torch is older than 2.6"
    if config.optimizer != "adamw":
        return f"the optimizer is {config.optimizer}"
    if config.precision == "fp16":
        return "the precision is fp16"
    if config.keep == "best":
        return "the best weights are looked for by the first process alone"
    if "tokens" in examples.conds[0]:
        return "texts of unequal length run in a number of passes that differs from process to process"
    return ""


def in_parts(job: Job, examples: Examples) -> bool:
    return job.processes.count > 1 and not job.trains_lora and not why_whole(job, examples)


def saved_weights(job: Job) -> dict[str, Tensor]:
    """The kept role's weights in the newest state: whole ones, which no process has in memory."""
    start = f"role.{job.kept_role}."
    tensors = read_state(job.folder.states()[-1])
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
