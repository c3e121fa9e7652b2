"""Train the shipped students again, or one of them: `python run.py recipe students --only one-step-dmd`.

A stage that was stopped goes on where it was; one that is done is not trained again. Everything lies under --folder.
The later stages were trained on a GPU (--device auto) in large batches; on a CPU they take hours each.
"""

import argparse
import json
from pathlib import Path

from ...weights import families, io
from . import pictures
from .runner import captions, file_of, listed, run_stage, use
from .table import STAGES, Stage

ROOT = Path(__file__).resolve().parents[2]


def train(name: str, folder: Path, loaded: tuple, limit: int | None) -> Path:
    """Run a stage after those that it starts from; the file of its LoRA."""
    stage = STAGES[name]
    if file_of(name, folder).exists():
        return file_of(name, folder)
    if stage.start:
        train(stage.start, folder, loaded, limit)
    if stage.pictures:
        data = {"host_data": pictures.host_data(*loaded, folder / "pictures.safetensors")}
    else:
        data = {"prompts": captions(), "count": stage.count if limit is None else 64}
    shorter = {} if limit is None else {"steps": min(stage.settings["steps"], limit), "batch_size": 4}
    return run_stage(name, stage, data, loaded, folder, listed(stage.start) if stage.start else "", **shorter)


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
    from fewstep.host import headless

    args = options()
    headless.start(args.device)
    use(args.folder)
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
