"""Everything that only a GPU can answer: `python run.py bench gpu`. `--small` tries it out on any machine.

Training: seconds an iteration (median after two, in fp32 where the row says so, else autocast) and the peak of the
allocator's memory during the run, beside the estimate that users are shown; batch 1, a LoRA of rank 64, random weights.
Sampling: our samplers beside the host's at equal passes on the tiny base, taking turns. Cases stop when --seconds are
over. The JSON is written after every case.
"""

import argparse
import gc
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from unittest.mock import patch

import torch
from fewstep.benchmarks.gpu import page, table
from fewstep.benchmarks.gpu.cases import CASES, METHODS, Case
from fewstep.benchmarks.networks import SIZES, Text, model

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def machine() -> dict:
    """Where this was measured."""
    cuda = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if cuda else f"CPU, {platform.machine()}"
    memory = torch.cuda.get_device_properties(0).total_memory if cuda else 0
    return {"device": name, "memory": memory, "torch": torch.__version__, "cuda": torch.version.cuda if cuda else None}


class Runs:
    """Trainings of random networks; a network is kept for the cases that follow on the same one."""

    def __init__(self, small: bool, steps: int):
        self.small, self.steps, self.kept = small, steps, (None, None)

    def network(self, case: Case):
        key = (case.size, case.precision)
        if self.kept[0] != key:
            self.kept = (None, None)
            clear()
            self.kept = (key, model(SIZES[case.size], DTYPES[case.precision], self.small))
        return self.kept[1]

    def job(self, case: Case, name: str):
        from fewstep.host.data.dataset import DataSpec
        from fewstep.host.training.job import Job
        from fewstep.training.config import TrainConfig

        side = 64 if self.small else SIZES[case.size].side
        method = METHODS[case.method]()
        spec = DataSpec(("a", "another"), None, side, side, 2, 2, 2.0)
        config = TrainConfig(
            steps=self.steps, batch_size=1, rank=64, alpha=64.0, precision=case.precision, preview_every=10**6,
            gradient_checkpointing=case.checkpointing, learning_rate=1e-6, save_every=10**6, keep_last=1,
            ema_decay=0.95 if method.averages else 0.0,
        )  # fmt: skip
        return Job(self.network(case), Text(SIZES[case.size]), None, spec, method, config, name, [])

    def measure(self, case: Case, name: str) -> dict:
        """{seconds, peak and estimate in bytes, first loss} of one run."""
        from fewstep.host.training import export, memory, run
        from fewstep.training.state import RunFolder

        job = self.job(case, name)
        clear()
        # States and files of gigabytes would take longer than the steps.
        unwritten = patch.object(RunFolder, "save"), patch.object(export, "write", return_value="")
        with torch.inference_mode(), unwritten[0], unwritten[1]:
            estimate = memory.of(job)
            result = run.distil(job)
        shutil.rmtree(job.folder.path)
        took = [record["seconds"] for record in result.metrics]
        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        figures = {"seconds": statistics.median(took[2:] or took), "peak": peak, "estimate": estimate.memory}
        return {**figures, "first": took[0], "loss": result.metrics[-1]["loss"]}


def clear() -> None:
    """Free what earlier cases held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def sampling(repeats: int, batch: int) -> dict:
    """{"lcm": seconds of ours by the host's, ...} on the tiny base, medians over the repeats."""
    from fewstep.benchmarks import measure
    from fewstep.benchmarks.samplers.__main__ import ROWS, build

    found = measure.in_turn(build(4, batch, "auto"), repeats)
    return {f"{ours}, beside {theirs}": found[f"ours {ours}"].ratio(found[f"host {theirs}"]) for ours, theirs in ROWS}


def save(found: dict, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1), encoding="utf-8")
    os.replace(part, out)


def main() -> None:
    args = options()
    began = time.monotonic()
    from fewstep.host import headless

    folder = Path(tempfile.mkdtemp(prefix="fewstep-gpu-"))
    headless.start("auto" if torch.cuda.is_available() else "cpu", workdir=folder)
    from fewstep.host import folders

    folders.output_folder = lambda: folder / "output"
    folders.lora_folder = lambda: folder / "loras"
    found: dict = {"machine": machine(), "small": args.small, "sampling": {}, "training": []}
    runs = Runs(args.small, args.steps)
    for number, case in enumerate(CASES[: args.cases]):
        row = asdict(case)
        if time.monotonic() - began > args.seconds:
            row["error"] = "not measured: the time was over"
        else:
            try:
                row |= runs.measure(case, f"case-{number}")
            except (RuntimeError, ValueError, TypeError, AttributeError, KeyError) as error:
                traceback.print_exc()
                row["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
        print(json.dumps(row), flush=True)
        found["training"].append(row)
        save(found, args.out)
    runs.kept = (None, None)
    clear()
    found["sampling"] = sampling(args.repeats, 8 if args.small else 32)
    save(found, args.out)
    print(table.text(found))
    if args.out == page.FIGURES:
        page.main()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py bench gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--small", action="store_true", help="little networks and pictures, to try it out")
    parser.add_argument("--steps", type=int, default=8, help="iterations of a case")
    parser.add_argument("--repeats", type=int, default=15, help="of the samplers")
    parser.add_argument("--cases", type=int, default=len(CASES), help="only so many of the list")
    parser.add_argument("--seconds", type=float, default=1500, help="no case begins later")
    parser.add_argument("--out", type=Path, default=page.FIGURES)
    return parser.parse_args()


if __name__ == "__main__":
    main()
