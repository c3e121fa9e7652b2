"""Score a row: draw its pictures in chunks that are kept on disk, and hold their features against the reference."""

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from . import data
from .features import Features
from .fetch import ROOT
from .reference import Reference, Score
from .sample import CHECKPOINT, Drawer, Row, content

FOLDER = ROOT / "output" / "quality"
SEED, CHUNK = 0, 100


@dataclass(frozen=True)
class Result:
    """A row's figures at n pictures: network passes and seconds are a picture's."""

    name: str
    row: Row
    n: int
    passes: float
    seconds: float
    score: Score

    def line(self) -> dict:
        """The result as it stands in results.json."""
        row = asdict(self.row) | {"lora": Path(self.row.lora).name}
        figures = {"passes": round(self.passes, 2), "seconds": round(self.seconds, 4)}
        return {"name": self.name, "n": self.n} | figures | rounded(asdict(self.score)) | {"row": row}


def rounded(values: dict[str, float], digits: int = 2) -> dict[str, float]:
    """Round every value."""
    return {name: round(value, digits) for name, value in values.items()}


class DrawnFeatures(NamedTuple):
    """Features [n, 1280] of drawn pictures; network passes and seconds are a picture's."""

    features: np.ndarray
    passes: float
    seconds: float


class Bench:
    """Draws and scores rows; host, feature network and reference are loaded when a chunk is missing."""

    def __init__(self, checkpoint: Path = CHECKPOINT, device: str = "cpu", folder: Path = FOLDER, seed: int = SEED):
        self.checkpoint, self.device, self.folder, self.seed = checkpoint, device, folder, seed
        self._drawer: Drawer | None = None
        self.network = Features(device if device != "auto" else "cpu")
        self._reference: Reference | None = None

    @property
    def drawer(self) -> Drawer:
        """The host with the base model, started on first use."""
        if self._drawer is None:
            self._drawer = Drawer(self.checkpoint, self.device)
        return self._drawer

    @property
    def reference(self) -> Reference:
        """The reference statistics, read on first use."""
        if self._reference is None:
            self._reference = Reference()
        return self._reference

    def place(self, row: Row) -> Path:
        """Return the row's folder, named by the hash of everything its pictures depend on."""
        key = {"row": row.key(), "checkpoint": content(self.checkpoint), "seed": self.seed, "host": host_version()}
        return self.folder / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]

    def draw(self, row: Row, n: int) -> DrawnFeatures:
        """Draw n pictures of a row and return their features; chunks already on disk are not drawn again."""
        place = self.place(row)
        place.mkdir(parents=True, exist_ok=True)
        (place / "row.txt").write_text(row.name + "\n", encoding="utf-8")
        subjects = data.plan(n, self.seed)
        starts = tqdm(range(0, n, CHUNK), desc=row.name, leave=False)
        chunks = [self._chunk(row, place, subjects[first : first + CHUNK], first) for first in starts]
        passes, seconds = (float(np.mean([chunk[kind] for chunk in chunks])) for kind in ("passes", "seconds"))
        return DrawnFeatures(np.concatenate([chunk["features"] for chunk in chunks]), passes, seconds)

    def measure(self, row: Row, n: int) -> Result:
        """Score n pictures of a row."""
        drawn = self.draw(row, n)
        return Result(row.name, row, n, drawn.passes, drawn.seconds, self.reference.score(drawn.features))

    def _chunk(self, row: Row, place: Path, subjects: list[data.Subject], first: int) -> dict[str, np.ndarray]:
        file = place / f"{first}-{len(subjects)}.npz"
        if not file.exists():
            drawn = self.drawer.draw(row, [s.caption for s in subjects], self.seed, first)
            if first == 0:
                sheet(drawn.pictures, place / "pictures.png")
            part = file.with_name("part.npz")
            figures = {"passes": drawn.passes, "seconds": drawn.seconds}
            np.savez(part, features=self.network(drawn.pictures), **figures)
            part.replace(file)
        with np.load(file) as held:
            return dict(held)


def sheet(pictures: np.ndarray, file: Path, columns: int = 10) -> None:
    """Save pictures [n, h, w, 3] as one sheet, to be looked at."""
    from PIL import Image

    starts = range(0, len(pictures) // columns * columns, columns)
    rows = [np.concatenate(list(pictures[i : i + columns]), 1) for i in starts]
    if rows:
        Image.fromarray(np.concatenate(rows)).save(file)


def host_version() -> str:
    """Return the version of the installed PyPI host, or "checkout"."""
    try:
        return metadata.version("comfyui")
    except metadata.PackageNotFoundError:
        return "checkout"
