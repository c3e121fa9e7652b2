"""One training run inside the host: copy the model, make the data, train, show previews, write the LoRA."""

import gc
import logging
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from comfy import model_management
from torch import Tensor

from ...samplers.schedule import is_flow
from ...training import optimizers
from ...training.checks import require
from ...training.config import TrainConfig, check_resume
from ...training.data import Examples, make_batch
from ...training.loop import Trainer
from ...training.method import Method, Training
from ...training.on_images import bound
from ...training.options import ConsistencyOptions
from ...training.path import Path as NoisePath
from ...training.roles import LoraRoles
from ...training.state import RunFolder
from ...training.validation import HeldOut
from .. import folders, model_copy
from ..data import dataset
from ..loading import loras
from ..progress import Progress, throw_if_cancelled
from ..rewards import clip, offload
from . import architectures, export, layers, memory, patches, roles
from .preview import Preview

HELD_OUT = 8  # samples of the held-out error
PRECISION = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """The student: its LoRA (kohya names) or whole network, its file's name in the host's list, the run's metrics."""

    tensors: dict[str, Tensor]
    name: str
    metrics: list[dict]
    parameters: int
    estimate: str  # what the run was expected to need
    error: float = 0.0  # of the wired MODEL's patches in the LoRA, where they went in by SVD


@dataclass(frozen=True)
class Job:
    """Everything a run is: the wired model with its text encoder and VAE, data, method, settings, and a name."""

    model: object
    clip: object
    vae: object
    spec: dataset.DataSpec
    method: Method
    config: TrainConfig
    run_name: str
    preview_prompts: list[str]
    start: str = ""  # name of a LoRA in a loras folder that the student starts from
    start_model: object = None  # a MODEL that a full-weight student starts from, instead of from the teacher

    @property
    def folder(self) -> RunFolder:
        return RunFolder(folders.inside(folders.output_folder() / "fewstep_runs", self.run_name, "Run name"))

    @property
    def source(self) -> dict[str, str]:
        """What else identifies the run, for resuming."""
        found = {"base": model_copy.fingerprint(self.model), "data": self.spec.digest()}
        if self.start:
            found["start"] = f"{self.start} {loras.sha256(self.start)[:16]}"
        if self.learns_through_vae:
            found["vae"] = model_copy.fingerprint_of(self.vae.first_stage_model)
        return {**found, "start_model": model_copy.fingerprint(self.start_model)} if self.start_model else found

    @property
    def learns_through_vae(self) -> bool:
        """Whether latents or losses come out of the VAE, not only previews."""
        encodes = self.spec.pictures is not None and self.method.images
        return self.vae is not None and bool(encodes or self.method.on_images)

    @property
    def guidance(self) -> float:
        """What a student with a guidance embedding is told where no term says it: the data's cfg, if it learns that."""
        told = self.method.options_of(ConsistencyOptions)
        low, high = (own.guidance_min for own in told), (own.guidance_max for own in told)
        return min(max(self.spec.teacher_cfg, *low), *high)

    def training(self, role: str) -> Training:
        """How a role trains: its rate, and its LoRA."""
        return self.method.training(role, self.config)

    def check(self) -> None:
        """Refuse what cannot work before anything is drawn or allocated."""
        require(self.clip is not None, "FewStepDistill: no text encoder came with the model. Connect a CLIP loader.")
        require(
            architectures.can_learn(self.model),
            "FewStepDistill: the model is no U-Net of SD1.5, SD2 or SDXL and no transformer of SD3 or Flux, the "
            "kinds it can train. Load one of these.",
        )
        model_copy.refuse_quantised(self.model.model.diffusion_model, "FewStepDistill")
        for role in self.method.roles:
            layers.chosen(self.model, self.training(role).layers)
        optimizers.check(self.config.optimizer)
        patches.check(self)
        require(
            self.vae is not None or not self.method.on_images,
            "FewStepDistill: rewards and masks look at pictures. Connect the vae input.",
        )
        require(
            not self.start or folders.full_path("loras", self.start) is not None,
            f'FewStepDistill: start_lora "{self.start}" is in no loras folder. Refresh the list, or take "none".',
        )
        roles.check(self)
        before = self.folder.read_config()
        if before is not None:
            now = {**self.source, **self.method.recipe(), **asdict(self.config)}
            changed = check_resume(before, now, f"FewStepDistill: the run {self.run_name!r}")
            if changed:
                log.info("%s: goes on with other settings: %s", self.run_name, ", ".join(changed))


