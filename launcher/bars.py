"""Progress on the terminal."""

import sys

from tqdm import tqdm

from .workflow import Workflow


class Bars:
    """A progress bar for each node that counts steps."""

    def __init__(self, workflow: Workflow):
        self.workflow = workflow
        self.bars: dict[str, tqdm] = {}

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *_) -> None:
        for bar in self.bars.values():
            bar.close()

    def __call__(self, node: str, value: int, total: int) -> None:
        """Move the node's bar to `value` of `total`."""
        if node not in self.bars:
            name = self.workflow.get(node, {}).get("class_type", node)
            self.bars[node] = step_bar(total, name)
        bar = self.bars[node]
        bar.total = total
        bar.update(value - bar.n)


def step_bar(total: int, name: str, unit: str = "step") -> tqdm:
    """Return a bar: smooth on a terminal, a line now and then in a log."""
    return tqdm(total=total, desc=name, unit=unit, mininterval=0.1 if sys.stderr.isatty() else 10.0)


def silent(node: str, value: int, total: int) -> None:
    """Show no progress."""
