"""The papers' claims on students of the tiny base: `python run.py bench evidence [--only NAME] [--hours N]`.

Every arm that is missing is drawn at --n pictures for each seed (no seed that chose a student) and kept in
benchmarks/results/evidence.json after it, so that a stopped run goes on; then docs/evidence.md is made of all figures.
A student that a claim needs and that is not shipped is trained first, for each seed, in --steps steps (students.py).
"""

import argparse
import json
import os
import time
from pathlib import Path

import torch

from . import page, strips
from .claim import Arm
from .claims import CLAIMS
from .lab import Lab
from .train import FOLDER, ROOT

OUT = ROOT / "benchmarks" / "results" / "evidence.json"


def read(out: Path) -> dict[str, list[dict]]:
    """{arm: a record for each seed}."""
    return json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}


def add(record: dict, arm: str, out: Path) -> None:
    """Put a record into the file, in place of one of the same seed; another process may have added to it meanwhile."""
    found = read(out)
    others = [one for one in found.get(arm, []) if one["seed"] != record["seed"]]
    found[arm] = sorted([*others, record], key=lambda one: one["seed"])
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(part, out)


def missing(found: dict, only: list[str], seeds: list[int], budget: int) -> list[tuple[Arm, int]]:
    """What is to be drawn, the first seed of every arm before the second of any. A trained arm is missing where its
    record is of another budget."""
    arms = dict.fromkeys(arm for claim in CLAIMS if not only or claim.name in only for arm in claim.arms)
    held = {(name, one["seed"], one.get("budget")) for name, records in found.items() for one in records}
    asked = ((arm, seed) for seed in seeds for arm in arms)
    return [(arm, seed) for arm, seed in asked if (arm.name, seed, budget if arm.trained else None) not in held]


def main(argv: list[str] | None = None) -> None:
    args = options(argv)
    torch.set_num_threads(1)
    ends, lab = time.monotonic() + 3600 * args.hours, None
    for arm, seed in missing(read(args.out), args.only, args.seeds, args.steps):
        if time.monotonic() > ends:
            break
        lab = lab or Lab(args.device, args.folder, args.steps)
        record = lab.measure(arm, args.n, seed)
        add(record, arm.name, args.out)
        print(f"{arm.name}: {record}", flush=True)
    for claim in CLAIMS:
        strips.write(claim, args.folder, args.seeds[0], args.steps, args.page.parent / "evidence")
    args.page.write_text(page.page(read(args.out), args.page.parent / "evidence"), encoding="utf-8")


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py bench evidence", description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="*", default=[], choices=[claim.name for claim in CLAIMS])
    parser.add_argument("--hours", type=float, default=24.0, help="no arm begins later")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--n", type=int, default=400, help="pictures of an arm and seed")
    parser.add_argument("--steps", type=int, default=100, help="a trained student's budget, in batches of 8")
    parser.add_argument("--device", choices=("cpu", "auto"), default="cpu")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of runs, their LoRAs and pictures")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--page", type=Path, default=page.PAGE)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
