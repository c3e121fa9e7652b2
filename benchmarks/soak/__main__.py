"""Bad inputs by the thousand through the real loaders and nodes, in this process.

    python run.py bench soak [--each 300] [--seed 0] [--only lora_file,shards]
    python run.py bench soak --trainings 50
    python run.py bench soak --queue 200 [--comfyui DIR --python PYTHON]

Each must work or end in a sentence of the pack within 5 s and 1 GB. Prints a table, and every input that did not, by
the seed that makes it again. With --queue, so many good graphs wait on one host instead: memory flat, every picture as
its first; with --trainings, so many short trainings on one server, some cancelled and some in error (trainings.py).
Ends with code 1 when something failed.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from fewstep.benchmarks.soak import queued, trainings, verdict
from fewstep.benchmarks.soak.targets import TARGETS, Places
from fewstep.host import headless

SECONDS, MEGABYTES = 5.0, 1000


def places(folder: Path) -> Places:
    """The host started in a folder of its own, with the tiny base."""
    headless.start(workdir=folder)
    from fewstep.host import folders  # the host's folders are those of its first import

    paths = folders.folder_paths
    loras, source, target = (folder / name for name in ("loras", "input", "output"))
    for path in (loras, source, target):
        path.mkdir(parents=True, exist_ok=True)
    paths.add_model_folder_path("loras", str(loras))
    paths.set_input_directory(str(source))
    paths.set_output_directory(str(target))
    model = headless.load_checkpoint(folders.ASSETS / "checkpoints" / "fewstep-tiny-sd.safetensors")[0]
    return Places(model, loras, source, target)


def memory() -> float:
    """The most this process has had, in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def soak(name: str, where: Places, each: int, seed: int) -> tuple[Counter, list[str], float]:
    """(how many of each verdict, what failed, the longest in CPU seconds) of one target."""
    counts, failed, longest = Counter(), [], 0.0
    for number in range(each):
        key, before, started = f"{seed}-{name}-{number}", memory(), time.process_time()
        found = verdict.of(lambda: TARGETS[name](Random(key), where), str(where.input.parent))  # noqa: B023 (called now)
        took, grown = time.process_time() - started, memory() - before
        longest = max(longest, took)
        if took > SECONDS or grown > MEGABYTES:
            found = f"took {took:.1f} s and {grown:.0f} MB ({found})"
        counts[found if found in ("worked", "sentence") else "failed"] += 1
        if found not in ("worked", "sentence"):
            failed.append(f"{key}: {found}")
    return counts, failed, longest


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=300, help="inputs of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(TARGETS), help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--trainings", type=int, default=0, help="so many trainings on one server instead")
    parser.add_argument("--queue", type=int, default=0, help="graphs in one host's queue, in place of bad input")
    parser.add_argument("--comfyui", help="with --queue: this ComfyUI's folder; default: the embedded host")
    parser.add_argument("--python", help="with --comfyui: the Python that runs it")
    args = parser.parse_args()
    if args.trainings:
        return trainings.soak(args.trainings)
    if args.queue:
        with tempfile.TemporaryDirectory(prefix="fewstep-soak-") as folder:
            return bool(queued.soak(args.queue, Path(folder), args.comfyui, args.python))
    with tempfile.TemporaryDirectory(prefix="fewstep-soak-") as folder:
        where, everything = places(Path(folder)), []
        print(
            "| input | cases | worked | a sentence | failed | longest, CPU s |\n|---|---|---|---|---|---|", flush=True
        )
        for name in args.only.split(","):
            counts, failed, longest = soak(name, where, args.each, args.seed)
            cells = (counts.total(), counts["worked"], counts["sentence"], counts["failed"], f"{longest:.2f}")
            print(f"| {name} | {' | '.join(map(str, cells))} |", flush=True)
            everything += failed
        print(f"\nmost memory: {memory():.0f} MB\n" + "\n".join(everything))
    return bool(everything)


if __name__ == "__main__":
    sys.exit(main())
