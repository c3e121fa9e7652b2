"""The distances of benchmarks/quality against closed forms, and the determinism of its pictures."""

import numpy as np
import pytest
from fewstep.benchmarks.quality import data
from fewstep.benchmarks.quality.distance import Gaussian, frechet, kid, principal_axes
from PIL import Image, ImageDraw

RNG = np.random.default_rng(0)


def test_frechet_of_equal_sets_is_zero():
    fit = Gaussian.fit(RNG.normal(size=(500, 16)))
    assert abs(frechet(fit, fit)) < 1e-9


def test_frechet_of_diagonal_gaussians():
    # |m1 - m2|^2 + sum (s1 - s2)^2 for commuting covariances
    s1, s2, m = RNG.uniform(0.5, 2, 8), RNG.uniform(0.5, 2, 8), RNG.normal(size=8)
    turn, _ = np.linalg.qr(RNG.normal(size=(8, 8)))
    a, b = (Gaussian(mean, turn @ np.diag(s**2) @ turn.T) for mean, s in ((0 * m, s1), (m, s2)))
    assert frechet(a, b) == pytest.approx((m**2).sum() + ((s1 - s2) ** 2).sum())


def test_frechet_of_full_covariances():
    # tr (A B)^1/2 is the sum of the roots of the eigenvalues of A B
    a, b = (Gaussian.fit(RNG.normal(size=(300, 6)) @ RNG.normal(size=(6, 6))) for _ in range(2))
    cross = np.sqrt(np.linalg.eigvals(a.cov @ b.cov).real).sum()
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.cov + b.cov) - 2 * cross
    assert frechet(a, b) == pytest.approx(expected)


def test_frechet_of_samples_approaches_the_closed_form():
    a, b = Gaussian.fit(RNG.normal(size=(20000, 4))), Gaussian.fit(1 + 2 * RNG.normal(size=(20000, 4)))
    assert frechet(a, b) == pytest.approx(4 + 4, rel=0.03)


def test_gaussian_refuses_too_few_pictures():
    with pytest.raises(ValueError, match="expected more than 64 pictures, got 64"):
        Gaussian.fit(np.zeros((64, 64)))


def test_kid_is_unbiased():
    draws = [kid(RNG.normal(size=(60, 8)), RNG.normal(size=(60, 8))) for _ in range(200)]
    error = np.std(draws) / np.sqrt(len(draws))
    assert min(draws) < 0 < max(draws)
    assert abs(np.mean(draws)) < 4 * error
    assert kid(RNG.normal(size=(60, 8)), 1 + RNG.normal(size=(60, 8))) > 10 * np.std(draws)


def test_principal_axes_are_the_leading_eigenvectors():
    x = RNG.normal(size=(4000, 10)) * np.array([9, 7, 5, *[0.1] * 7]) + 3
    basis = principal_axes(x, 3)
    np.testing.assert_allclose(basis.axes.T @ basis.axes, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.abs(basis.axes[:3]), np.eye(3), atol=0.05)
    np.testing.assert_allclose(basis(x).var(0), [81, 49, 25], rtol=0.1)


def test_subjects_cover_the_trained_combinations_evenly():
    subjects = data.plan(724, seed=5)
    pairs = [(s.name, s.style) for s in subjects]
    assert len(data.concepts()) == 200 and len(data.held_out()) == 38
    assert all(pairs.count(pair) == 2 for pair in data.combinations())
    assert not data.held_out() & set(pairs)
    assert 0.38 < np.mean([s.colour is None for s in subjects]) < 0.52
    assert data.plan(100, seed=5) == subjects[:100]


def test_captions_are_the_trained_ones():
    fox = data.Subject("fox", "animal", "3d", "red")
    assert fox.caption == "fox, 3d style, on a red background"
    said = [data.training_caption(fox, np.random.default_rng(i)) for i in range(3000)]
    assert np.mean([words == "" for words in said]) == pytest.approx(0.10, abs=0.02)
    assert np.mean([words.startswith("animal") for words in said]) == pytest.approx(0.90 * 0.12, abs=0.02)


def test_rendering_is_deterministic_and_stays_inside():
    picture = Image.new("RGBA", (80, 60), (0, 0, 0, 0))
    ImageDraw.Draw(picture).ellipse((10, 5, 70, 55), fill=(255, 0, 0, 255))
    picture = data.cut(picture)
    subjects = [data.Subject("disc", "object", "flat", None), data.Subject("disc", "object", "flat", "blue")]
    one = data.real_pictures({("disc", "flat"): picture}, subjects, seed=3)
    two = data.real_pictures({("disc", "flat"): picture}, subjects[1:], seed=3, first=1)
    assert one.shape == (2, 96, 96, 3)
    np.testing.assert_array_equal(one[1], two[0])
    inside = (one[0] != 255).any(-1)
    assert 0.7 * 96 <= max(np.ptp(axis) + 1 for axis in np.nonzero(inside)) <= 96
    assert tuple(one[1][0, 0]) == data.COLOURS["blue"]
