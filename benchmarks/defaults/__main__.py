"""Held-out trajectory error and output deviation before and after short runs, at old and new defaults.

python run.py bench defaults --steps 100 --out FILE
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import fmean

import torch

from ..quality.sample import CHECKPOINT
from .rows import ROWS, Row

SAMPLES, TEACHER_STEPS, GUIDANCE = 128, 16, 2.0


def job_of(row: Row, args: argparse.Namespace, folder: Path, loaded: tuple):
    from fewstep.host import folders
    from fewstep.host.data import dataset
    from fewstep.host.training.job import Job
    from fewstep.training.config import TrainConfig

    folders.output_folder, folders.lora_folder = lambda: folder, lambda: folder
    prompts = tuple((folders.PROMPTS / "tiny-sd.txt").read_text(encoding="utf-8").splitlines())
    spec = dataset.DataSpec(prompts[:: max(len(prompts) // args.images, 1)], None, 96, 96, args.images, 8, GUIDANCE)
    settings = {"steps": args.steps, "batch_size": args.batch, "learning_rate": row.rate, "ema_decay": 0.95}
    settings |= {"rank": 64, "alpha": 64.0, "seed": args.seed, "save_every": 10_000, "preview_every": 10_000}
    return Job(*loaded, spec, row.method, TrainConfig(**settings), "row", [], row.start)


def measure(row: Row, args: argparse.Namespace, loaded: tuple) -> dict:
    """{"before": errors, "after": errors, and what the run's last quarter logged}."""
    from fewstep.host import model_copy
    from fewstep.host.data import dataset
    from fewstep.host.training import roles as networks
    from fewstep.training.data import make_batch
    from fewstep.training.loop import Trainer
    from fewstep.training.path import Path as NoisePath
    from fewstep.training.validation import HeldOut

    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        job = job_of(row, args, Path(folder), loaded)
        maker = dataset.Maker(job.model, job.clip, job.vae, args.seed, args.cache, 16)
        examples = dataset.build(job.spec, maker, job.method.images)
        with model_copy.training_mode():
            copy = model_copy.TrainingCopy(job.model)
            roles, path = networks.roles_of(job, copy, examples), NoisePath(copy.sigmas())
            held = make_batch(examples, args.seed, 0, SAMPLES, copy.device, stream="held-out")
            errors = [HeldOut(path, held, list(own), GUIDANCE, TEACHER_STEPS) for own in row.timesteps]
            before = [round(error.error(roles, "student"), 4) for error in errors]
            Trainer(job.config, job.method, roles, path, examples, job.folder, copy.device).run()
            after = [round(error.error(roles, "target"), 4) for error in errors]
            metrics = job.folder.metrics()[-args.steps // 4 :]
            names = ("discriminator_accuracy", "generated_std", "score", "student_gradient")
            logged = {name: [record[name] for record in metrics if name in record] for name in names}
    return {"before": before, "after": after} | {k: round(fmean(v), 4) for k, v in logged.items() if v}


def main() -> None:
    from fewstep.host import headless

    args = options()
    headless.start()
    results = json.loads(args.out.read_text()) if args.out.exists() else {}
    loaded = headless.load_checkpoint(CHECKPOINT)
    for row in ROWS:
        if row.name not in results and (not args.only or args.only in row.name):
            results[row.name] = measure(row, args, loaded)
            print(row.name, results[row.name], flush=True)
            args.out.write_text(json.dumps(results, indent=1))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench defaults", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--images", type=int, default=512, help="that the teacher draws to learn from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="rows whose name has this")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "fewstep-defaults")
    parser.add_argument("--out", type=Path, default=Path("output") / "defaults.json")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    return args


if __name__ == "__main__":
    main()
