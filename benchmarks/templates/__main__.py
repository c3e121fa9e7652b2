"""Every official template checked against the rows of its few-step files; writes docs/templates.md.

    python run.py bench templates

Reads the JSON of comfyui-workflow-templates-json (requirements-test.txt): no host, no weights, seconds.
"""

import sys
from importlib.metadata import version
from pathlib import Path

from fewstep.weights.workflows.check import chosen_runs, unused

from .official import disagreements, folder, templates
from .page import page

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "templates.md"


def text(place: Path) -> str:
    """The page as it should be."""
    files = {name: {file.name for _, file in chosen_runs(graph)} | {*unused(graph)} for name, graph in templates(place)}
    counts = {
        "sampling": len(files),
        "with_few": sum(map(bool, files.values())),
        "files": len(set().union(*files.values())),
    }
    return page(version("comfyui-workflow-templates-json"), counts, disagreements(place))


def main() -> None:
    place = folder()
    if place is None:
        sys.exit("bench templates: comfyui-workflow-templates-json is not installed. python run.py test installs it.")
    PAGE.write_text(text(place), encoding="utf-8")
    print(f"{len(disagreements(place))} disagreements: {PAGE.name}")


if __name__ == "__main__":
    main()
