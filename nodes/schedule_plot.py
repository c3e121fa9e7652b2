"""Where each schedule asks the network, as a picture."""

from PIL import Image

from ..host.loading.sampler import attached, sigmas_of
from ..host.pictures import as_tensor, of_figure
from ..samplers import schedule
from .widgets import DENOISE, numbers, socket, text, whole


class FewStepSchedulePlot:
    TITLE = "FewStep Schedule Plot"
    DESCRIPTION = (
        "The timesteps that each few-step schedule visits on this model, the floors of the segments, the list of the "
        "file that lies on it, and the sigmas you connect."
    )
    SEARCH_ALIASES = ["plot", "sigmas", "timesteps", "scheduler", "compare schedules", "segments"]
    CATEGORY = "FewStep/sampling"
    FUNCTION = "plot"
    RETURN_TYPES = ("IMAGE", "STRING")
    RETURN_NAMES = ("plot", "table")
    OUTPUT_TOOLTIPS = ("A line for each schedule, noise on the left.", "The same as numbers.")

    @classmethod
    def INPUT_TYPES(cls):
        floors = "Segments whose floors are drawn, TSCD's k. Empty: none."
        return {
            "required": {
                "model": socket("MODEL", "Its own noise schedule is used, with every patch on it."),
                "steps": whole(50, "Number of steps.", default=4),
                "denoise": DENOISE,
                "segments": text(floors, default="4"),
            },
            "optional": {"sigmas": socket("SIGMAS", "Another schedule to be drawn with them.")},
        }

    def plot(self, model, steps, denoise, segments, sigmas=None):
        sampling = model.get_model_object("model_sampling")
        lines = {name: list(make(steps, denoise)) for name, make in schedule.SCHEDULES.items()}
        own, _ = attached(model)
        if own is not None:
            lines[f"the file's: {own.family}"] = points(sampling, sigmas_of(sampling, own, steps, denoise))
        if sigmas is not None:
            lines["sigmas connected"] = points(sampling, sigmas)
        floors = {count: schedule.segment_floors(count) for count in numbers(segments, int, "segments")}
        return as_tensor(picture(lines, floors)), table(lines)


def points(sampling, sigmas) -> list[float]:
    """Timesteps of SIGMAS without the last, at which the network is not asked."""
    return schedule.timesteps_of(sampling, sigmas[:-1].float())


def picture(lines: dict[str, list[float]], floors: dict[int, list[int]]) -> Image.Image:
    """A row of dots with their timesteps for each schedule; the floors of the segments as rows of bars below."""
    from matplotlib.figure import Figure

    rows = [*lines, *(f"floors of {count} segments" for count in floors)]
    figure = Figure(figsize=(9, 0.8 + 0.6 * len(rows)), dpi=100, layout="constrained")
    axes = figure.subplots()
    for row, (visited, mark) in enumerate(
        [*((found, "o") for found in lines.values()), *((found, "|") for found in floors.values())]
    ):
        size = 7 if mark == "o" else 18
        axes.plot(visited, [row] * len(visited), mark, color="tab:blue" if mark == "o" else "tab:red", markersize=size)
        for timestep in visited if len(visited) <= 12 else ():
            axes.annotate(f"{timestep:.0f}", (timestep, row), (0, 9), textcoords="offset points", ha="center", size=8)
    axes.set(yticks=range(len(rows)), yticklabels=rows, xlabel="timestep", xlim=(1040, -40), ylim=(len(rows), -0.7))
    axes.grid(axis="x", color="0.9")
    return of_figure(figure)


def table(lines: dict[str, list[float]]) -> str:
    return "\n".join(f"{name}: {', '.join(f'{t:.0f}' for t in visited)}" for name, visited in lines.items())


NODES = (FewStepSchedulePlot,)
