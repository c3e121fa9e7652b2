"""Does a picture show what its caption says? Two evaluators that no method and no reward has seen.

- retrieval: a linear discriminant on the benchmark's features tells 400 captions (200 concepts in two styles) apart; it
  was fitted on reconstructions of real pictures, those of the combinations held out from the base included.
- binding: the colour of the picture's rim is, of the nine colours and white, nearest to the one that is named.

`captions.npz` holds the discriminant. `python -m benchmarks.quality.captions` fits it again and says how often it finds
the caption of fresh real pictures, the most that retrieval can be.
"""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import data, fetch
from .data import Subject

FILE = Path(__file__).resolve().parent / "captions.npz"
EACH, SEED, FRESH_EACH, FRESH_SEED = 8, 31, 2, 32  # pictures of a caption to fit on, and to try it on
COMPONENTS, SHRINKAGE = 256, 0.1
CHUNK, RIM = 100, 3  # pictures at once; pixels
CLASSES = [*data.combinations(), *data.combinations(trained=False)]


class Retrieval:
    """Finds the caption of features [n, 1280]: the nearest mean in the metric of the scatter within captions."""

    def __init__(self, file: Path = FILE):
        with np.load(file) as held:
            self.mean, self.axes, self.means = (held[name].astype(np.float64) for name in ("mean", "axes", "means"))

    def __call__(self, features: np.ndarray) -> list[tuple[str, str]]:
        """(name, style) of each."""
        z = (features.astype(np.float64) - self.mean) @ self.axes
        squared = (self.means**2).sum(1) - 2 * z @ self.means.T
        return [CLASSES[i] for i in squared.argmin(1)]

    def share(self, features: np.ndarray, subjects: list[Subject]) -> float:
        """How many of them show their own caption's concept in its style, 0..1."""
        return float(np.mean([found == (s.name, s.style) for found, s in zip(self(features), subjects, strict=True)]))


def binding(pictures: np.ndarray, subjects: list[Subject]) -> float:
    """Share of pictures uint8 [n, h, w, 3] with a named background whose rim has that colour, 0..1."""
    named = [i for i, subject in enumerate(subjects) if subject.colour]
    return float(np.mean([rim_colour(pictures[i]) == subjects[i].colour for i in named]))


def rim_colour(picture: np.ndarray) -> str:
    """The named colour nearest to the median of a picture's rim; "" for white."""
    inside = np.zeros(picture.shape[:2], bool)
    inside[RIM:-RIM, RIM:-RIM] = True
    median = np.median(picture[~inside], axis=0)
    every = {"": data.WHITE, **data.COLOURS}
    return min(every, key=lambda name: float(((median - every[name]) ** 2).sum()))


def discriminant(features: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """{mean [d], axes [d, k], means [classes, k]}: principal components, whitened by the scatter within classes.

    Fisher's linear discriminant with a shrunk covariance S <- (1 - r) S + r tr(S) / k I (Ledoit & Wolf 2004, r fixed).
    """
    mean = features.mean(0)
    _, _, vt = np.linalg.svd(features - mean, full_matrices=False)
    axes = vt[:COMPONENTS].T
    z = (features - mean) @ axes
    means = np.stack([z[labels == label].mean(0) for label in range(labels.max() + 1)])
    apart = z - means[labels]
    scatter = apart.T @ apart / len(z)
    k = len(scatter)
    scatter = (1 - SHRINKAGE) * scatter + SHRINKAGE * np.trace(scatter) / k * np.eye(k)
    values, vectors = np.linalg.eigh(scatter)
    white = vectors / np.sqrt(values)
    return {"mean": mean, "axes": axes @ white, "means": means @ white}


def plan(each: int, seed: int) -> list[Subject]:
    """`each` subjects of every caption, on the training pictures' backgrounds."""
    trained, held = len(data.combinations()), len(data.combinations(trained=False))
    return [*data.plan(each * trained, seed), *data.plan(each * held, seed, trained=False)]


def real_features(drawer, network, each: int, seed: int) -> tuple[np.ndarray, list[Subject]]:
    """Features of reconstructed real pictures, and their subjects."""
    pictures, subjects, parts = data.load_pictures(fetch.CACHE), plan(each, seed), []
    for first in tqdm(range(0, len(subjects), CHUNK), desc=f"real pictures, seed {seed}"):
        real = data.real_pictures(pictures, subjects[first : first + CHUNK], seed, first)
        parts.append(network(drawer.reconstruct(real)))
    return np.concatenate(parts), subjects


def main() -> None:
    from .features import Features
    from .sample import Drawer

    drawer, network = Drawer(), Features()
    features, subjects = real_features(drawer, network, EACH, SEED)
    labels = np.array([CLASSES.index((s.name, s.style)) for s in subjects])
    fitted = discriminant(features.astype(np.float64), labels)
    part = FILE.with_name("captions.part.npz")
    np.savez_compressed(part, **{name: array.astype(np.float16) for name, array in fitted.items()})
    part.replace(FILE)
    fresh, named = real_features(drawer, network, FRESH_EACH, FRESH_SEED)
    print(f"{Retrieval().share(fresh, named):.3f} of {len(named)} fresh real pictures show their caption")


if __name__ == "__main__":
    main()