def distil(job: Job) -> Result:
    """Train a student and write its file: a LoRA, or a whole network. The MODEL on the wire is not changed.

    Cancel raises the host's exception within one micro-batch; the run folder then holds the last step, to be resumed.
    """
    job.check()
    need = memory.check(job)
    try:
        with model_copy.training_mode():
            tensors, parameters, error = train(job)
    finally:  # the copy of the model dies here, not at the next garbage collection
        offload.take_back()
        gc.collect()
        model_management.soft_empty_cache()
    name = str(Path("fewstep") / f"{job.run_name}.safetensors")
    export.write(job, tensors, name)
    return Result(tensors, name, job.folder.metrics(), parameters, need.text(), error)


def train(job: Job) -> tuple[dict[str, Tensor], int, float]:
    """(the student's file, its number of parameters, the error of Result)."""
    config, making = job.config, Progress(job.spec.count)

    def on_item(done: int, total: int) -> None:
        throw_if_cancelled()
        making.show(done * job.spec.count // total)

    maker = dataset.Maker(
        job.model, job.clip, job.vae, config.seed, job.folder.path, min(config.batch_size, 16), on_item
    )
    examples = dataset.build(job.spec, maker, job.method.images)
    preview = Preview(job)
    copy = model_copy.TrainingCopy(job.model, PRECISION[config.precision], "FewStepDistill")
    student_roles, progress = roles.roles_of(job, copy, examples), Progress(config.steps)
    student, path = partial(student_roles, kept_role(config)), NoisePath(copy.sigmas(), is_flow(copy.sampling))
    best = Best(job, student_roles, held_out(job, path, examples, copy.device)) if config.keep == "best" else None

    def on_step(step: int, record: dict) -> None:
        last = step == config.steps
        if best and (last or step % config.save_every == 0):
            best.look(step)
        due = last or step % config.preview_every == 0
        memory.progress(job, step, record)
        progress.show(step, preview.picture(student, copy) if due else None)

    method = job.method
    if method.on_images:
        method = bound(method, clip.decoder(job.model, job.vae, copy.device, whole=config.precision == "fp16"))
    Trainer(
        config, method, student_roles, path, examples, job.folder, copy.device, job.source, throw_if_cancelled, on_step
    ).run()
    kept = best.weights() if best else student_roles.parameters(kept_role(config))
    tensors, error = export.as_file(job, kept)
    return tensors, sum(p.numel() for p in student_roles.parameters("student").values()), error


def kept_role(config: TrainConfig) -> str:
    """Which weights are the product: the moving average where there is one."""
    return "target" if config.ema_decay else "student"


@dataclass(frozen=True)
class Best:
    """Keeps the weights with the smallest held-out error in the run folder."""

    job: Job
    roles: LoraRoles
    held_out: HeldOut

    def look(self, step: int) -> None:
        role = kept_role(self.job.config)
        error = self.held_out.error(self.roles, role)
        if error < self.job.folder.best_error():
            self.job.folder.save_best(step, error, self.roles.parameters(role))

    def weights(self) -> dict[str, Tensor]:
        """The best ones, or those in memory when no step was measured (a finished run, queued again)."""
        if self.job.folder.best_error() == float("inf"):
            return self.roles.parameters(kept_role(self.job.config))
        return self.job.folder.load_best()[0]


def held_out(job: Job, path: NoisePath, examples: Examples, device: torch.device) -> HeldOut:
    """Eight samples of noise that no batch has, at the student's own timesteps."""
    batch = make_batch(examples, job.config.seed, 0, HELD_OUT, device, stream="held-out")
    timesteps = job.method.timesteps_for(min(4, job.method.most))
    return HeldOut(path, batch, timesteps, job.spec.teacher_cfg, 2 * job.spec.teacher_steps)
