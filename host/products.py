"""What a run leaves behind: the student's file with its recipe, and the MODEL that carries it."""

import json
from dataclasses import asdict

from torch import Tensor

from ..weights import families, io
from . import folders, loras, over

ARCHITECTURES = {1024: "stable-diffusion-v2-768-v", 2048: "stable-diffusion-xl-v1-base"}  # by text context


def write(tensors: dict, name: str, found: dict[str, str]) -> None:
    """Save the LoRA under the user's loras folder, with its recipe."""
    io.save(tensors, folders.inside(folders.lora_folder(), name, "Run name"), found)


def metadata(job) -> dict[str, str]:
    """modelspec.* and ss_* for other readers, `fewstep` for ours: how to sample, and how it was made. Strings only."""
    spec, method, config = job.spec, job.method, job.config
    settings = families.Settings(
        f"FewStep {method.name}",
        method.sampler,
        method.schedule,
        steps=(1, method.most) if method.schedule == "lcm" else (method.most, method.most),
        best_steps=min(method.most, 4),
        eta=method.eta,
        timesteps={str(len(found)): list(found) for found in method.timesteps},
    )
    data = {"made": spec.summary(), "size": [spec.width, spec.height]}
    if spec.drawn:
        data |= {"teacher_steps": spec.teacher_steps, "teacher_cfg": spec.teacher_cfg}
    recipe = {"sampling": asdict(settings), "recipe": {**method.recipe(), **asdict(config), **job.source}, "data": data}
    architecture = ARCHITECTURES.get(loras.model_context(job.model), "stable-diffusion-v1")
    return {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{architecture}/lora",
        "modelspec.title": job.run_name,
        "modelspec.implementation": "FewStep",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(config.rank),
        "ss_network_alpha": f"{config.alpha:g}",
        families.METADATA_KEY: json.dumps(recipe),
    }


def student_model(job, tensors: dict[str, Tensor]):
    """The input MODEL's clone with the student's LoRA on it: beside the LoRAs it had, or in their place."""
    return loras.apply(over.carrier(job), None, tensors, 1.0)[0]
