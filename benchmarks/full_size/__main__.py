"""Real training steps on a U-Net of SD1.5's size: the process's peak memory beside the estimate that users are shown.

    python run.py bench full_size [--methods LCM,DMD] [--side 192] [--steps 2] [--rank 64]

Random weights in fp32 on the CPU, a LoRA on every layer, batch 1; a process for each method (Linux). The peak is the
highest resident memory during the run over what the process held with the MODEL loaded. Needs about 12 GB.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from fewstep.benchmarks.memory.__main__ import ROOT, resident
from fewstep.benchmarks.methods import METHODS, average
from fewstep.benchmarks.networks import SIZES, Text, model


def measure(method: str, args: argparse.Namespace) -> dict:
    """{estimate, peak in bytes, parts of the estimate, the last loss} of one run in this process."""
    from fewstep.host import headless

    folder = Path(tempfile.mkdtemp(prefix="fewstep-full-size-"))
    headless.start(workdir=folder)
    import peft  # noqa: F401 (the library itself does not count)
    from fewstep.host import folders
    from fewstep.host.data import dataset
    from fewstep.host.training import memory, run
    from fewstep.host.training.job import Job
    from fewstep.training.config import TrainConfig

    folders.folder_paths.set_output_directory(str(folder / "output"))
    folders.folder_paths.add_model_folder_path("loras", str(folder / "loras"))
    spec = dataset.DataSpec(("a", "another"), None, args.side, args.side, 2, 2, 2.0)
    size, way = SIZES["SD1.5"], METHODS[method]()
    settings = {"steps": args.steps, "batch_size": 1, "rank": args.rank, "preview_every": 10**6, "learning_rate": 1e-6}
    config = TrainConfig(**settings, **average(way))
    job = Job(model(size, torch.float32), Text(size), None, spec, way, config, "full-size", [])
    with torch.inference_mode():
        need = memory.of(job)
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        result = run.distil(job)
    peak = resident("VmHWM") - before
    return {"method": method, "estimate": need.memory, "peak": peak, "parts": need.parts, "last": result.metrics[-1]}


def in_a_process(method: str, rest: list[str]) -> dict:
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import bootstrap; bootstrap.register(); "
        "from fewstep.benchmarks.full_size.__main__ import main; main()"
    )
    command = [sys.executable, "-c", code, str(ROOT), *rest, "--one", method]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise RuntimeError(f"{method}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="run.py bench full_size", description=__doc__.split("\n")[0])
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--side", type=int, default=192, help="of the pictures, in pixels")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args)))
        return
    options = ("side", "steps", "rank")
    rest = [part for name in options for part in (f"--{name}", str(getattr(args, name)))]
    print("| method | estimate | peak | peak / estimate |\n|---|---|---|---|", flush=True)
    for method in args.methods.split(","):
        found = in_a_process(method, rest)
        estimate, peak = found["estimate"], found["peak"]
        print(f"| {method} | {estimate / 1e6:,.0f} MB | {peak / 1e6:,.0f} MB | {peak / estimate:.2f} |", flush=True)
        print({name: f"{count / 1e6:,.0f} MB" for name, count in found["parts"].items()}, file=sys.stderr)


if __name__ == "__main__":
    main()
