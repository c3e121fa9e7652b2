"""Caption retrieval: is the real picture nearest to a drawn one of the concept and style that were asked for?

Nearest by the cosine of EfficientNet-Lite0 features less their mean, among all 400 real pictures on the caption's
ground, upright and in the middle. Chance is 1 in 200 for the concept and 1 in 2 for the style.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ...benchmarks.quality import data, fetch, reference
from ...benchmarks.quality.data import SIZE, Subject
from ...benchmarks.quality.features import Features
from ...benchmarks.quality.sample import CHECKPOINT, Row
from ...benchmarks.quality.score import Bench

ROW, SEED, CHUNK, FILL = Row("dpmpp_2m", 25, 2.0, "karras"), 0, 100, 0.85


def middle(picture: Image.Image) -> Image.Image:
    """Put a cut picture in the middle of a transparent frame, its long side 85 % of it."""
    scale = FILL * SIZE / max(picture.size)
    w, h = (max(1, round(side * scale)) for side in picture.size)
    frame = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0))
    frame.paste(picture.resize((w, h), Image.Resampling.LANCZOS), ((SIZE - w) // 2, (SIZE - h) // 2))
    return frame


class Gallery:
    """The 400 real pictures on each of the ten grounds, as unit features."""

    def __init__(self, features: Features, cache: Path = fetch.CACHE):
        pictures = data.load_pictures(cache)
        self.pairs = list(pictures)
        grounds = (None, *data.COLOURS)
        shown = {g: np.stack([data.on_ground(middle(p), g) for p in pictures.values()]) for g in grounds}
        raw = {g: features.cached(shown[g], cache / "gallery") for g in tqdm(grounds, desc="gallery")}
        self.mean = np.mean([rows.mean(0) for rows in raw.values()], axis=0)
        self.unit = {g: self.directions(rows) for g, rows in raw.items()}

    def directions(self, rows: np.ndarray) -> np.ndarray:
        """Return features less the mean, each of length 1."""
        centred = rows - self.mean
        return centred / np.linalg.norm(centred, axis=1, keepdims=True)

    def hits(self, rows: np.ndarray, subjects: list[Subject]) -> dict[str, float]:
        """Return how often the nearest has the right concept, style and both, and the nearest five the concept."""
        units, found = self.directions(rows), []
        for unit, subject in zip(units, subjects):
            order = np.argsort(-self.unit[subject.colour] @ unit)[:5]
            names, style = [self.pairs[i][0] for i in order], self.pairs[order[0]][1]
            right = (names[0] == subject.name, style == subject.style, subject.name in names)
            found.append((*right, right[0] and right[1]))
        return dict(zip(("concept", "style", "concept in 5", "both"), np.mean(found, axis=0).round(3).tolist()))


def report(checkpoint: Path = CHECKPOINT, n: int = 1000, cache: Path = fetch.CACHE) -> dict[str, dict]:
    """Measure n trained captions, n held-out captions, and the VAE's reconstructions of n real pictures."""
    bench = Bench(checkpoint)
    gallery = Gallery(bench.network, cache)
    trained, held_out, real = data.plan(n, SEED), data.plan(n, SEED, trained=False), data.plan(n, reference.SEED_B)
    second = reference.both(lambda: bench.drawer, bench.network, cache, reference.SEED_B)["recon"][:n]
    return {
        "reconstructions of real pictures": gallery.hits(second, real),
        "trained captions": gallery.hits(bench.draw(ROW, n).features, trained),
        "held-out captions": gallery.hits(drawn(bench, held_out), held_out),
    }


def drawn(bench: Bench, subjects: list[Subject]) -> np.ndarray:
    """Draw subjects and return their features [n, 1280]."""
    parts = []
    for first in tqdm(range(0, len(subjects), CHUNK), desc="held-out captions"):
        captions = [s.caption for s in subjects[first : first + CHUNK]]
        parts.append(bench.network(bench.drawer.draw(ROW, captions, SEED, first).pictures))
    return np.concatenate(parts)
