"""Two files interpolated into a third, beside plainly reading the same bytes and writing as many.

    python run.py bench merging [--repeats 5] [--rank 128] [--lora-dtype fp16] [--gigabytes 2.1] [--memory]

Two random LoRAs of SDXL's names and shapes (rank 128 in fp16: 787 MB each) and two checkpoints in fp16. Everything is
synced to the disk before the clock stops, ours and the plain copy. The files lie in a temporary folder and are deleted.
"""

import argparse
import os
import tempfile
from pathlib import Path

import torch
from fewstep.benchmarks import measure, sdxl
from fewstep.host import headless
from fewstep.weights import io, keys, merge, stream_loras, stream_models
from safetensors.torch import save_file

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
BLOCK = 4 << 20


def copied(parents: list[Path], target: Path, size: int) -> None:
    """Read every byte of the parents; write the first `size` of them."""
    block = memoryview(bytearray(BLOCK))
    with open(target, "wb", buffering=0) as out:
        for path in parents:
            with open(path, "rb", buffering=0) as file:
                while count := file.readinto(block):
                    size -= out.write(block[: min(count, size)]) if size else 0
        os.fsync(out.fileno())


def recipe(*hashes: str) -> dict[str, str]:
    return {"fewstep.merge": " ".join(hashes)}


def in_memory(a: Path, b: Path, weight: float, target: Path) -> None:
    """What FewStep Interpolate LoRAs and FewStep Save LoRA do together."""
    found = [merge.deltas(keys.to_kohya(io.load(path)[0])) for path in (a, b)]
    tensors = merge.to_file(merge.interpolate(*found, weight))
    io.save({k: t if k.endswith(".alpha") else t.half() for k, t in tensors.items()}, target, recipe())


def loras(folder: Path, args) -> list[Path]:
    for seed, name in enumerate("ab"):
        save_file(sdxl.lora(args.rank, DTYPES[args.lora_dtype], seed), folder / f"{name}.safetensors")
    return [folder / f"{name}.safetensors" for name in "ab"]


def checkpoints(folder: Path, args) -> list[Path]:
    count, some = round(args.gigabytes * 1e9 / (2 * 4096**2)), torch.randn(4096, 4096).half()
    for shift, name in enumerate("ab"):
        save_file({f"t{n}.weight": some.roll(n + shift) for n in range(count)}, folder / f"{name}.safetensors")
    return [folder / f"{name}.safetensors" for name in "ab"]


def row(title: str, made: measure.Runs, plain: measure.Runs, size: int) -> str:
    numbers = f"{size / 1e6:.0f} MB | {plain.median():.2f} | {made.median():.2f} | {made.ratio(plain):.2f}"
    fastest = min(made.seconds) / min(plain.seconds)
    return f"| {title} | {numbers} | {fastest:.2f} | {made.median('cpu'):.2f} | {max(made.memory) * 1000:.0f} MB |"


def compared(title: str, kind, make, args, lambdas: list[float], memory: bool) -> list[str]:
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="fewstep-bench-") as name:
        folder = Path(name)
        parents, target = make(folder, args), folder / "made.safetensors"
        kind.interpolate(*parents, 0.5, target, recipe)
        size = target.stat().st_size
        tasks = {"plain": lambda: copied(parents, target, size)}
        for weight in lambdas:
            tasks[f"{weight:g}"] = lambda weight=weight: kind.interpolate(*parents, weight, target, recipe)
        if memory:
            tasks["0.3, in memory"] = lambda: in_memory(*parents, 0.3, target)
        found = measure.in_turn(tasks, args.repeats, after=lambda: target.unlink(missing_ok=True))
        plain = found.pop("plain")
        return [row(f"{title}, lambda {name}", runs, plain, size) for name, runs in found.items()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="run.py bench merging", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--lora-dtype", choices=DTYPES, default="fp16")
    parser.add_argument("--gigabytes", type=float, default=2.1)
    parser.add_argument("--folder", help="where the files are made; else the system's temporary folder")
    parser.add_argument("--memory", action="store_true", help="LoRAs through memory too, as the graph does it")
    args = parser.parse_args()
    headless.start()
    before = measure.load()
    rows = compared("two LoRAs", stream_loras, loras, args, [0.5, 0.3], args.memory)
    rows += compared("two checkpoints", stream_models, checkpoints, args, [0.3], False)
    columns = "result | s, plain | s, ours | median of the ratios | ratio of the fastest | CPU s, ours | memory"
    print(f"{before} before, {measure.load()} after; {args.repeats} repeats in turn\n")
    print(f"| what | {columns} |\n|{'---|' * 8}")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
