"""One training run inside the host: copy the model, make the data, train, show previews, write the LoRA."""

import gc
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from comfy import model_management
from torch import Tensor

from ..samplers.schedule import SCHEDULES, is_flow
from ..training import optimizers
from ..training.config import TrainConfig, check_resume, require
from ..training.data import Examples, make_batch
from ..training.heldout import HeldOut
from ..training.loop import Trainer
from ..training.methods import Method
from ..training.on_pictures import bound
from ..training.path import Path as NoisePath
from ..training.roles import LoraRoles, checkpoint_blocks
from ..training.state import RunFolder
from ..weights import keys
from . import dataset, folders, layers, loras, models, over, products, rewards
from .preview import Preview
from .progress import Progress, throw_if_cancelled

HELD_OUT = 8  # samples of the held-out error
PRECISION = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Result:
    """The student: its LoRA (kohya names), the file's name in the loras list, and the run's metrics."""

    tensors: dict[str, Tensor]
    name: str
    metrics: list[dict]
    parameters: int


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

    @property
    def folder(self) -> RunFolder:
        return RunFolder(folders.inside(folders.output_folder() / "fewstep_runs", self.run_name, "Run name"))

    @property
    def source(self) -> dict[str, str]:
        """What else identifies the run, for resuming."""
        found = {"base": models.fingerprint(self.model), "data": self.spec.digest()}
        return {**found, "start": f"{self.start} {loras.sha256(self.start)[:16]}"} if self.start else found

    def check(self) -> None:
        """Refuse what cannot work before anything is drawn or allocated."""
        require(self.clip is not None, "FewStepDistill: no text encoder came with the model. Connect a CLIP loader.")
        require(
            bool(models.lora_targets(self.model)),
            "FewStepDistill: the model is no U-Net of SD1.5, SD2 or SDXL, the only kinds it can train yet. Load one.",
        )
        layers.chosen(self.model, self.config.layers)
        optimizers.check(self.config.optimizer)
        over.check(self)
        require(
            self.vae is not None or not self.method.on_pictures,
            "FewStepDistill: rewards and masks look at pictures. Connect the vae input.",
        )
        require(
            not self.start or folders.full_path("loras", self.start) is not None,
            f'FewStepDistill: start_lora "{self.start}" is in no loras folder. Refresh the list, or take "none".',
        )
        before = self.folder.read_config()
        if before is not None:
            now = {**self.source, **self.method.recipe(), **asdict(self.config)}
            check_resume(before, now, self.run_name)


def distil(job: Job) -> Result:
    """Train a LoRA student and write it to the loras folder. The MODEL on the wire is not changed.

    Cancel raises the host's exception within one micro-batch; the run folder then holds the last step, to be resumed.
    """
    job.check()
    try:
        with models.training_mode():
            tensors, parameters = train(job)
    finally:  # the copy of the model dies here, not at the next garbage collection
        gc.collect()
        model_management.soft_empty_cache()
    name = str(Path("fewstep") / f"{job.run_name}.safetensors")
    products.write(tensors, name, products.metadata(job))
    return Result(tensors, name, job.folder.metrics(), parameters)


def train(job: Job) -> tuple[dict[str, Tensor], int]:
    """(the student's LoRA in kohya's names, its number of parameters)."""
    config, making = job.config, Progress(job.spec.count)

    def on_item(done: int, total: int) -> None:
        throw_if_cancelled()
        making.show(done * job.spec.count // total)

    maker = dataset.Maker(
        job.model, job.clip, job.vae, config.seed, job.folder.path, min(config.batch_size, 16), on_item
    )
    examples = dataset.build(job.spec, maker, job.method.pictures)
    preview = Preview(job)
    copy = models.TrainingCopy(job.model, PRECISION[config.precision], "FewStepDistill")
    roles, progress = lora_roles(job, copy, examples), Progress(config.steps)
    student, path = partial(roles, kept_role(config)), NoisePath(copy.sigmas(), is_flow(copy.sampling))
    best = Best(job, roles, held_out(job, path, examples, copy.device)) if config.keep == "best" else None

    def on_step(step: int, record: dict) -> None:
        last = step == config.steps
        if best and (last or step % config.save_every == 0):
            best.look(step)
        due = last or step % config.preview_every == 0
        progress.show(step, preview.picture(student, copy) if due else None)

    method = job.method
    if method.on_pictures:
        method = bound(method, rewards.decoder(job.model, job.vae, copy.device))
    Trainer(
        config, method, roles, path, examples, job.folder, copy.device, job.source, throw_if_cancelled, on_step
    ).run()
    kept = best.weights() if best else roles.parameters(kept_role(config))
    tensors = over.product(job, keys.export_lora(kept, models.diffusers_names(job.model), config.alpha))
    return tensors, sum(p.numel() for p in roles.parameters("student").values())


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
    steps = min(4, job.method.most)
    listed = next((list(found) for found in job.method.timesteps if len(found) == steps), None)
    timesteps = listed or SCHEDULES[job.method.schedule](steps)
    return HeldOut(path, batch, timesteps, job.spec.teacher_cfg, 2 * job.spec.teacher_steps)


def lora_roles(job: Job, copy: models.TrainingCopy, examples: Examples) -> LoraRoles:
    """Every role of the method on the one copy; the target only with a moving average."""
    config = job.config
    names = tuple(role for role in job.method.roles if role != "target" or config.ema_decay)
    targets = layers.chosen(job.model, config.layers)
    roles = LoraRoles(copy.net, copy.denoise, targets, config.rank, config.alpha, names, config.seed)
    if job.start:
        start_from(job, roles)
    if config.gradient_checkpointing:
        checkpoint_blocks(roles, models.unet_layers(copy.net))
    if "discriminator" in job.method.roles:
        one = make_batch(examples, config.seed, 0, 1, copy.device)
        example = (one.noise, torch.ones(1, device=copy.device), one.cond)
        roles.add_discriminator(models.feature_layers(copy.net), example, config.seed, job.method.judge)
    return roles


def start_from(job: Job, roles: LoraRoles) -> None:
    """Let the adapters begin as an earlier LoRA instead of as the teacher; the critic still begins as the teacher."""
    tensors, found = loras.read(job.start, "FewStepDistill")
    over.check_start(job, found, job.start)
    layers.check_start(job.model, job.config.layers, tensors, job.start)
    names, scale = models.diffusers_names(job.model), job.config.alpha / job.config.rank
    for role in (role for role in roles.roles if role != "critic"):
        try:
            found, wanted = keys.import_lora(tensors, roles.parameters(role), names, scale)
        except ValueError as error:
            raise ValueError(f'FewStepDistill: "{job.start}": {error}') from error
        require(
            found >= 0.9 * wanted,
            f'FewStepDistill: "{job.start}" has only {found} of the {wanted} modules to train. Start from a LoRA '
            "of this model that covers its convolutions too, or from none.",
        )
