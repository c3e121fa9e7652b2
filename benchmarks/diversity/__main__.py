"""The spread of a caption's pictures over seeds, one row for each way to more variety, and what it costs.

    python run.py bench diversity [--captions 100] [--seeds 4] [--only NAME]

Captions are of trained combinations (benchmarks/quality). Spread: the mean distance between two seeds' pictures of one
caption, in pixels (RMS, of 1) and in EfficientNet-Lite0's features (1 - cosine). What may be lost meanwhile: the LiT
score of picture and caption, and the Frechet distance of all pictures to the reference. Single thread.
"""

import argparse
from itertools import combinations

import numpy as np
import torch

from ..quality import data
from ..quality.features import Features
from ..quality.reference import Reference
from ..quality.sample import Drawer
from .ways import WAYS, draw

COLUMNS = "| | passes | spread, pixels | spread, features | LiT score | distance |"


def pixel_spread(pictures: np.ndarray) -> np.ndarray:
    """[n]: mean RMS distance over pairs of seeds; pictures uint8 [seeds, n, h, w, 3]."""
    x = pictures.astype(np.float32) / 255
    return np.mean([((a - b) ** 2).mean((1, 2, 3)) ** 0.5 for a, b in combinations(x, 2)], 0)


def feature_spread(features: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """[n]: mean of 1 - cosine over pairs of seeds, of features [seeds, n, 1280] without the mean of real pictures."""
    unit = features - mean
    unit = unit / np.linalg.norm(unit, axis=-1, keepdims=True)
    return np.mean([1 - (a * b).sum(-1) for a, b in combinations(unit, 2)], 0)


def with_error(values: np.ndarray, digits: int = 3) -> str:
    """ "mean +- standard error" over captions."""
    return f"{values.mean():.{digits}f} +- {values.std(ddof=1) / len(values) ** 0.5:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="run.py bench diversity", description=__doc__.splitlines()[0])
    parser.add_argument("--captions", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    args = parser.parse_args()
    torch.set_num_threads(1)
    drawer, network, reference = Drawer(), Features(), Reference()
    from fewstep.host.rewards import lit

    reward = lit.similarity("lit-emoji.safetensors", "benchmarks.diversity")
    captions = [subject.caption for subject in data.plan(args.captions, 0)]
    print(f"{args.captions} captions, {args.seeds} seeds each\n\n{COLUMNS}\n|{'---|' * 6}")
    for way in (way for way in WAYS if args.only in way.name):
        drawn = [draw(drawer, way, captions, seed) for seed in range(args.seeds)]
        pictures = np.stack([found for found, _ in drawn])
        features = np.stack([network(found) for found in pictures])
        with torch.no_grad():
            pixels = torch.from_numpy(pictures.reshape(-1, *pictures.shape[2:])).permute(0, 3, 1, 2).float() / 255
            scores = reward(pixels, captions * args.seeds).view(args.seeds, -1).mean(0).numpy()
        figures = [with_error(pixel_spread(pictures)), with_error(feature_spread(features, reference.basis.mean))]
        distance = reference.score(features.reshape(-1, features.shape[-1])).reconstructed
        row = " | ".join([f"{drawn[0][1]:g}", *figures, with_error(scores), f"{distance:.1f}"])
        print(f"| {way.name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
