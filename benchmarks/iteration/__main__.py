"""A training step of each method, side by side in one process: `python run.py bench iteration [--methods LCM,DMD]`.

The tiny base on the CPU, LoRAs of rank 64 on every layer. Three variants take turns, step by step:

- beside: every LoRA beside its layer, W x + s B (A x), as peft runs it
- one product: (W + s B A) x where that is less work (training/lora_forward.py), what a user gets
- channels_last: the same with the network's weights in that memory format
"""

import argparse
import tempfile
from contextlib import contextmanager
from pathlib import Path

import torch
from fewstep.benchmarks.measure import in_turn, load
from fewstep.benchmarks.memory.__main__ import ROOT

VARIANTS = ("beside", "one product", "channels_last")


@contextmanager
def as_peft():
    """Every LoRA beside its layer."""
    from fewstep.training import lora_forward

    chosen = lora_forward.one_product
    lora_forward.one_product = lambda *_: False
    try:
        yield
    finally:
        lora_forward.one_product = chosen


def trainers(method, loaded: tuple, batch: int, rank: int) -> dict[str, object]:
    """{variant: a trainer of its own}, on the same data."""
    from fewstep.host import folders, model_copy
    from fewstep.host.data.dataset import DataSpec
    from fewstep.host.training import roles, run
    from fewstep.host.training.job import Job
    from fewstep.training.config import TrainConfig

    root = Path(tempfile.mkdtemp(prefix="fewstep-iteration-"))
    folders.output_folder, folders.lora_folder = lambda: root / "output", lambda: root / "loras"
    spec = DataSpec(("red apple", "robot", "tiger", "bear"), None, 96, 96, 16, 2, 2.0)
    config = TrainConfig(steps=10**6, batch_size=batch, rank=rank, alpha=float(rank), ema_decay=0.95)
    found = {}
    for variant in VARIANTS:
        job = Job(*loaded, spec, method, config, variant.replace(" ", "-"), [])
        job.folder.path.mkdir(parents=True, exist_ok=True)
        examples = run.examples_of(job)
        copy = model_copy.TrainingCopy(job.model, torch.float32, "bench iteration")
        if variant == "channels_last":
            copy.net.to(memory_format=torch.channels_last)
        found[variant] = run.trainer_of(job, copy, roles.roles_of(job, copy, examples), examples)
    return found


def steps_of(trainer, variant: str):
    """One step of the trainer, whose method then goes on to the next."""

    def step() -> None:
        if variant == "beside":
            with as_peft():
                trainer.train_step()
        else:
            trainer.train_step()
        trainer.step += 1

    return step


def measure(make, loaded: tuple, args: argparse.Namespace) -> dict:
    """{variant: Runs} of one method."""
    from fewstep.host import model_copy

    with torch.inference_mode(), model_copy.training_mode():
        own = trainers(make(), loaded, args.batch, args.rank)
        return in_turn({variant: steps_of(trainer, variant) for variant, trainer in own.items()}, args.repeats)


def main() -> None:
    from fewstep.host import headless

    args = options()
    torch.set_num_threads(args.threads)
    headless.start("cpu")
    from fewstep.benchmarks.gpu.cases import METHODS

    loaded = headless.load_checkpoint(ROOT / "assets" / "checkpoints" / "fewstep-tiny-sd.safetensors")
    print(f"batch {args.batch}, rank {args.rank}, {args.threads} thread(s), {args.repeats} steps of each, {load()}")
    print("| method | " + " | ".join(f"{variant}, s" for variant in VARIANTS) + " | one product | channels_last |")
    print("|" + "---|" * (len(VARIANTS) + 3), flush=True)
    for name in args.methods.split(";") if args.methods else METHODS:
        runs = measure(METHODS[name], loaded, args)
        seconds = [f"{runs[variant].median():.2f}" for variant in VARIANTS]
        faster = [f"{runs['beside'].ratio(runs[variant]):.2f} x" for variant in VARIANTS[1:]]
        print("| " + " | ".join([name, *seconds, *faster]) + " |", flush=True)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py bench iteration", description=__doc__.split("\n")[0])
    parser.add_argument("--methods", help="some of benchmarks/gpu/cases.py, split by semicolons; all")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
