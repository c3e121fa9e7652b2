"""What is measured of an arm's pictures."""

import numpy as np

from ..diversity.__main__ import feature_spread

LUMA = (0.299, 0.587, 0.114)


def saturation(pictures: np.ndarray) -> float:
    """Mean HSV saturation, 0..1, of uint8 pictures [n, h, w, 3]; black has none."""
    high, low = pictures.max(-1).astype(np.float32), pictures.min(-1).astype(np.float32)
    return float(np.mean((high - low) / np.maximum(high, 1)))


def contrast(pictures: np.ndarray) -> float:
    """Standard deviation of the luma (0..1) within each picture, mean."""
    luma = pictures.astype(np.float32) @ np.array(LUMA, np.float32) / 255
    return float(luma.std((1, 2)).mean())


def spread(features: np.ndarray, mean: np.ndarray) -> float:
    """1 - cosine of features [seeds, captions, 1280] less the real pictures' mean, over pairs of seeds."""
    return float(feature_spread(features, mean).mean())


def precision_and_recall(drawn: np.ndarray, real: np.ndarray, k: int = 3) -> tuple[float, float]:
    """(share of drawn pictures on the real ones' manifold, share of real ones on the drawn ones'), features [n, c].

    A manifold is the union of balls to each picture's k-th neighbour. Source: Kynkaanniemi et al. 2019.
    """
    return covered(drawn, real, k), covered(real, drawn, k)


def covered(points: np.ndarray, of: np.ndarray, k: int) -> float:
    """Share of points [n, c] within some ball of the manifold of `of` [m, c]."""
    radii = np.sort(distances(of, of), 1)[:, k]  # the 0th is the point itself
    return float((distances(points, of) <= radii).any(1).mean())


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean, [n, m]."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squared, 0))
