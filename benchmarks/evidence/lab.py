"""Draws an arm's pictures and measures them."""

from pathlib import Path

import numpy as np
import torch

from ..quality import data
from ..quality.features import Features
from ..quality.reference import Reference
from ..quality.sample import Drawer, Row
from . import figures, strips
from .claim import Arm
from .claims import BASE
from .students import reward
from .train import Trainer

CHUNK, CAPTIONS, TIMES = 100, 20, 10  # pictures at once; captions of the spread, each so many times


class Lab:
    """The host, the feature network, the reference and the LiT heads, for as many arms as there are."""

    def __init__(self, device: str, folder: Path, budget: int):
        self.drawer, self.network, self.reference = Drawer(device=device), Features(), Reference()
        self.trainer, self.folder, self.reward = Trainer(folder, budget), folder, reward()

    def measure(self, arm: Arm, n: int, seed: int) -> dict:
        """Its figures (claim.FIGURES, seconds a picture) on n pictures; the spread is that of others, and of shipped
        students alone. `budget`: steps of those that were trained here."""
        captions = [subject.caption for subject in data.plan(n, seed)]
        pictures, seconds = self.draw(arm, captions, seed)
        strips.keep(pictures, self.folder, arm, seed, self.trainer.budget)
        features = self.network(pictures)
        score = self.reference.score(features)
        precision, recall = figures.precision_and_recall(features, self.reference.kid_features)
        found = {
            "distance": round(score.reconstructed, 2),
            "kid": round(score.kid, 1),
            "precision": round(precision, 4),
            "recall": round(recall, 4),
            "saturation": round(figures.saturation(pictures), 4),
            "contrast": round(figures.contrast(pictures), 4),
            "alignment": round(self.alignment(pictures, captions), 4),
            "seconds": round(seconds, 4),
        }
        extra = (
            {"budget": self.trainer.budget} if arm.trained else {"spread": round(self.spread(arm, captions, seed), 4)}
        )
        return {"seed": seed, "n": n, **found, **extra}

    def draw(self, arm: Arm, captions: list[str], seed: int) -> tuple[np.ndarray, float]:
        """(pictures [n, 96, 96, 3] of the arm's student of that seed, seconds each)."""
        row, parts, seconds = self.row_of(arm, seed), [], []
        for first in range(0, len(captions), CHUNK):
            drawn = self.drawer.draw(row, captions[first : first + CHUNK], seed, first)
            parts.append(drawn.pictures)
            seconds.append(drawn.seconds)
        return np.concatenate(parts), float(np.mean(seconds))

    def row_of(self, arm: Arm, seed: int) -> Row:
        if arm == BASE:
            return Row(arm.sampler, arm.steps, 2.0, "karras")
        return Row(arm.sampler, arm.steps, schedule="file", lora=str(self.trainer.file(arm, seed)))

    def spread(self, arm: Arm, captions: list[str], seed: int) -> float:
        """Of TIMES pictures of each of the first captions, from noises of another seed's."""
        repeated = [caption for _ in range(TIMES) for caption in captions[:CAPTIONS]]
        row = self.row_of(arm, seed)
        parts = [
            self.drawer.draw(row, repeated[first : first + CHUNK], seed + 1000, first).pictures
            for first in range(0, len(repeated), CHUNK)
        ]
        features = self.network(np.concatenate(parts)).reshape(TIMES, CAPTIONS, -1)
        return figures.spread(features, self.reference.basis.mean)

    @torch.no_grad()
    def alignment(self, pictures: np.ndarray, captions: list[str]) -> float:
        """Mean LiT score of pictures uint8 [n, h, w, 3]."""
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        parts = zip(pixels.split(CHUNK), (captions[i : i + CHUNK] for i in range(0, len(captions), CHUNK)))
        return float(torch.cat([self.reward(some, texts) for some, texts in parts]).mean())
