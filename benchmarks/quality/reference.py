"""The reference set: VAE reconstructions of real pictures, and the real ones, as a small file of statistics.

`reference.npz` holds what scoring needs, so scoring downloads no pictures: the principal axes (fitted on real
pictures), mean and covariance of real and reconstructed pictures (set A), projections of a second independent draw
(set B, for the floor at any n) and a subsample of A's reconstructed features for KID.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import data, fetch
from .distance import Basis, Gaussian, frechet, kid, principal_axes
from .features import Features
from .sample import Drawer

FILE = Path(__file__).resolve().parent / "reference.npz"
N, SEED_A, SEED_B, KID_N, CHUNK = 2000, 1, 2, 400, 100


@dataclass(frozen=True)
class Score:
    """Frechet distances with the floor taken off, KID x 1000 (both 0 for a perfect model), and the floors."""

    reconstructed: float
    real: float
    kid: float
    floor_reconstructed: float
    floor_real: float


class Reference:
    """The statistics of the file, and the scoring of a set of features against them."""

    def __init__(self, file: Path = FILE):
        with np.load(file) as held:
            arrays = {name: held[name] for name in held.files}
        self.basis = Basis(arrays["mean"], arrays["axes"])
        self.gaussian = {kind: Gaussian(arrays[f"{kind}_mean"], arrays[f"{kind}_cov"]) for kind in ("real", "recon")}
        self.second = {kind: arrays[f"{kind}_second"].astype(np.float64) for kind in ("real", "recon")}
        self.kid_features = arrays["kid_recon"].astype(np.float32)

    def floor(self, kind: str, n: int) -> float:
        """Distance of n fresh pictures of the same kind, the mean over as many disjoint draws as set B holds."""
        z = self.second[kind]
        if n > len(z):
            raise ValueError(f"floor: the reference's second draw holds {len(z)} pictures, got n = {n}. Use fewer.")
        parts = (z[i : i + n] for i in range(0, len(z) - n + 1, n))
        return float(np.mean([frechet(Gaussian.fit(part), self.gaussian[kind]) for part in parts]))

    def score(self, features: np.ndarray) -> Score:
        """Score features [n, 1280] of drawn pictures."""
        drawn = Gaussian.fit(self.basis(features))
        floors = {kind: self.floor(kind, len(features)) for kind in ("real", "recon")}
        above = {kind: frechet(drawn, self.gaussian[kind]) - floors[kind] for kind in floors}
        return Score(above["recon"], above["real"], kid(features, self.kid_features), floors["recon"], floors["real"])


def both(
    drawer: Callable[[], Drawer], features: Features, cache: Path, seed: int, font: Path | None = None
) -> dict[str, np.ndarray]:
    """Return {"real", "recon"} features [N, 1280] of one draw of real pictures, kept on disk chunk by chunk."""
    subjects, pictures = data.plan(N, seed), None
    parts: dict[str, list[np.ndarray]] = {"real": [], "recon": []}
    for first in tqdm(range(0, N, CHUNK), desc=f"reference pictures, seed {seed}"):
        file = cache / "reference" / f"{seed}-{first}.npz"
        if not file.exists():
            pictures = pictures or data.load_pictures(cache, font)
            real = data.real_pictures(pictures, subjects[first : first + CHUNK], seed, first)
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez(file, real=features(real), recon=features(drawer().reconstruct(real)))
        with np.load(file) as held:
            for kind, rows in parts.items():
                rows.append(held[kind])
    return {kind: np.concatenate(rows) for kind, rows in parts.items()}


def build(drawer: Drawer, cache: Path = fetch.CACHE, font: Path | None = None, file: Path = FILE) -> None:
    """Measure sets A and B and write the reference file."""
    features = Features()
    a, b = (both(lambda: drawer, features, cache, seed, font) for seed in (SEED_A, SEED_B))
    basis = principal_axes(a["real"])
    arrays = {"mean": basis.mean.astype(np.float32), "axes": basis.axes.astype(np.float32)}
    basis = Basis(arrays["mean"], arrays["axes"])
    for kind in ("real", "recon"):
        fit = Gaussian.fit(basis(a[kind]))
        arrays |= {
            f"{kind}_mean": fit.mean,
            f"{kind}_cov": fit.cov,
            f"{kind}_second": basis(b[kind]).astype(np.float16),
        }
    arrays["kid_recon"] = a["recon"][:: N // KID_N].astype(np.float16)
    np.savez_compressed(file, n=N, seed_a=SEED_A, seed_b=SEED_B, **arrays)
