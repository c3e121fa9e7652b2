"""A claim's pictures: the same captions and noises in every arm, an arm a row."""

from pathlib import Path

import numpy as np
from PIL import Image

from ..quality.fetch import ROOT
from .claim import Arm, Claim, slug

PLACE = ROOT / "docs" / "evidence"
ACROSS = 8


def keep(pictures: np.ndarray, folder: Path, arm: Arm, seed: int, budget: int) -> None:
    """Save the first pictures uint8 [n, h, w, 3] of an arm as one row."""
    file = place(folder, arm, seed, budget)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part.png")
    Image.fromarray(np.concatenate(list(pictures[:ACROSS]), 1)).save(part)
    part.replace(file)


def place(folder: Path, arm: Arm, seed: int, budget: int) -> Path:
    """Its row's file: by the budget too, where its student was trained in so many steps."""
    tried = f"-{budget}" if arm.trained else ""
    return folder / "pictures" / f"{slug(arm.name)}{tried}-{seed}.png"


def write(claim: Claim, folder: Path, seed: int, budget: int, to: Path = PLACE) -> Path | None:
    """The rows of all arms below each other as docs/evidence/NAME.webp; None where one was not drawn here."""
    files = [place(folder, arm, seed, budget) for arm in claim.arms]
    if not all(file.exists() for file in files):
        return None
    to.mkdir(parents=True, exist_ok=True)
    sheet = Image.fromarray(np.concatenate([np.asarray(Image.open(file).convert("RGB")) for file in files]))
    part = to / f"{claim.name}.part.webp"
    sheet.save(part, quality=85)
    part.replace(to / f"{claim.name}.webp")
    return to / f"{claim.name}.webp"
