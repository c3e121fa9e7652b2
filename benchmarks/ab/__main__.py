"""Write a blind A/B page: `python run.py bench ab [--student FILE] [--steps 1] [--pairs 40] [--out ab.html]`.

The student in its own few steps beside the base in 25 (dpmpp_2m karras, cfg 2), same captions and noises, in random
order. The page counts the choices and tells at the end which was which.
"""

import argparse
from pathlib import Path

import torch

from ..quality import data
from ..quality.sample import ROOT, Drawer, Row
from .page import Pair, page

LORA = ROOT / "assets" / "loras" / "fewstep-tiny-sd-dmd.safetensors"


def main() -> None:
    args = options()
    torch.set_num_threads(1)
    drawer = Drawer()
    captions = [subject.caption for subject in data.plan(args.pairs, args.seed)]
    few = Row(args.sampler, args.steps, schedule="file", lora=str(args.student))
    many = Row("dpmpp_2m", 25, 2.0, "karras")
    drawn = [drawer.draw(row, captions, args.seed).pictures for row in (few, many)]
    plural = "" if args.steps == 1 else "s"
    text = page([*map(Pair, captions, *drawn)], f"student, {args.steps} step{plural}", "base, 25 steps", args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text, encoding="utf-8")
    print(args.out)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py bench ab", description=__doc__.split("\n")[0])
    parser.add_argument("--student", type=Path, default=LORA)
    parser.add_argument("--sampler", default="lcm")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--out", type=Path, default=ROOT / "output" / "ab.html")
    return parser.parse_args()


if __name__ == "__main__":
    main()
