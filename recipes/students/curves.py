"""docs/students.png: how near each student came, by step, on the GPU: `python -m recipes.students.curves`."""

import json
from pathlib import Path

from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
OUT = HERE.parents[1] / "docs" / "students.png"
GOALS = {"1": 16.5, "2": 13.0, "4": 11.0}
SHOWN = {"1": (14, 28), "2": (11, 25), "4": (10, 23)}  # passes: limits of the distance


def drawn(rows: list[dict]) -> Figure:
    """A panel for each number of passes; a run has one colour in all of them."""
    colours = {run: f"C{number % 10}" for number, run in enumerate(dict.fromkeys(row["run"] for row in rows))}
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    for panel, (passes, limits) in zip(figure.subplots(1, len(SHOWN)), SHOWN.items()):
        for run, colour in colours.items():
            points = points_of(rows, run, passes)
            if len(points) > 1 and min(distance for _, distance in points) < limits[1]:
                panel.plot(*zip(*points), marker="o", color=colour, label=run)
        panel.axhline(GOALS[passes], color="grey", linestyle="--", linewidth=1)
        panel.set(title=f"{passes} pass{'es' * (passes != '1')}", xlabel="step", ylim=limits)
        panel.legend(fontsize=7)
    figure.supylabel("distance, n = 600, seed 7 (dashed: the goal at n = 2,000)", fontsize=8)
    return figure


def points_of(rows: list[dict], run: str, passes: str) -> list[tuple[int, float]]:
    """(step, distance) of a run at that number of passes."""
    found = [row for row in rows if row["run"] == run and passes in row["passes"]]
    return [(row["step"], row["passes"][passes]["distance"]) for row in found]


def main() -> None:
    rows = json.loads((HERE / "gpu-run.json").read_text(encoding="utf-8"))["rows"]
    drawn(rows).savefig(OUT, dpi=110)


if __name__ == "__main__":
    main()
