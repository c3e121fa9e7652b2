"""What a training node says at its end: a picture of the loss, and a few lines of text."""

from torch import Tensor

from ..host.pictures import as_tensor
from ..host.training.curve import curve, smooth


def loss_image(metrics: list[dict]) -> Tensor:
    """The loss of a run as an IMAGE."""
    return as_tensor(curve(metrics))


def summary(result, method, config) -> str:
    """Steps, loss, time and where the student is."""
    losses = smooth([record["loss"] for record in result.metrics if "loss" in record])
    seconds = sum(record["seconds"] for record in result.metrics)
    samples = config.batch_size * config.accumulate
    kind = f"LoRA of rank {method.training('student', config).rank}" if config.train == "lora" else "model"
    return "\n".join(
        [
            f"{method.name}: {len(result.metrics)} steps of {samples} samples, {seconds:.0f} s",
            f"loss {losses[0]:.5f} -> {losses[-1]:.5f} (running mean)",
            f"{kind} with {result.parameters:,} parameters: {result.name}",
            f"sample it with {method.sampler} on the {method.schedule} schedule, {steps_of(method)}, cfg 1",
            f"expected beforehand: {result.estimate}",
            *([f"the model's own patches are in it to a relative error of {result.error:.3g}"] if result.error else []),
            *result.notes,
        ]
    )


def steps_of(method) -> str:
    """How many steps the student is for, and at which timesteps where it has a list of its own."""
    span = f"1-{method.most} steps" if method.schedule == "lcm" and method.most > 1 else f"{method.most} steps"
    return span + "".join(f" ({', '.join(map(str, found))})" for found in method.timesteps)
