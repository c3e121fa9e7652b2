"""The numbers of a run as TensorBoard's scalars, where its package is installed."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from ...training.checks import require

FOLDER = "tensorboard"  # in the run folder


def check() -> None:
    """Refuse, before anything is drawn, where the package lacks."""
    require(
        find_spec("tensorboard") is not None,
        "tensorboard is on, but the package tensorboard is not installed in this ComfyUI's Python. Install it (pip "
        "install tensorboard), or turn it off: metrics.jsonl in the run folder has the same numbers.",
    )


def scalars(folder: Path, step: int) -> Callable[[dict], None]:
    """A writer of records; what an earlier part of the run wrote after this step is no longer shown."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / FOLDER), purge_step=step + 1)

    def write(record: dict) -> None:
        for name, value in record.items():
            if name != "step":
                writer.add_scalar(name, value, record["step"])
        writer.flush()

    return write
