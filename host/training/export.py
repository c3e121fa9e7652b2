"""What a run leaves behind: the student's file with its recipe, and the MODEL that carries it."""

import json
from dataclasses import asdict, replace

from torch import Tensor

from ...training.method import Method
from ...training.options import ConsistencyOptions
from ...weights import bases, families, io, keys
from .. import folders
from ..loading import loras, models
from . import architectures, patches

ARCHITECTURES = {  # modelspec's
    "SD2.x": "stable-diffusion-v2-768-v",
    **dict.fromkeys(bases.OF_SDXLS_WIDTH, "stable-diffusion-xl-v1-base"),
    "SD3": "stable-diffusion-3",
    "Flux": "flux-1-dev",
}


def as_file(job, weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], float]:
    """The kept weights as the file has them: a LoRA in kohya's names, or the network in the host's (ldm's); and the
    relative error of the wired MODEL's patches in it.

    A whole network takes the wired model's precision, so that the file and the returned MODEL are the same.
    """
    if job.config.train == "lora":
        names, alpha = architectures.lora_names(job.model), job.training("student").alpha
        return patches.product(job, keys.export_lora(weights, names, alpha))
    kind = job.model.model.get_dtype()
    return {name: weight.detach().to("cpu", kind, copy=True) for name, weight in weights.items()}, 0.0


def write(job, tensors: dict[str, Tensor], name: str) -> None:
    """Save the student in the user's folder for LoRAs or for diffusion models, with its recipe."""
    root = folders.lora_folder() if job.config.train == "lora" else folders.network_folder()
    io.save(tensors, folders.inside(root, name, "Run name"), metadata(job))


def metadata(job) -> dict[str, str]:
    """modelspec.* and ss_* for other readers, `fewstep` for ours: how to sample, and how it was made. Strings only."""
    spec, method, config = job.spec, job.method, job.config
    data = {"made": spec.summary(), "size": [spec.width, spec.height]}
    if spec.drawn:
        data |= {"teacher_steps": spec.teacher_steps, "teacher_cfg": spec.teacher_cfg}
    recipe = {
        "sampling": asdict(settings(job)),
        "recipe": {**method.recipe(), **asdict(config), **job.source},
        "data": data,
    }
    architecture = ARCHITECTURES.get(loras.base_of(job.model), "stable-diffusion-v1")
    found = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": architecture,
        "modelspec.title": job.run_name,
        "modelspec.implementation": "FewStep",
        families.METADATA_KEY: json.dumps(recipe),
    }
    if config.train != "lora":
        return found
    own = job.training("student")
    return found | {
        "modelspec.architecture": f"{architecture}/lora",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(own.rank),
        "ss_network_alpha": f"{own.alpha:g}",
    }


def settings(job) -> families.Settings:
    """How the student is sampled."""
    method = job.method
    found = families.Settings(
        f"FewStep {method.name}",
        method.sampler,
        method.schedule,
        steps=(1, method.most) if method.schedule == "lcm" else (method.most, method.most),
        best_steps=min(method.most, 4),
        eta=method.eta,
        timesteps={str(len(found)): list(found) for found in method.timesteps},
    )
    started = families.from_metadata(loras.metadata(job.start, "FewStepDistill")) if job.start else None
    if started is not None and keeps_steps(method, started):
        found = replace(started, family=f"{found.family} after {started.family}")
    notes = []
    if method.embeds_guidance:
        told = method.options_of(ConsistencyOptions)
        low, high = min(own.guidance_min for own in told), max(own.guidance_max for own in told)
        notes.append(f"It learnt guidance {low:g} to {high:g}; only FewStep Load Model sets it.")
    if job.config.train != "lora" and "model_sampling" in job.model.object_patches:
        notes.append("Its base had a ModelSampling node on it: put the same one on this model.")
    return replace(found, note=" ".join(notes))


def keeps_steps(method: Method, started: families.Settings) -> bool:
    """Whether a student that samples in 1-8 steps is only made better at one: Hyper-SD's unified LoRA (section 3.3)."""
    return method.timesteps == ((999,),) and started.schedule == "lcm" and started.steps[1] > 1


def student_model(job, tensors: dict[str, Tensor]):
    """The input MODEL's clone with the student on it: its LoRA beside those it had or in their place, or each weight
    replaced."""
    if job.config.train == "lora":
        return loras.apply(patches.carrier(job), None, tensors, 1.0)[0]
    student = job.model.clone()
    student.object_patches.pop(models.GUIDED_LAYER, None)  # its bias or its own embedding has it
    # 0 times the old weight and 1 times the new one: exact, and undone by the host like any patch.
    student.add_patches({f"diffusion_model.{name}": (tensor,) for name, tensor in tensors.items()}, 1.0, 0.0)
    projection = next((tensor for name, tensor in tensors.items() if name.endswith(models.PROJECTION)), None)
    return student if projection is None else models.with_guidance(student, projection, job.guidance)
