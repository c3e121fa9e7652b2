"""What happens after a step of the loop: the best weights are kept, the log gets a line, the node shows a preview."""

import logging
from collections.abc import Callable

from PIL import Image

from ..progress import Progress
from .best import Best
from .job import Job

log = logging.getLogger(__name__)


class AfterStep:
    """Called with (step, its record). picture(): the preview, or None where there is none."""

    def __init__(self, job: Job, best: Best | None, picture: Callable[[], Image.Image | None]):
        self.job, self.best, self.picture, self.progress = job, best, picture, Progress(job.config.steps)

    def __call__(self, step: int, record: dict) -> None:
        config, last = self.job.config, step == self.job.config.steps
        if self.best and (last or step % config.save_every == 0):
            self.best.look(step)
        if step % config.preview_every == 0 or step == 3:
            log.info(line(self.job.run_name, step, config.steps, record))
        due = last or step % config.preview_every == 0
        self.progress.show(step, self.picture() if due else None)


def line(run_name: str, step: int, steps: int, record: dict) -> str:
    """ "my-lora: step 100 of 1000, loss 0.01234, about 12 min left"."""
    loss = f", loss {record['loss']:.5f}" if "loss" in record else ""
    return f"{run_name}: step {step} of {steps}{loss}, {left(record['left_s'])}"


def left(seconds: float) -> str:
    """720 -> "about 12 min left"."""
    if seconds < 90:
        return f"about {seconds:.0f} s left"
    return f"about {seconds / 60:.0f} min left" if seconds < 5400 else f"about {seconds / 3600:.1f} h left"
