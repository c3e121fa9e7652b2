"""The command `check`: whether workflows sample their few-step files as these were made to be sampled."""

import argparse
from importlib import import_module
from pathlib import Path


def check(args: argparse.Namespace) -> int:
    """Print what fits and what to change, file by file. 1 when there is something to change."""
    graph, report, judge = (import_module(f"fewstep.weights.workflows.{name}") for name in ("graph", "report", "check"))
    wrong = 0
    for name in args.files:
        try:
            found = graph.read(Path(name).read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise ValueError(f"check: {name} {error}") from error
        wrong += len(judge.check(found))
        print(f"{name}:", *report.lines(found), sep="\n  ")
    return int(wrong > 0)
