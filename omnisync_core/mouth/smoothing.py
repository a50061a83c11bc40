"""Zero-phase smoothing and gap filling over presentation times, so that variable frame rates are treated fairly."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def smooth(times_N: ArrayLike, values_NC: ArrayLike, sigma: float, weights_N: ArrayLike | None = None) -> np.ndarray:
    """Smooth without lag by a local straight-line fit under a Gaussian window of `sigma` seconds.

    The line (not the mean) keeps the ends of a steady movement where they are. Frames of weight 0 are given the value
    that their neighbours imply; where no neighbour within 3 sigma has weight, the value stays.
    """
    times = np.asarray(times_N, np.float64)
    values = np.asarray(values_NC, np.float64)
    columns = values.reshape(len(times), -1)
    weights = np.ones(len(times)) if weights_N is None else np.asarray(weights_N, np.float64)
    if len(times) < 2 or sigma <= 0:
        return values.copy()
    s0, s1, s2 = np.zeros((3, len(times)))
    t0, t1 = np.zeros((2, *columns.shape))
    reach = 3 * sigma
    widest = int(np.max(np.searchsorted(times, times + reach, "right") - np.arange(len(times))))
    for shift in range(-widest, widest + 1):
        here = slice(max(0, -shift), len(times) - max(0, shift))
        there = slice(max(0, shift), len(times) - max(0, -shift))
        if here.start >= here.stop:
            continue
        gap = times[there] - times[here]
        weight = np.where(np.abs(gap) <= reach, np.exp(-0.5 * (gap / sigma) ** 2), 0.0) * weights[there]
        s0[here] += weight
        s1[here] += weight * gap
        s2[here] += weight * gap * gap
        t0[here] += weight[:, None] * columns[there]
        t1[here] += (weight * gap)[:, None] * columns[there]
    spread = s0 * s2 - s1 * s1
    mean = t0 / np.maximum(s0, 1e-12)[:, None]
    line = (s2[:, None] * t0 - s1[:, None] * t1) / np.maximum(spread, 1e-12)[:, None]
    # A line through a lopsided handful would be thrown far off: there the mean is the safer answer.
    steady = (spread > 1e-3 * (s0 * sigma) ** 2) & (s0 > 0.5)
    result = np.where(steady[:, None], line, mean)
    result = np.where((s0 > 1e-6)[:, None], result, columns)
    return result.reshape(values.shape)


def gaps(known_N: ArrayLike) -> list[tuple[int, int]]:
    """Runs of False as (start, stop) pairs."""
    edges = np.flatnonzero(np.diff(np.concatenate([[1], np.asarray(known_N, bool).astype(int), [1]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def fill_gaps(
    times_N: ArrayLike, values_NC: ArrayLike, known_N: ArrayLike, longest: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Straight lines across gaps of at most `longest` seconds between two known frames -> (values, filled_N)."""
    times, known = np.asarray(times_N), np.asarray(known_N, bool)
    values, filled = np.array(values_NC, np.float64), np.zeros(len(times), bool)
    for start, stop in gaps(known):
        if start == 0 or stop == len(times) or times[stop] - times[start - 1] > longest:
            continue
        share = (times[start:stop] - times[start - 1]) / (times[stop] - times[start - 1])
        shape = (-1,) + (1,) * (values.ndim - 1)
        share = share.reshape(shape)
        values[start:stop] = values[start - 1] * (1 - share) + values[stop] * share
        filled[start:stop] = True
    return values, filled
