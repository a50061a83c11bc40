"""Which of several mouths speaks: the one that moves, and moves with the video's own sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from .detect import Face
from .pose import SIDE, Pose, patch
from .types import Look

Hear = Callable[[np.ndarray], np.ndarray]
"""Times (N,) in seconds -> how loud the video's own sound is there (N,), dB."""

AGREES, CLEARLY = 0.3, 0.15
"""Correlation with the sound from which a mouth may be who is heard, and by how much it must exceed all others'."""
EVEN = 1.5
"""Standard deviation (dB) of a sound that is as loud throughout: it tells nothing."""
TALKS = 1.5
"""How many times as much the liveliest mouth must move as another one to be preferred to it."""
LIPS = slice(round(0.4 * SIDE), round(0.62 * SIDE))
"""Rows and columns of the canonical patch."""
SMOOTHED = 2.0
"""Frames, standard deviation: sound and lips are not that exactly in step."""


def who_speaks(seen: Sequence, looks: Sequence, hear: Hear | None = None) -> Any:
    """One of the mouths `seen` (each with `faces`: Face by number of the look, and `width`), at least one.

    Who clearly goes with the sound; else the largest of those that move about as much as the liveliest one.
    """
    if len(seen) == 1:
        return seen[0]
    lips = [_lips(one.faces, one.width, looks) for one in seen]
    heard = _heard(lips, looks, hear)
    if heard is not None:
        return seen[heard]
    moves = [_changes(one_TWW).mean() for one_TWW in lips]
    lively = [one for one, move in zip(seen, moves, strict=True) if move * TALKS >= max(moves)]
    return max(lively, key=lambda one: one.width)


def _heard(lips: Sequence[np.ndarray], looks: Sequence[Look], hear: Hear | None) -> int | None:
    """The number of the mouth that clearly goes with the sound, if there is one."""
    if hear is None or len(looks) < 4 * SMOOTHED:
        return None
    loud_T = _smooth(hear(np.array([look.time for look in looks])))
    if loud_T.std() < EVEN:
        return None
    agreement = [
        max(_correlation(loud_T, _smooth(np.append(0, _changes(one_TWW)))), _correlation(loud_T, _openness(one_TWW)))
        for one_TWW in lips
    ]
    second, best = sorted(agreement)[-2:]
    return agreement.index(best) if best >= AGREES and best - second >= CLEARLY else None


def _lips(faces: Mapping[int, Face], width: float, looks: Sequence[Look]) -> np.ndarray:
    """(T, W, W): the lips in every look, soft, on a face held still; between two sights its path is straight."""
    numbers = sorted(faces)
    x_T, y_T, roll_T = (
        np.interp(np.arange(len(looks)), numbers, [getattr(faces[number], name) for number in numbers])
        for name in ("x", "y", "roll")
    )
    patches = (
        patch(look.gray, Pose(float(x), float(y), width, float(roll)))
        for look, x, y, roll in zip(looks, x_T, y_T, roll_T, strict=True)
    )
    return np.stack([cv2.GaussianBlur(one, (0, 0), 2).astype(np.float32)[LIPS, LIPS] for one in patches])


def _changes(lips_TWW: np.ndarray) -> np.ndarray:
    """(T - 1,): how much the lips change, gray levels."""
    return np.array([np.abs(a - b).mean() for a, b in pairwise(lips_TWW)])


def _openness(lips_TWW: np.ndarray) -> np.ndarray:
    """(T,): how dark the middle is; what is inside a mouth is darker than lips."""
    quarter = lips_TWW.shape[1] // 4
    return _smooth(-lips_TWW[:, quarter:-quarter, quarter:-quarter].mean((1, 2)))


def _smooth(values_T: np.ndarray) -> np.ndarray:
    row = np.asarray(values_T, np.float64)[None]
    return cv2.GaussianBlur(row, (0, 0), SMOOTHED, borderType=cv2.BORDER_REPLICATE)[0]


def _correlation(a_T: np.ndarray, b_T: np.ndarray) -> float:
    a_T, b_T = a_T - a_T.mean(), b_T - b_T.mean()
    size = float(np.linalg.norm(a_T) * np.linalg.norm(b_T))
    return float(a_T @ b_T) / size if size > 1e-6 else 0.0
