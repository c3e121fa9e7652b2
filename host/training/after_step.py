"""What happens after a step of the loop: the best weights are kept, the log gets a line, the node shows how it goes."""

import logging
from collections.abc import Callable

from PIL import Image
from torch import Tensor

from ..pictures import beside, sheet
from ..progress import Progress, Says
from . import tensorboard
from .best import Best
from .curve import curve
from .gallery import Gallery
from .job import Job

log = logging.getLogger(__name__)

WIDE = 1.6  # the width of a curve beside pictures, in heights


class AfterStep:
    """Called with (step, its record). draw(): the student's pictures now, [h, w, 3] each; teacher: the same noise's."""

    def __init__(self, job: Job, best: Best | None, draw: Callable[[], list[Tensor]], teacher: list[Tensor]):
        self.job, self.best, self.draw, self.teacher = job, best, draw, teacher
        self.progress, self.says, self.first = Progress(job.config.steps), Says(), 0
        self.gallery = Gallery(job.folder, job.preview_prompts, teacher)
        self.scalars: Callable[[dict], None] = lambda record: None

    def begin(self, step: int) -> None:
        """Before the first step of this part of the run, at the step that it goes on from."""
        self.first, steps = step, self.job.config.steps
        self.gallery.begin(step)
        if self.job.tensorboard:
            self.scalars = tensorboard.scalars(self.job.folder.path, step)
        if step:
            over = f"step {step} of {steps} is reached: nothing is left to train" if step >= steps else ""
            text = over or f"resuming at step {step} of {steps}"
            log.info("%s: %s", self.job.run_name, text)
            self.says.now(text)
            self.progress.show(min(step, steps))

    def __call__(self, step: int, record: dict) -> None:
        config, last = self.job.config, step == self.job.config.steps
        if self.best and (last or step % config.save_every == 0):
            self.best.look(step)
        self.scalars(record)
        text = line(step, config.steps, record, self.first)
        if step % config.preview_every == 0 or step == 3:
            log.info("%s: %s", self.job.run_name, text)
        self.says(text, always=last)
        due = last or step % config.preview_every == 0
        self.progress.show(step, self.picture(step) if due else None)

    def picture(self, step: int) -> Image.Image:
        """The loss beside the teacher's and the student's pictures; both also go into the run's folder."""
        cells, metrics = self.draw(), self.job.folder.metrics()
        self.gallery.add(step, cells, curve(metrics))
        if not cells:
            return curve(metrics)
        steps = len(self.job.timesteps)
        labels = [f"teacher\n{self.job.spec.teacher_steps} steps", f"student\n{plural(steps)}\nat step {step}"]
        rows = sheet(labels, [cell[None] for cell in (*self.teacher, *cells)], self.job.preview_prompts)
        height = max(rows.height, 240)
        return beside(curve(metrics, (round(WIDE * height), height)), rows)


def plural(steps: int) -> str:
    return f"{steps} step{'s' * (steps > 1)}"


def line(step: int, steps: int, record: dict, first: int = 0) -> str:
    """ "step 100 of 1000, loss 0.01234, about 12 min left", and where the run was resumed."""
    loss = f", loss {record['loss']:.5f}" if "loss" in record else ""
    resumed = f", resumed at step {first}" if first else ""
    return f"step {step} of {steps}{loss}, {left(record['left_s'])}{resumed}"


def left(seconds: float) -> str:
    """720 -> "about 12 min left"."""
    if seconds < 90:
        return f"about {seconds:.0f} s left"
    return f"about {seconds / 60:.0f} min left" if seconds < 5400 else f"about {seconds / 3600:.1f} h left"
