"""What a run leaves behind: the student's file with its recipe, and the MODEL that carries it."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from torch import Tensor

from ...training.checks import require
from ...training.config import check_resume
from ...training.method import Method
from ...training.options import ConsistencyOptions
from ...weights import families, io, keys, plain_json, stream
from .. import architectures, folders, names
from ..loading import loras, models
from ..sockets import Model
from . import layers, patches
from .job import NODE, Job


def as_file(job: Job, weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], float]:
    """The kept weights as the file has them: a LoRA in kohya's names, or the network in the host's (ldm's); and the
    relative error of the wired MODEL's patches in it.

    A whole network takes the wired model's precision, so that the file and the returned MODEL are the same.
    """
    if job.trains_lora:
        return patches.product(
            job, keys.export_lora(weights, layers.lora_names(job.model), job.training("student").alpha)
        )
    kind = job.model.model.get_dtype()
    return {name: weight.detach().to("cpu", kind, copy=True) for name, weight in weights.items()}, 0.0


def name_of(job: Job) -> str:
    """What the loaders list the student's file by."""
    return str(Path("fewstep") / f"{job.run_name}.safetensors")


def target(job: Job) -> Path:
    """Where the student's file goes: the user's folder for LoRAs or for diffusion models.

    Raises ValueError for a run's name that is no file's, and when another run or node has saved a file of that name.
    """
    who = "FewStepDistill: run_name"
    names.plain_name(job.run_name, who)
    root = folders.lora_folder() if job.trains_lora else folders.network_folder()
    path = names.inside(root, name_of(job), who)
    require(
        not path.exists() or is_own(path, job),
        f'{who}: "{name_of(job)}" exists already and is not of this run. It is kept: choose another run name, or move '
        "that file away.",
    )
    return path


def is_own(path: Path, job: Job) -> bool:
    """Whether an earlier part of this very run wrote a file: its recipe is one that the run could be resumed from."""
    try:
        header = stream.read_header(path).metadata
        recipe = plain_json.parse(header[families.METADATA_KEY])["recipe"]
        check_resume(recipe, recipe_of(job), "The run")
        return header["modelspec.title"] == job.run_name
    except (ValueError, KeyError, TypeError):
        return False


def recipe_of(job: Job) -> dict:
    return {**job.method.recipe(), **asdict(job.config), **job.source}


def write(job: Job, tensors: dict[str, Tensor]) -> str:
    """Save the student with its recipe, over what a killed process left of that file; the name it is listed by."""
    path = target(job)
    io.sweep(path.parent, f"{path.name}.")
    io.save(tensors, path, metadata(job))
    return name_of(job)


def metadata(job: Job) -> dict[str, str]:
    """modelspec.* and ss_* for other readers, `fewstep` for ours: how to sample, and how it was made. Strings only."""
    spec = job.spec
    data = {"made": spec.summary(), "size": [spec.width, spec.height]}
    if spec.drawn:
        data |= {"teacher_steps": spec.teacher_steps, "teacher_cfg": spec.teacher_cfg}
    recipe = {
        "sampling": families.as_dict(settings(job)),
        "recipe": recipe_of(job),
        "data": data,
    }
    architecture = architectures.of(job.model).modelspec
    common = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": architecture,
        "modelspec.title": job.run_name,
        "modelspec.implementation": "FewStep",
        families.METADATA_KEY: json.dumps(recipe),
    }
    if not job.trains_lora:
        return common
    own = job.training("student")
    return common | {
        "modelspec.architecture": f"{architecture}/lora",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(own.rank),
        "ss_network_alpha": f"{own.alpha:g}",
    }


def settings(job: Job) -> families.Settings:
    """How the student is sampled."""
    method = job.method
    sampling = families.Settings(
        f"FewStep {method.name}",
        method.sampler,
        method.schedule,
        steps=(1, method.most) if method.schedule == "lcm" else (method.most, method.most),
        best_steps=min(method.most, 4),
        eta=method.eta,
        timesteps={str(len(own)): list(own) for own in method.timesteps},
    )
    started = families.from_metadata(loras.metadata(job.start, NODE)) if job.start else None
    if started is not None and keeps_steps(method, started):
        sampling = replace(started, family=f"{sampling.family} after {started.family}")
    notes = []
    if method.embeds_guidance:
        told = method.options_of(ConsistencyOptions)
        low, high = min(own.guidance_min for own in told), max(own.guidance_max for own in told)
        notes.append(f"It learnt guidance {low:g} to {high:g}; only FewStep Load Model sets it.")
    if not job.trains_lora and "model_sampling" in job.model.object_patches:
        notes.append("Its base had a ModelSampling node on it: put the same one on this model.")
    return replace(sampling, note=" ".join(notes))


def keeps_steps(method: Method, started: families.Settings) -> bool:
    """Whether a student that samples in 1-8 steps is only made better at one: Hyper-SD's unified LoRA (section 3.3)."""
    return method.timesteps == ((999,),) and started.schedule == "lcm" and started.steps[1] > 1


def student_model(job: Job, tensors: dict[str, Tensor]) -> Model:
    """The input MODEL's clone with the student on it: its LoRA beside those it had or in their place, or each weight
    replaced."""
    if job.trains_lora:
        return loras.apply(patches.carrier(job), None, tensors, 1.0)[0]
    student = job.model.clone()
    student.object_patches.pop(models.GUIDED_LAYER, None)  # its bias or its own embedding has it
    # 0 times the old weight and 1 times the new one: exact, and undone by the host like any patch.
    student.add_patches({f"diffusion_model.{name}": (tensor,) for name, tensor in tensors.items()}, 1.0, 0.0)
    projection = next((tensor for name, tensor in tensors.items() if name.endswith(models.PROJECTION)), None)
    return student if projection is None else models.with_guidance(student, projection, job.guidance)
