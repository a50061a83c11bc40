"""The Frechet distance of two sets of features taken as Gaussians (Dowson and Landau 1982; Heusel et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def distance(a_ND: np.ndarray, b_MD: np.ndarray) -> float:
    """|mean a - mean b|^2 + tr(A + B - 2 (A B)^(1/2)), covariances with N - 1; both sets of at least two.

    With centred features X and Y over the roots of their counts, tr (A B)^(1/2) is the nuclear norm of X Y^T: no root
    of a matrix, and exact where fewer features than dimensions leave the covariances singular.
    """
    a, b = (np.asarray(x, np.float64) for x in (a_ND, b_MD))
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a Frechet distance needs two features of each set, got {len(a)} and {len(b)}")
    apart = np.square(a.mean(0) - b.mean(0)).sum()
    a, b = ((x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b))
    if min(len(a), len(b)) > a.shape[1]:  # triangles as tall as the dimensions say the same
        a, b = (np.asarray(np.linalg.qr(x, mode="r")) for x in (a, b))
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(apart + np.square(a).sum() + np.square(b).sum() - 2 * shared)


def halves(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The clips' numbers in two halves, by chance."""
    order = np.random.default_rng(0).permutation(count)
    return np.sort(order[: count // 2]), np.sort(order[count // 2 :])


def jackknife(statistic: Callable[[np.ndarray], float], count: int) -> tuple[float, float, float]:
    """The statistic of all clips and its 95 % interval, from leaving one of up to 10 groups of clips out.

    A Frechet distance grows when clips are drawn twice, so that a bootstrap's interval would lie beside it.
    """
    value = float(statistic(np.arange(count)))
    groups = min(10, count)
    if groups < 3:
        return value, float("nan"), float("nan")
    order = np.random.default_rng(0).permutation(count)
    left_out: Sequence[np.ndarray] = np.array_split(order, groups)
    values = np.array([statistic(np.setdiff1d(np.arange(count), part)) for part in left_out])
    error = np.sqrt((groups - 1) / groups * np.square(values - values.mean()).sum())
    return value, value - 1.96 * error, value + 1.96 * error
