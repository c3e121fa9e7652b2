"""One stage as a run of FewStep Distill in this process, its runs and LoRAs under one folder."""

import os
from pathlib import Path

import torch

from .table import GUIDANCE, Stage

COMMON = {"batch_size": 32, "rank": 64, "alpha": 64.0, "save_every": 40, "keep_last": 1, "preview_every": 40}
TEACHER_STEPS = 8  # in which the base draws its latents
PREVIEWS = ["red apple, 3d style", "robot, flat style", "tiger, 3d style, on a green background", "bear, flat style"]


def use(folder: Path) -> None:
    """Let the started host's runs, and the LoRAs that they write and list, lie under `folder`."""
    from fewstep.host import folders

    folder.mkdir(parents=True, exist_ok=True)
    folders.output_folder = lambda: folder / "output"
    folders.lora_folder = lambda: folder / "loras"
    folders.folder_paths.add_model_folder_path("loras", str(folder / "loras"))


def file_of(name: str, folder: Path) -> Path:
    return folder / "loras" / listed(name)


def listed(name: str) -> str:
    """What the host lists a run's LoRA by."""
    return f"fewstep/{name}.safetensors"


def run_stage(name: str, stage: Stage, data: dict, loaded: tuple, folder: Path, start: str = "", **settings) -> Path:
    """The file of the stage's LoRA, trained where it is not there yet; a stopped run goes on.

    data: `prompts` and `count`, or `host_data`, of a DataSpec; loaded: (MODEL, CLIP, VAE); start: a listed LoRA;
    settings: of TrainConfig, over the stage's.
    """
    from fewstep.host.data.dataset import DataSpec
    from fewstep.host.training import run
    from fewstep.host.training.job import Job
    from fewstep.training.config import TrainConfig

    if file_of(name, folder).exists():
        return file_of(name, folder)
    share_latents(name, folder)
    common = {"prompts": (), "pictures": None, "width": 96, "height": 96, "count": 0}
    spec = DataSpec(**{**common, "teacher_steps": TEACHER_STEPS, "teacher_cfg": GUIDANCE, **data})
    config = TrainConfig(**{**COMMON, **stage.settings, **settings})
    with torch.inference_mode():
        job = Job(*loaded, spec, stage.method, config, name, PREVIEWS, start)
        run.distil(job)
    print(f"{name}: {job.folder.metrics()[-1]}", flush=True)
    return file_of(name, folder)


def share_latents(name: str, folder: Path) -> None:
    """The latents that one stage drew serve the others: same base, prompts and seed."""
    runs = folder / "output" / "fewstep_runs"
    (runs / name).mkdir(parents=True, exist_ok=True)
    for file in runs.glob("*/latents-*.safetensors"):
        if not (runs / name / file.name).exists():
            os.link(file, runs / name / file.name)


def captions() -> tuple[str, ...]:
    from fewstep.host import folders

    return tuple((folders.PROMPTS / "tiny-sd.txt").read_text(encoding="utf-8").splitlines())
