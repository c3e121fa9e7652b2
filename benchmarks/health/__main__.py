"""Thousands of real steps of every method on the tiny base: is memory flat, is every loss finite?

    python run.py bench health [--methods LCM,DMD] [--steps 2000] [--seconds 380]

The runs lie in output/health and go on where they stopped: after --seconds the run is cancelled as a user would, and
the same command goes on. Prints a row for each method that has begun.
"""

import argparse
import json
import math
import statistics
import threading
from pathlib import Path

import torch
from fewstep.benchmarks import measure
from fewstep.benchmarks.methods import METHODS, average

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = ("red apple, 3d style", "robot, flat style, on a blue background", "green leaf", "blue car, 3d style")


def job_of(method: str, tiny: tuple, args: argparse.Namespace):
    from fewstep.host.data import dataset
    from fewstep.host.training.job import Job
    from fewstep.training.config import TrainConfig

    spec = dataset.DataSpec(PROMPTS, None, args.side, args.side, 8, 8, 3.0)
    way = METHODS[method]()
    settings = {"steps": args.steps, "batch_size": args.batch, "rank": 8, "preview_every": 500, "save_every": 250}
    return Job(*tiny, spec, way, TrainConfig(**settings, **average(way)), method, list(PROMPTS[:1]))


def watch(folder: Path, ended: threading.Event) -> None:
    """Every few seconds (step, GB of anonymous memory) into the run's folder; a new list for each process."""
    seen, metrics = [], folder / "metrics.jsonl"
    while not ended.wait(3):
        steps = sum(1 for _ in metrics.open()) if metrics.exists() else 0
        seen.append((steps, measure.anonymous()))
        (folder / f"memory-{seen[0][0]}.json").write_text(json.dumps(seen)) if folder.exists() else None


def train(method: str, tiny: tuple, args: argparse.Namespace, folder: Path) -> None:
    """One piece of a run, or the rest of it."""
    from comfy import model_management
    from fewstep.host.training import run

    ended, cancelled = threading.Event(), threading.Event()

    def cancel() -> None:
        cancelled.set()
        model_management.interrupt_current_processing()

    watcher = threading.Thread(target=watch, args=(folder, ended))
    timer = threading.Timer(min(args.seconds, threading.TIMEOUT_MAX), cancel)
    timer.daemon = True
    watcher.start(), timer.start()
    try:
        with torch.inference_mode():
            run.distil(job_of(method, tiny, args))
    except Exception:  # hosts keep their exception of a pressed cancel button in different places
        if not cancelled.is_set():
            raise
        print(f"{method}: cancelled after {args.seconds} s", flush=True)
    finally:
        timer.cancel(), ended.set(), watcher.join()


def row(method: str, folder: Path) -> str:
    """Steps, losses, and how much memory grew from a tenth of each piece to its end."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    numbers = [value for record in records for value in record.values() if isinstance(value, float)]
    losses = [record["loss"] for record in records if "loss" in record]
    first, last = (statistics.mean(part) if part else math.nan for part in (losses[:100], losses[-100:]))
    grown, most = [], 0.0
    for file in folder.glob("memory-*.json"):
        seen = [gb for step, gb in json.loads(file.read_text()) if step]
        most = max([most, *seen])
        if len(seen) > 20:
            tail = len(seen) // 10
            grown.append(1000 * (statistics.median(seen[-tail:]) - statistics.median(seen[tail : 2 * tail])))
    finite = "yes" if all(map(math.isfinite, numbers)) else "NO"
    memory = ", ".join(f"{mb:+.0f}" for mb in grown) or "-"
    return f"| {method} | {len(records)} | {finite} | {first:.4g} | {last:.4g} | {1000 * most:.0f} | {memory} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="run.py bench health", description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=1e6, help="a method is cancelled after so many")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--side", type=int, default=64, help="of the pictures, in pixels")
    args = parser.parse_args()
    from fewstep.host import headless

    place = ROOT / "output" / "health"
    headless.start(workdir=place)
    from fewstep.host import folders

    folders.folder_paths.set_output_directory(str(place))
    tiny = headless.load_checkpoint(folders.ASSETS / "checkpoints" / "fewstep-tiny-sd.safetensors")
    runs = {method: place / "fewstep_runs" / method for method in args.methods.split(",")}
    for method, folder in runs.items():
        train(method, tiny, args, folder)
    head = "method | steps | all finite | loss, first 100 | loss, last 100 | MB at most | MB grown in each piece"
    print(f"| {head} |\n|{'---|' * 7}")
    print("\n".join(row(m, folder) for m, folder in runs.items() if (folder / "metrics.jsonl").exists()))


if __name__ == "__main__":
    main()
