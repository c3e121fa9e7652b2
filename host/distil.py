"""One training run inside the host: copy the model, make the data, train, show previews, write the LoRA."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..samplers.lcm import sample_lcm
from ..samplers.schedule import SCHEDULES, sigmas_of
from ..training.config import TrainConfig
from ..training.data import join_conds
from ..training.loop import Trainer
from ..training.methods import Method
from ..training.path import Path as NoisePath
from ..training.roles import LoraRoles, checkpoint_blocks
from ..training.state import RunFolder
from ..weights import families, io, keys
from . import conditioning, dataset, folders, loras, models, sampling
from .progress import Progress, throw_if_cancelled

PRECISION = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PREVIEW_STEPS = 4
ARCHITECTURES = {1024: "stable-diffusion-v2-768-v", 2048: "stable-diffusion-xl-v1-base"}  # by text context


@dataclass(frozen=True)
class Result:
    """The student: its LoRA (kohya names), the file's name in the loras list, and the run's metrics."""

    tensors: dict[str, Tensor]
    name: str
    metrics: list[dict]
    parameters: int


def fingerprint(net: torch.nn.Module) -> str:
    """A short hash of a network's weights (a sample of each), to know the teacher of a run again."""
    digest = hashlib.blake2b(digest_size=8)
    for name, parameter in net.named_parameters():
        some = parameter.detach().flatten()[:: max(parameter.numel() // 16, 1)][:16].float().cpu()
        digest.update(f"{name}{tuple(parameter.shape)}".encode() + some.numpy().tobytes())
    return digest.hexdigest()


def distil(
    model,
    clip,
    vae,
    spec: dataset.DataSpec,
    method: Method,
    config: TrainConfig,
    run_name: str,
    preview_prompts: list[str],
) -> Result:
    """Train a LoRA student of `model` and write it to the loras folder. The MODEL on the wire is not changed.

    Cancel raises the host's exception within one micro-batch; the run folder then holds the last step, to be resumed.
    """
    folder = folders.inside(folders.output_folder() / "fewstep_runs", run_name, "Run name")
    making = Progress(spec.count)

    def on_item(done: int, total: int) -> None:
        throw_if_cancelled()
        making.show(done * spec.count // total)

    with models.training_mode():
        examples = dataset.build(spec, model, clip, vae, config.seed, folder, on_item)
        copy = models.TrainingCopy(model, PRECISION[config.precision], "FewStepDistill")
        source = {"base": fingerprint(copy.net), "data": spec.digest()}
        roles = lora_roles(model, copy, method, config)
        path = NoisePath(copy.sigmas(), models.is_flow(copy.sampling))
        progress = Progress(config.steps)
        preview = Preview(model, clip, vae, spec, copy, roles, method, config, preview_prompts)

        def on_step(step: int, record: dict) -> None:
            due = step % config.preview_every == 0 or step == config.steps
            progress.show(step, preview.picture() if due else None)

        trainer = Trainer(
            config, method, roles, path, examples, RunFolder(folder), copy.device, source, throw_if_cancelled, on_step
        )
        trainer.run()
        tensors = keys.export_lora(roles.parameters(kept_role(config)), models.diffusers_names(model), config.alpha)
    name = str(Path("fewstep") / f"{run_name}.safetensors")
    write(tensors, name, metadata(model, run_name, method, config, spec, source))
    return Result(tensors, name, trainer.folder.metrics(), sum(p.numel() for p in roles.parameters("student").values()))


def kept_role(config: TrainConfig) -> str:
    """Which weights are the product: the moving average where there is one."""
    return "target" if config.ema_decay else "student"


def lora_roles(model, copy: models.TrainingCopy, method: Method, config: TrainConfig) -> LoraRoles:
    names = [role for role in method.roles if role != "target" or config.ema_decay]
    roles = LoraRoles(copy.net, copy.denoise, models.lora_targets(model), config.rank, config.alpha, names, config.seed)
    if config.gradient_checkpointing:
        checkpoint_blocks(roles, models.unet_blocks(copy.net))
    return roles


class Preview:
    """Pictures of the student by the sampler it is for, from the same noise every time."""

    def __init__(self, model, clip, vae, spec, copy, roles, method: Method, config: TrainConfig, prompts: list[str]):
        self.model, self.vae, self.copy, self.roles = model, vae, copy, roles
        self.role, self.config = kept_role(config), config
        self.sigmas = sigmas_of(copy.sampling, SCHEDULES[method.schedule](PREVIEW_STEPS)).to(copy.device)
        self.model_sampling = copy.sampling  # what the sampler asks of a model
        self.conds, self.noise = [], None
        if vae is not None and prompts:
            self.conds = conditioning.encode_prompts(model, clip, prompts, spec.height, spec.width)
            shape = (model.model.latent_format.latent_channels, spec.height // 8, spec.width // 8)
            self.noise = sampling.unit_noise(shape, config.seed, list(range(len(prompts)))).to(copy.device)

    def __call__(self, x: Tensor, sigma: Tensor, **_) -> Tensor:
        return self.roles(self.role, x, sigma, join_conds(self.conds, x.device))

    def picture(self) -> Image.Image | None:
        """The pictures side by side, or None without a VAE or prompts."""
        if self.noise is None:
            return None
        start = self.copy.sampling.noise_scaling(
            self.sigmas[0], self.noise.clone(), torch.zeros_like(self.noise), max_denoise=True
        )
        latents = sample_lcm(self, start, self.sigmas, seed=self.config.seed)
        with torch.inference_mode():
            pixels = self.vae.decode(self.model.model.process_latent_out(latents.cpu()))
        row = torch.cat(list(pixels.clamp(0, 1)), dim=1)  # [h, n w, 3]
        return Image.fromarray((row * 255).round().byte().cpu().numpy())


def write(tensors: dict, name: str, found: dict[str, str]) -> None:
    """Save the LoRA under the user's loras folder, with its recipe."""
    io.save(tensors, folders.inside(folders.lora_folder(), name, "Run name"), found)


def metadata(model, title: str, method: Method, config: TrainConfig, spec: dataset.DataSpec, source: dict) -> dict:
    """modelspec.* and ss_* for other readers, `fewstep` for ours: how to sample, and how it was made. Strings only."""
    settings = families.Settings(f"FewStep {method.name}", method.sampler, method.schedule, (1, 8), 4)
    data = {"made": spec.summary(), "size": [spec.width, spec.height]}
    if not spec.folder:
        data |= {"teacher_steps": spec.teacher_steps, "teacher_cfg": spec.teacher_cfg}
    recipe = {"sampling": asdict(settings), "recipe": {**method.recipe(), **asdict(config), **source}, "data": data}
    architecture = ARCHITECTURES.get(loras.model_context(model), "stable-diffusion-v1")
    return {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{architecture}/lora",
        "modelspec.title": title,
        "modelspec.implementation": "FewStep",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(config.rank),
        "ss_network_alpha": f"{config.alpha:g}",
        families.METADATA_KEY: json.dumps(recipe),
    }


def student_model(model, tensors: dict[str, Tensor]):
    """The input MODEL's clone with the student's LoRA on it."""
    return loras.apply(model, None, tensors, 1.0)[0]
