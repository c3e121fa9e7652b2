"""Train the shipped students again, or one of them: `python run.py recipe students --only one-step-dmd`.

A stage that was stopped goes on where it was; one that is done is not trained again. Everything lies under --folder.
The later stages were trained on a GPU (--device auto) in large batches; on a CPU they take hours each.
"""

import argparse
import json
import os
from pathlib import Path

import torch

from ...weights import families, io
from . import pictures
from .table import GUIDANCE, STAGES, Stage

ROOT = Path(__file__).resolve().parents[2]
COMMON = {"batch_size": 32, "rank": 64, "alpha": 64.0, "save_every": 40, "keep_last": 1, "preview_every": 40}
TEACHER_STEPS = 8  # in which the base draws its latents
PREVIEWS = ["red apple, 3d style", "robot, flat style", "tiger, 3d style, on a green background", "bear, flat style"]


def file_of(name: str, folder: Path) -> Path:
    return folder / "loras" / "fewstep" / f"{name}.safetensors"


def train(name: str, folder: Path, loaded: tuple, limit: int | None) -> Path:
    """Run a stage after those that it starts from; the file of its LoRA."""
    from fewstep.host.data.dataset import DataSpec
    from fewstep.host.training import run
    from fewstep.host.training.job import Job
    from fewstep.training.config import TrainConfig

    stage = STAGES[name]
    if file_of(name, folder).exists():
        return file_of(name, folder)
    if stage.start:
        train(stage.start, folder, loaded, limit)
    share_latents(name, folder)
    settings = {**COMMON, **stage.settings}
    if limit is not None:
        settings |= {"steps": min(settings["steps"], limit), "batch_size": 4}
    if stage.pictures:
        own = pictures.host_data(*loaded, folder / "pictures.safetensors")
        spec = DataSpec((), None, 96, 96, 0, TEACHER_STEPS, GUIDANCE, host_data=own)
    else:
        count = stage.count if limit is None else 64
        spec = DataSpec(captions(), None, 96, 96, count, TEACHER_STEPS, GUIDANCE)
    start = f"fewstep/{stage.start}.safetensors" if stage.start else ""
    with torch.inference_mode():
        job = Job(*loaded, spec, stage.method, TrainConfig(**settings), name, PREVIEWS, start)
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


def publish(stage: Stage, file: Path, out: Path) -> None:
    """Write the stage's LoRA in fp16 under its shipped name; how it is sampled and was made stands in its metadata."""
    tensors, metadata = io.load(file)
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    recipe = json.loads(metadata[families.METADATA_KEY])
    sampling = recipe["sampling"]
    sampling["timesteps"] |= {str(count): list(own) for count, own in stage.timesteps.items()}
    every = [*sampling["steps"], *stage.timesteps]
    sampling["steps"] = [min(every), max(every)]
    about = {"modelspec.title": stage.title, families.METADATA_KEY: json.dumps(recipe)}
    io.save(half, out / f"{stage.title}.safetensors", {**metadata, **about})


def main() -> None:
    from fewstep.host import folders, headless

    args = options()
    headless.start(args.device)
    args.folder.mkdir(parents=True, exist_ok=True)
    folders.output_folder = lambda: args.folder / "output"
    folders.lora_folder = lambda: args.folder / "loras"
    folders.folder_paths.add_model_folder_path("loras", str(args.folder / "loras"))
    loaded = headless.load_checkpoint(ROOT / "assets" / "checkpoints" / "fewstep-tiny-sd.safetensors")
    for name in args.only or STAGES:
        file = train(name, args.folder, loaded, args.limit)
        if STAGES[name].title and args.limit is None:
            publish(STAGES[name], file, args.out)
            print(f"{name}: {args.out / STAGES[name].title}.safetensors", flush=True)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="recipe students", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=STAGES, help="these students, after what they start from")
    parser.add_argument("--folder", type=Path, default=ROOT / "output" / "students", help="of the runs")
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "loras")
    parser.add_argument("--device", choices=("cpu", "auto"), default="cpu", help="auto: where the host finds a GPU")
    parser.add_argument("--limit", type=int, help="steps of a stage at most, to try the recipe out; publishes nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
