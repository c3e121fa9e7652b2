"""One training run inside the host: check, make the data, copy the model, train its roles, write the student's file."""

import gc
import logging
from dataclasses import dataclass, replace
from functools import partial

import torch
from comfy import model_management
from torch import Tensor

from ...samplers.schedule import is_flow
from ...training.data import Examples
from ...training.loop import Trainer
from ...training.method import Method
from ...training.on_images import bound
from ...training.path import Path
from ...training.sharded_loop import ShardedTrainer
from ...weights import io
from .. import model_copy
from ..data import dataset
from ..progress import Cancelled, Progress, Says, throw_if_cancelled
from ..rewards import clip, offload
from . import check, export, roles, saved_steps, start_points
from .after_step import AfterStep
from .best import Best
from .job import NODE, Job, Result
from .parted import in_parts, saved_weights, why_whole
from .preview import Preview

log = logging.getLogger(__name__)
PRECISION = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Student:
    """tensors: as the file has them; error: of the wired MODEL's patches in them."""

    tensors: dict[str, Tensor]
    parameters: int
    error: float


def distil(job: Job) -> Result:
    """Train a student and write its file: a LoRA, or a whole network. The MODEL on the wire is not changed.

    Cancel raises the host's exception within one micro-batch; the run folder then holds the last step, to be resumed,
    and where the job says so the student's file is written as it is.
    """
    need = check.check(job)
    with job.folder.held():
        folder = job.folder
        io.sweep(folder.path)
        noted = len(folder.notes())
        if folder.read_config() is None and (said := start_points.note(job)):
            folder.note(said)
        if job.resume_step >= 0:
            folder.go_back(job.resume_step)
        try:
            saved_steps.note(job)
            with model_copy.training_mode():
                student = train(job)
        finally:  # the copy of the model dies here, not at the next garbage collection
            offload.to_main_memory()
            gc.collect()
            model_management.soft_empty_cache()
        name = export.write(job, student.tensors)
        kept = (student.parameters, need.text(), student.error, tuple(folder.notes()[noted:]))
        return Result(student.tensors, name, folder.metrics(), *kept)


def follow(job: Job) -> None:
    """The part of one of several processes that is not the first: the same steps on other samples.

    It checks and writes nothing but the data, where the first has not left that on a disk that both see.
    """
    job.processes.wait()
    with model_copy.training_mode():
        examples = examples_of(job)
        copy = model_copy.TrainingCopy(job.model, PRECISION[job.config.precision], NODE)
        trainer_of(job, copy, roles.roles_of(job, copy, examples), examples).run()


def train(job: Job) -> Student:
    """Examples, the teacher's previews, the copy, the roles on it, the loop; then what is kept of them."""
    config = job.config
    examples = examples_of(job)
    job.processes.wait()  # the others find the data that this one has made
    parted = in_parts(job, examples)
    if job.processes.count > 1 and not job.trains_lora and not parted:
        log.info("%s: every process holds whole networks, as %s.", job.run_name, why_whole(job, examples))
    # Draws with the host's own model, which the copy then takes out of memory. The student's pictures would need the
    # other processes in each of their passes, where it lies in parts.
    preview = Preview(replace(job, preview_prompts=[]) if parted else job)
    copy = model_copy.TrainingCopy(job.model, PRECISION[config.precision], NODE)
    nets = roles.roles_of(job, copy, examples)
    trainer = trainer_of(job, copy, nets, examples)
    best = Best.of(job, nets, trainer.path, examples, copy.device) if config.keep == "best" else None
    after_step = AfterStep(job, best, partial(preview.student, partial(nets, job.kept_role), copy), preview.teacher)
    trainer.on_step, trainer.on_start = after_step, after_step.begin
    try:
        trainer.run()
    except Cancelled:
        if job.write_on_cancel and trainer.step:
            export.write(job, export.as_file(job, kept_of(job, nets, best, parted))[0])
        raise
    kept = kept_of(job, nets, best, parted)
    tensors, error = export.as_file(job, kept)
    return Student(tensors, sum(p.numel() for p in nets.parameters("student").values()), error)


def trainer_of(job: Job, copy: model_copy.TrainingCopy, nets, examples: Examples) -> Trainer:
    """The loop over the copied network's roles, which shows nothing yet."""
    kind = ShardedTrainer if in_parts(job, examples) else Trainer
    return kind(
        job.config,
        with_decoder(job, copy.device),
        nets,
        Path(copy.sigmas().to(copy.device), is_flow(copy.sampling)),
        examples,
        job.folder,
        copy.device,
        job.source,
        throw_if_cancelled,
        processes=job.processes,
    )


def kept_of(job: Job, nets, best: Best | None, parted: bool) -> dict[str, Tensor]:
    """The weights that are the product."""
    if parted:
        return saved_weights(job)
    return best.weights() if best else nets.parameters(job.kept_role)


def examples_of(job: Job) -> Examples:
    """The data as the method wants it, made now or found from an earlier run; with a progress bar of its own."""
    count, batch = job.spec.count, job.config.batch_size
    if job.model.load_device.type == "cpu":
        batch = min(batch, 16)  # more at a time are no faster there; a GPU that trains on so many can draw as many
    progress, says = Progress(count), Says()

    def on_item(done: int, total: int) -> None:
        throw_if_cancelled()
        progress.show(done * count // total)
        says(f"data: {done * count // total} of {count}")

    maker = dataset.Maker(job.model, job.clip, job.vae, job.config.seed, job.folder.path, batch, on_item)
    return dataset.build(job.spec, maker, job.method.images)


def with_decoder(job: Job, device: torch.device) -> Method:
    """The method; terms that look at images get the VAE's decoder."""
    if not job.method.on_images:
        return job.method
    return bound(job.method, clip.decoder(job.model, job.vae, device, whole=job.config.precision == "fp16"))
