"""Frechet distances against closed forms, against scipy's root of a matrix and against torchmetrics."""

import numpy as np
import pytest
from scipy import linalg

from omnisync_core.bench.frechet import distance, halves, jackknife


def gaussian(rng, count, mean, covariance):
    """Samples whose mean and covariance (with N - 1) are exactly the given ones."""
    x = rng.normal(0, 1, (count, len(mean)))
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return x @ np.linalg.cholesky(covariance).T + mean


def test_a_set_is_no_distance_from_itself():
    x = np.random.default_rng(0).normal(0, 1, (50, 8))
    assert abs(distance(x, x)) < 1e-9
    assert abs(distance(x, x[::-1])) < 1e-9


def test_a_shift_costs_its_square():
    x = np.random.default_rng(1).normal(0, 1, (40, 12))
    assert abs(distance(x, x + 0.5) - 12 * 0.25) < 1e-9


def test_diagonal_covariances_have_a_closed_form():
    """(s - t)^2 in every dimension."""
    rng, s, t = np.random.default_rng(2), np.array([1.0, 2, 3]), np.array([2.0, 2, 0.5])
    a, b = gaussian(rng, 60, np.zeros(3), np.diag(s**2)), gaussian(rng, 90, np.array([1.0, 0, 0]), np.diag(t**2))
    assert abs(distance(a, b) - (1 + np.square(s - t).sum())) < 1e-8


@pytest.mark.parametrize(("n", "m"), [(200, 150), (200, 9), (9, 200), (6, 5)])
def test_full_covariances_equal_scipy_s_root(n, m):
    """Few samples leave the covariances singular; there the root is taken of the nearest regular ones."""
    rng = np.random.default_rng(n + m)
    mix = rng.normal(0, 1, (10, 10))
    a, b = rng.normal(0, 1, (n, 10)) @ mix, rng.normal(0.3, 2, (m, 10))
    left, right = (np.cov(x, rowvar=False) + 1e-12 * np.eye(10) for x in (a, b))
    root = linalg.sqrtm(linalg.sqrtm(left).real @ right @ linalg.sqrtm(left).real).real
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(left + right - 2 * root)
    assert abs(distance(a, b) - expected) < 1e-3 * max(1, expected)


@pytest.mark.parametrize(("n", "m"), [(64, 64), (12, 30)])
def test_torchmetrics_gives_the_same(n, m):
    pytest.importorskip("torchmetrics", reason="torchmetrics computes FID")
    from omnisync_core.bench.sets import pooled

    rng = np.random.default_rng(3)
    a, b = rng.normal(0, 1, (n, 16)).astype(np.float32), rng.normal(0.2, 1.3, (m, 16)).astype(np.float32)
    assert abs(pooled("fid", a, b) - distance(a, b)) < 1e-3
    assert pooled("fvd", a, b) == distance(a, b)


def test_one_feature_is_no_distribution():
    with pytest.raises(ValueError, match="two features"):
        distance(np.zeros((1, 3)), np.zeros((5, 3)))


@pytest.mark.parametrize("count", [2, 5, 64])
def test_halves_share_nothing_and_lose_nothing(count):
    one, other = halves(count)
    assert sorted([*one, *other]) == list(range(count))
    assert abs(len(one) - len(other)) <= 1


def test_the_jackknife_s_interval_of_a_mean_is_the_textbook_s():
    """Leaving one of N out, its error is that of the mean."""
    x = np.random.default_rng(4).normal(5, 2, 10)
    value, low, high = jackknife(lambda rows: x[rows].mean(), 10)
    error = x.std(ddof=1) / np.sqrt(10)
    assert np.allclose([value, low, high], [x.mean(), x.mean() - 1.96 * error, x.mean() + 1.96 * error])


def test_two_clips_have_no_interval():
    value, low, high = jackknife(lambda rows: float(len(rows)), 2)
    assert value == 2
    assert np.isnan([low, high]).all()
