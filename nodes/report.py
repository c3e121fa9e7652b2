"""What a training node says at its end: a picture of the loss, and a few lines of text."""

import io

import numpy
import torch
from PIL import Image
from torch import Tensor


def smooth(values: list[float], window: int = 25) -> list[float]:
    """Running mean over at most `window` values."""
    sums = numpy.cumsum([0.0, *values])
    return [float(sums[i + 1] - sums[max(i + 1 - window, 0)]) / min(i + 1, window) for i in range(len(values))]


def loss_image(metrics: list[dict]) -> Tensor:
    """[1, h, w, 3] in 0..1: the loss and its running mean, and the gradient norm of every trained role below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    whole, metrics = metrics, [record for record in metrics if "loss" in record]  # those with a turn of the student
    steps = [record["step"] for record in metrics]
    figure = Figure(figsize=(8, 5), dpi=100, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    losses = [record["loss"] for record in metrics]
    above.plot(steps, losses, color="0.8", linewidth=0.8)
    above.plot(steps, smooth(losses), color="tab:blue")
    above.set_ylabel("loss")
    for key in dict.fromkeys(key for record in whole for key in record if key.endswith("_gradient")):
        norms = [(record["step"], record[key]) for record in whole if key in record]
        below.plot([step for step, _ in norms], smooth([n for _, n in norms]), label=key.removesuffix("_gradient"))
    below.legend(fontsize="small")
    below.set(xlabel="step", ylabel="gradient norm")
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    picture = numpy.asarray(Image.open(buffer).convert("RGB"), dtype=numpy.float32) / 255
    return torch.from_numpy(picture)[None]


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
