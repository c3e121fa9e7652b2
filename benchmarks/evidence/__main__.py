"""The papers' claims on the tiny base's students: `python run.py bench evidence [--only NAME] [--hours N]`.

Every arm that is missing is drawn at --n pictures for each seed (no seed that chose a student) and kept in
benchmarks/results/evidence.json after it, so that a stopped run goes on; then docs/evidence.md is made of all figures.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch

from ...weights import io
from ..quality import data
from ..quality.features import Features
from ..quality.reference import Reference
from ..quality.sample import ROOT, Drawer, Row
from . import figures, page
from .claims import BASE, CLAIMS, STUDENTS, Arm

OUT = ROOT / "benchmarks" / "results" / "evidence.json"
MIXED = ROOT / "output" / "evidence"
CHUNK, CAPTIONS, TIMES = 100, 20, 10  # pictures at once; captions of the spread, each so many times


class Lab:
    """The host, the feature network and the reference, for as many arms as there are."""

    def __init__(self, device: str):
        self.drawer, self.network, self.reference = Drawer(device=device), Features(), Reference()

    def measure(self, arm: Arm, n: int, seed: int) -> dict:
        """Its figures (claims.FIGURES, seconds a picture) on n pictures; the spread is that of others."""
        captions = [subject.caption for subject in data.plan(n, seed)]
        pictures, seconds = self.draw(arm, captions, seed)
        features = self.network(pictures)
        score = self.reference.score(features)
        precision, recall = figures.precision_and_recall(features, self.reference.kid_features)
        repeated = [caption for _ in range(TIMES) for caption in captions[:CAPTIONS]]
        again = self.network(self.draw(arm, repeated, seed + 1000)[0]).reshape(TIMES, CAPTIONS, -1)
        return {
            "seed": seed,
            "n": n,
            "distance": round(score.reconstructed, 2),
            "kid": round(score.kid, 1),
            "precision": round(precision, 4),
            "recall": round(recall, 4),
            "saturation": round(figures.saturation(pictures), 4),
            "contrast": round(figures.contrast(pictures), 4),
            "spread": round(figures.spread(again, self.reference.basis.mean), 4),
            "seconds": round(seconds, 4),
        }

    def draw(self, arm: Arm, captions: list[str], seed: int) -> tuple[np.ndarray, float]:
        row, parts, seconds = row_of(arm), [], []
        for first in range(0, len(captions), CHUNK):
            drawn = self.drawer.draw(row, captions[first : first + CHUNK], seed, first)
            parts.append(drawn.pictures)
            seconds.append(drawn.seconds)
        return np.concatenate(parts), float(np.mean(seconds))


def row_of(arm: Arm) -> Row:
    if arm == BASE:
        return Row(arm.sampler, arm.steps, 2.0, "karras")
    return Row(arm.sampler, arm.steps, schedule="file", lora=str(file_of(arm)))


def file_of(arm: Arm) -> Path:
    """The student's file, or the mixture of two, written the first time."""
    first = ROOT / "assets" / "loras" / STUDENTS[arm.student]
    if not arm.between:
        return first
    from ...weights import stream_loras

    mixed = MIXED / f"{arm.name}.safetensors"
    if not mixed.exists():
        mixed.parent.mkdir(parents=True, exist_ok=True)
        second = ROOT / "assets" / "loras" / STUDENTS[arm.between]
        stream_loras.interpolate(first, second, arm.weight, mixed, lambda *_: io.load(first)[1])
    return mixed


def read(out: Path) -> dict[str, list[dict]]:
    """{arm: a record for each seed}."""
    return json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}


def write(found: dict, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(part, out)


def missing(found: dict, only: list[str], seeds: list[int]) -> list[tuple[Arm, int]]:
    """What is to be drawn, the first seed of every arm before the second of any."""
    arms = dict.fromkeys(arm for claim in CLAIMS if not only or claim.name in only for arm in claim.arms)
    held = {(name, one["seed"]) for name, records in found.items() for one in records}
    return [(arm, seed) for seed in seeds for arm in arms if (arm.name, seed) not in held]


def main() -> None:
    args = options()
    torch.set_num_threads(1)
    ends, lab = time.monotonic() + 3600 * args.hours, None
    for arm, seed in missing(read(args.out), args.only, args.seeds):
        if time.monotonic() > ends:
            break
        lab = lab or Lab(args.device)
        record = lab.measure(arm, args.n, seed)
        found = read(args.out)  # another process may have added to it
        found.setdefault(arm.name, []).append(record)
        write(found, args.out)
        print(f"{arm.name}: {record}", flush=True)
    args.page.write_text(page.page(read(args.out)), encoding="utf-8")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py bench evidence", description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="*", default=[], choices=[claim.name for claim in CLAIMS])
    parser.add_argument("--hours", type=float, default=24.0, help="no arm begins later")
    parser.add_argument("--seeds", type=int, nargs="*", default=[11, 12, 13])
    parser.add_argument("--n", type=int, default=400, help="pictures of an arm and seed")
    parser.add_argument("--device", choices=("cpu", "auto"), default="cpu")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--page", type=Path, default=page.PAGE)
    return parser.parse_args()


if __name__ == "__main__":
    main()
