"""Peak memory of DMD and SwiftBrush: one base with LoRAs beside separate networks, each in a process of its own.

    python run.py bench memory [--sizes tiny half] [--steps 2] [--batch 1] [--rank 64]

Bytes of parameters, gradients and moments are counted; the peak is the process's resident memory over that of the same
process before it built a network (Linux). On the CPU in fp32, AdamW, random weights.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from .layouts import LAYOUTS, SIZES

ROOT = Path(__file__).resolve().parent.parent.parent
METHODS = ("SwiftBrush", "DMD with a moving average")


def resident(key: str) -> int:
    """A figure of /proc/self/status in bytes: VmRSS now, VmHWM the highest since the last reset."""
    status = Path("/proc/self/status")
    if not status.exists():  # macOS: the highest of the whole process
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith(f"{key}:"))


def trainer(size: str, layout: str, method: str, args: argparse.Namespace, folder: str):
    """(the pack's own Trainer on that layout, its networks)."""
    from fewstep.training import methods
    from fewstep.training.config import TrainConfig
    from fewstep.training.data import Examples
    from fewstep.training.loop import Trainer
    from fewstep.training.options import DMDOptions, ScoreOptions
    from fewstep.training.path import Path as NoisePath
    from fewstep.training.state import RunFolder

    averaged = method != "SwiftBrush"
    score = ScoreOptions(weight="dmd" if averaged else "vsd", guidance=4.5, critic_guidance=1.0 if averaged else 4.5)
    make = methods.dmd if averaged else methods.swiftbrush
    table = make(DMDOptions(score=score, student_every=1))
    roles, nets = LAYOUTS[layout](size, ("student", "critic", *(["target"] if averaged else [])), args.rank)
    text = torch.zeros(1, 77, SIZES[size]["context_dim"])
    side = SIZES[size].get("side", args.side)
    data = Examples(None, [0], [{"text": text}], {"text": text}, None, (4, side, side))
    config = TrainConfig(steps=args.steps, batch_size=args.batch, ema_decay=0.9 if averaged else 0.0)
    path = NoisePath(torch.linspace(0.03, 14.6, 1000))
    return Trainer(config, table, roles, path, data, RunFolder(Path(folder)), torch.device("cpu")), nets


def measure(size: str, layout: str, method: str, args: argparse.Namespace) -> dict:
    """Bytes, in this process. The states are not written: writing has its own peak."""
    from fewstep.host import headless

    headless.start()
    import peft  # noqa: F401 (in both layouts, so that the library itself counts in neither)
    from fewstep.host import model_copy

    before = resident("VmRSS")
    with model_copy.training_mode(), tempfile.TemporaryDirectory() as folder:
        run, nets = trainer(size, layout, method, args, folder)
        gradients = []
        for optimizer in run.optimizers.values():
            optimizer.register_step_pre_hook(lambda *_: gradients.append(bytes_of(nets, grads=True)))
        reset = Path("/proc/self/clear_refs")
        if reset.exists():
            reset.write_text("5")
        for _ in range(args.steps):
            run.train_step()
            run.step += 1
        peak = resident("VmHWM") - before
    moments = [t for o in run.optimizers.values() for state in o.state.values() for t in state.values()]
    return {
        "parameters": bytes_of(nets),
        "gradients": max(gradients),
        "moments": sum(t.nbytes for t in moments),
        "peak": peak,
    }


def bytes_of(nets: list, grads: bool = False) -> int:
    tensors = [p.grad if grads else p for net in nets for p in net.parameters()]
    return sum(t.nbytes for t in tensors if t is not None)


def in_a_process(size: str, layout: str, method: str, rest: list[str]) -> dict:
    """The same in a fresh process, so that nothing of another row is resident."""
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import bootstrap; bootstrap.register(); "
        "from fewstep.benchmarks.memory.__main__ import main; main()"
    )
    command = [sys.executable, "-c", code, str(ROOT), *rest, "--one", size, layout, method]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise RuntimeError(f"{size}, {layout}, {method}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(sizes: list[str], rest: list[str]) -> None:
    named = "parameters | gradients | moments | together | peak"
    print(f"| U-Net | method | layout | {named} | together, ratio | peak, ratio |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for size in sizes:
        for method in METHODS:
            whole = None
            for layout in reversed(LAYOUTS):
                found = in_a_process(size, layout, method, rest)
                counted = found["parameters"] + found["gradients"] + found["moments"]
                whole = whole or (counted, found["peak"])
                cells = [*(found[key] for key in ("parameters", "gradients", "moments")), counted, found["peak"]]
                figures = " | ".join(f"{cell / 1e6:,.0f} MB" for cell in cells)
                ratios = f"{counted / whole[0]:.2f} | {found['peak'] / whole[1]:.2f}"
                print(f"| {size} | {method} | {layout} | {figures} | {ratios} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=["tiny", "half"], choices=SIZES)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--side", type=int, default=32, help="latents a side; tiny has 12")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if os.name == "nt":
        raise ValueError("bench memory: Windows does not tell a process's peak as it is asked here. Run it on Linux.")
    if args.one:
        print(json.dumps(measure(*args.one, args)))
        return
    options = ("steps", "batch", "rank", "side")
    table(args.sizes, [part for name in options for part in (f"--{name}", str(getattr(args, name)))])


if __name__ == "__main__":
    main()
