"""Every student at every number of steps in one table: `python run.py bench headline [--n 400] [--seed 5]`.

What was measured stays in benchmarks/results/headline.json, so a stopped run goes on; docs/students.md is made of it.
"""

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch

from ..evidence import figures
from ..quality import captions, data
from ..quality.features import Features
from ..quality.reference import Reference
from ..quality.sample import ROOT, Drawer, Row, content
from . import page, rows

RESULTS, PAGE = ROOT / "benchmarks" / "results" / "headline.json", ROOT / "docs" / "students.md"
CHUNK, HELD_OUT = 100, 5  # pictures at once; of each caption that the base was never trained on


class Judge:
    """Draws a row's pictures and says everything that the table says of them."""

    def __init__(self):
        self.drawer, self.network, self.reference = Drawer(), Features(), Reference()
        self.retrieval = captions.Retrieval()

    def draw(self, row: Row, subjects: list, seed: int) -> tuple[np.ndarray, float, float]:
        """(pictures, network passes and seconds of one)."""
        starts = range(0, len(subjects), CHUNK)
        drawn = [self.drawer.draw(row, [s.caption for s in subjects[i : i + CHUNK]], seed, i) for i in starts]
        passes, seconds = (float(np.mean([getattr(one, kind) for one in drawn])) for kind in ("passes", "seconds"))
        return np.concatenate([one.pictures for one in drawn]), passes, seconds

    def __call__(self, row: Row, n: int, seed: int) -> dict:
        known, unknown = data.plan(n, seed), data.plan(HELD_OUT * len(data.held_out()), seed, trained=False)
        pictures, passes, seconds = self.draw(row, known, seed)
        features = self.network(pictures)
        score = self.reference.score(features)
        precision, recall = figures.precision_and_recall(features, self.reference.kid_features)
        new = self.network(self.draw(row, unknown, seed + 1000)[0])
        found = {
            "distance": score.reconstructed,
            "real": score.real,
            "kid": score.kid,
            "precision": precision,
            "recall": recall,
            "retrieval": self.retrieval.share(features, known),
            "held_out": self.retrieval.share(new, unknown),
            "binding": captions.binding(pictures, known),
            "saturation": figures.saturation(pictures),
            "contrast": figures.contrast(pictures),
            "seconds": seconds,
        }
        return {"passes": round(passes, 2)} | {name: round(float(value), 4) for name, value in found.items()}


def main() -> None:
    args = options()
    logging.disable(logging.INFO)
    if args.threads:
        torch.set_num_threads(args.threads)
    found = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
    judge = None
    for name, row in rows.every().items():
        of = {"n": args.n, "seed": args.seed, "file": content(row.lora) if row.lora else ""}
        if of.items() <= found.get(name, {}).items():
            continue
        judge = judge or Judge()
        found[name] = of | judge(row, args.n, args.seed)
        write(args.out, json.dumps(ordered(found), indent=1) + "\n")
        print(name, found[name], flush=True)
    write(args.page, page.page(ordered(found)))


def ordered(found: dict[str, dict]) -> dict[str, dict]:
    """The table's rows as they stand now, whenever each was measured."""
    return {name: found[name] for name in rows.every() if name in found}


def write(file: Path, text: str) -> None:
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py bench headline", description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=400)
    parser.add_argument("--seed", type=int, default=5, help="one that chose nothing")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    return parser.parse_args()


if __name__ == "__main__":
    main()
