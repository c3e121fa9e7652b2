"""Time and memory of an iteration, ours and the published recipe's, taking turns: `python run.py bench rivals`.

Each in a process of its own, both alive, asked in turn; batch 1, fp32, SD1.5's size, random weights, CPU. Memory is the
highest resident memory while iterating, above what the process held with its libraries imported. Needs 16 GB (Linux).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from fewstep.benchmarks.measure import load
from fewstep.benchmarks.memory.__main__ import ROOT, resident

NAMES = ("ours", "rival")


def work(name: str, side: int, rank: int) -> None:
    """In a child: build, then an iteration for every line that comes in; a line of JSON goes out for each."""
    from fewstep.host import headless

    headless.start()
    import diffusers  # noqa: F401 (in both, so that the libraries themselves count in neither)
    import peft  # noqa: F401
    import transformers  # noqa: F401
    from fewstep.benchmarks.rivals.ours import Ours
    from fewstep.benchmarks.rivals.rival import Rival

    before = resident("VmRSS")
    task = {"ours": Ours, "rival": Rival}[name](side, rank)
    Path("/proc/self/clear_refs").write_text("5")
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        clock = time.perf_counter()
        loss = task.iteration()
        peak = resident("VmHWM") - before
        print(json.dumps({"seconds": time.perf_counter() - clock, "peak": peak, "loss": loss}), flush=True)


class Child:
    """One of the two, in its process."""

    def __init__(self, name: str, args: argparse.Namespace):
        code = (
            "import sys; sys.path.insert(0, sys.argv.pop(1)); import bootstrap; bootstrap.register(); "
            "from fewstep.benchmarks.rivals.__main__ import main; main()"
        )
        own = ["--work", name, "--side", str(args.side), "--rank", str(args.rank)]
        environment = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
        self.process = subprocess.Popen([sys.executable, "-c", code, str(ROOT), *own], **pipes)
        self.answer()

    def answer(self) -> dict:
        """Its next line of JSON; what the libraries print is passed over."""
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError("an iteration ended without a result; what it wrote stands above")

    def iteration(self) -> dict:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.answer()


def compare(args: argparse.Namespace) -> dict:
    """{ours, rival: {seconds, peak}, time, memory}: medians, and ours by the rival's."""
    children = {name: Child(name, args) for name in NAMES}
    found: dict[str, list[dict]] = {name: [] for name in NAMES}
    for repeat in range(-1, args.repeats):
        for name in NAMES if repeat % 2 else reversed(NAMES):
            one = children[name].iteration()
            if repeat >= 0:
                found[name].append(one)
    for child in children.values():
        child.process.stdin.close()
        child.process.wait()
    kinds = ("seconds", "peak")
    medians = {name: {kind: statistics.median(one[kind] for one in found[name]) for kind in kinds} for name in NAMES}
    ratios = [ours["seconds"] / rival["seconds"] for ours, rival in zip(*found.values())]
    memory = medians["ours"]["peak"] / medians["rival"]["peak"]
    return medians | {"time": statistics.median(ratios), "memory": memory, "load": load(), **vars(args)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="run.py bench rivals", description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=256, help="of the pictures, in pixels")
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--work", choices=NAMES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work, args.side, args.rank)
    else:
        show(compare(args))


def show(result: dict) -> None:
    print("| | seconds an iteration | peak memory |\n|---|---|---|")
    for name in NAMES:
        print(f"| {name} | {result[name]['seconds']:.2f} | {result[name]['peak'] / 1e9:.2f} GB |")
    print(f"| ratio | {result['time']:.2f} | {result['memory']:.2f} |")
    print(json.dumps({key: value for key, value in result.items() if key != "work"}))


if __name__ == "__main__":
    main()
