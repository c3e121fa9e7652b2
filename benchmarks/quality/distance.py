"""Frechet distance on principal components, and kernel distance (KID), between two sets of features."""

from dataclasses import dataclass

import numpy as np

COMPONENTS = 64


@dataclass(frozen=True)
class Basis:
    """Principal axes fitted on real pictures: z = (f - mean) axes, axes [d, k]."""

    mean: np.ndarray
    axes: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return (features.astype(np.float64) - self.mean) @ self.axes.astype(np.float64)


@dataclass(frozen=True)
class Gaussian:
    """Mean [k] and covariance [k, k] of a set of projected features."""

    mean: np.ndarray
    cov: np.ndarray

    @classmethod
    def fit(cls, z: np.ndarray) -> "Gaussian":
        """Fit to rows z [n, k]; n must be above k, else the covariance is singular."""
        if len(z) <= z.shape[1]:
            raise ValueError(f"Gaussian.fit: expected more than {z.shape[1]} pictures, got {len(z)}. Draw more.")
        return cls(z.mean(0), np.cov(z, rowvar=False))


def principal_axes(features: np.ndarray, k: int = COMPONENTS) -> Basis:
    """Fit the first k principal axes of features [n, d] (eigenvectors of their covariance, largest first)."""
    mean = features.mean(0, dtype=np.float64)
    _, _, vt = np.linalg.svd(features.astype(np.float64) - mean, full_matrices=False)
    return Basis(mean, vt[:k].T.copy())


def frechet(a: Gaussian, b: Gaussian) -> float:
    """Squared 2-Wasserstein distance of two Gaussians: |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2)."""
    root = _root(a.cov)
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ b.cov @ root), 0, None)).sum()
    return float(((a.mean - b.mean) ** 2).sum() + np.trace(a.cov) + np.trace(b.cov) - 2 * cross)


def _root(cov: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(cov)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def kid(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased MMD^2 with the kernel (x.y / d + 1)^3 (Binkowski et al. 2018), times 1000; about 0 for equal sources."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    n, m, d = len(x), len(y), x.shape[1]
    kxx, kyy, kxy = ((p @ q.T / d + 1) ** 3 for p, q in ((x, x), (y, y), (x, y)))
    within = (kxx.sum() - np.trace(kxx)) / (n * (n - 1)) + (kyy.sum() - np.trace(kyy)) / (m * (m - 1))
    return float(1000 * (within - 2 * kxy.mean()))
