"""The loss of a run as a picture."""

import numpy
from PIL import Image

from ..pictures import of_figure


def smooth(values: list[float], window: int = 25) -> list[float]:
    """Running mean over at most `window` values."""
    sums = numpy.cumsum([0.0, *values])
    return [float(sums[i + 1] - sums[max(i + 1 - window, 0)]) / min(i + 1, window) for i in range(len(values))]


def curve(metrics: list[dict], size: tuple[int, int] = (800, 500)) -> Image.Image:
    """The loss and its running mean, and the gradient norm of every trained role below. size: (width, height)."""
    from matplotlib.figure import Figure

    whole, metrics = metrics, [record for record in metrics if "loss" in record]  # those with a turn of the student
    steps = [record["step"] for record in metrics]
    figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    losses = [record["loss"] for record in metrics]
    above.plot(steps, losses, color="0.8", linewidth=0.8)
    above.plot(steps, smooth(losses), color="tab:blue")
    above.set_ylabel("loss")
    for key in dict.fromkeys(key for record in whole for key in record if key.endswith("_gradient")):
        norms = [(record["step"], record[key]) for record in whole if key in record]
        below.plot([step for step, _ in norms], smooth([n for _, n in norms]), label=key.removesuffix("_gradient"))
    if below.lines:
        below.legend(fontsize="small")
    below.set(xlabel="step", ylabel="gradient norm")
    return of_figure(figure)
