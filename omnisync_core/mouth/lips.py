"""Finds the mouth near a roughly given point: the blob that moves or, in one picture, that stands out from the skin."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import ArrayLike

from .pose import MIDDLE, UNIT, Pose, patch

ASPECTS = (0.3, 0.5)
ENOUGH = 0.8
"""Score from which a blob is believed to be the mouth."""
STUDY_EVERY, STUDIED, LEAST_LOOKS = 4, 40, 8
"""Every how many frames a face is studied, how many times in all, and from how many looks on by its movement."""
USUAL = 65
"""Percentile, over time, of how much a pixel changes between two looks."""
MOVES, LIPS = 5.0, 0.3
"""The usual change (CIELAB) from which lips are believed to move, and the share of it that still belongs to them."""
LEAST_MOVING, LEAST, MOST = 0.15, 0.4, 2.2
"""Widths of a blob over the width that the mouth was thought to have."""
PATCH_MIDDLE = MIDDLE + 0.5


def find_mouth(
    rgb_HWC: np.ndarray, x: float, y: float, likely: float, widths: tuple[float, float], reach: float = 0.9
) -> tuple[float, float, float] | None:  # fmt: skip
    """Centre and width (x, y, width, pixels) of the mouth-like blob near x, y; None where nothing stands out.

    rgb: uint8. likely: the width (pixels) to prefer where the picture does not say; widths: the least and most tried.
    reach: how far from the point the centre may be, in widths. A blob's score is how far its pixels (CIELAB) are from
    the mean of the ring around it, over the ring's own spread; redder than the ring and nearer to the point is better.
    """
    lab = _lab(rgb_HWC) * np.array([0.5, 1, 1], np.float32)
    sums = _integral(np.dstack([lab, (lab * lab).sum(axis=-1)]).astype(np.float64))
    best, at_best = ENOUGH, None
    for width in widths[0] * 1.1 ** np.arange(1 + int(np.log(widths[1] / widths[0]) / np.log(1.1))):
        grid = np.arange(-reach, reach + 1e-6, 0.06) * width
        xs, ys = (v.ravel() for v in np.meshgrid(x + grid, y + grid))
        far = ((xs - x) ** 2 + (ys - y) ** 2) / width**2
        doubt = 1.5 * far + 0.35 * np.log(width / likely) ** 2
        for aspect in ASPECTS:
            score = np.where(far <= reach**2, _stands_out(sums, xs, ys, width, aspect) - doubt, -np.inf)
            at = int(score.argmax())
            if score[at] > best:
                best, at_best = float(score[at]), (float(xs[at]), float(ys[at]), float(width))
    return None if at_best is None else _measure(lab, *at_best)


class MouthStudy:
    """Looks at a followed face now and then: what moves there is surer than what stands out on the first frame."""

    def __init__(self) -> None:
        self._frames = 0
        self._looks: list[np.ndarray] = []

    def add(self, rgb_HWC: np.ndarray, pose: Pose) -> None:
        """One more uint8 frame and the pose that was found on it."""
        self._frames += 1
        if self._frames % STUDY_EVERY == 1 and len(self._looks) < STUDIED:
            self._looks.append(patch(rgb_HWC, pose))

    def mouth(self) -> np.ndarray | None:
        """How far right and down (mouth widths) and how many times as wide the mouth is than thought; None: unclear."""
        found: ArrayLike | None = self._moving()
        if found is None:
            found = self._standing_out()
        return None if found is None else (np.array(found) - [PATCH_MIDDLE, PATCH_MIDDLE, 0]) / UNIT

    def _moving(self) -> tuple[float, float, float] | None:
        """The blob that changes most of the time: lips that speak do, not what passes before them or blinks."""
        if len(self._looks) < LEAST_LOOKS:
            return None
        labs = [cv2.GaussianBlur(_lab(look), (0, 0), 1.5) for look in self._looks]
        changes = [np.linalg.norm(after - before, axis=-1) for before, after in pairwise(labs)]
        usual = np.percentile(changes, USUAL, axis=0)
        y, x = np.mgrid[: usual.shape[0], : usual.shape[1]] + 0.5
        near = np.exp(-((x - PATCH_MIDDLE) ** 2 + (y - PATCH_MIDDLE) ** 2) / (2 * (0.5 * UNIT) ** 2))
        usual = cv2.GaussianBlur(usual, (0, 0), 1.5)
        peak = np.unravel_index((usual * near).argmax(), usual.shape)
        if usual[peak] < MOVES:
            return None
        _, labels = cv2.connectedComponents((usual > LIPS * usual[peak]).astype(np.uint8))
        blob = labels == labels[peak]
        left, right = np.percentile(x[blob], [2, 98])
        width = right - left + 1
        if not LEAST_MOVING * UNIT < width < MOST * UNIT:
            return None
        return (left + right) / 2, np.average(y[blob], weights=usual[blob]), width

    def _standing_out(self) -> np.ndarray | None:
        """The median of the blobs that differ from the skin around them, if most looks show one."""
        widths = LEAST * UNIT, MOST * UNIT
        tried = (find_mouth(look, PATCH_MIDDLE, PATCH_MIDDLE, UNIT, widths, reach=0.7) for look in self._looks)
        found = [one for one in tried if one is not None]
        return np.median(found, axis=0) if len(found) > max(2, len(self._looks) / 2) else None


def _stands_out(sums: np.ndarray, xs: np.ndarray, ys: np.ndarray, width: float, aspect: float) -> np.ndarray:
    """Score of blobs `width` wide at xs, ys."""
    inner, area = _box_sums(sums, xs, ys, width / 2, aspect * width / 2)
    outer, full = _box_sums(sums, xs, ys, 0.75 * width, (aspect / 2 + 0.25) * width)
    ring_area = full - area
    ring = (outer - inner) / np.maximum(ring_area, 1)[:, None]
    blob = inner / np.maximum(area, 1)[:, None]
    middle = ring[:, :-1]
    spread = ring[:, -1] - (middle**2).sum(axis=1)
    away = blob[:, -1] - 2 * (blob[:, :-1] * middle).sum(axis=1) + (middle**2).sum(axis=1)
    redder = np.clip((blob - ring)[:, 1], -10, 15)
    score = np.log((np.maximum(away, 0) + 4) / (np.maximum(spread, 0) + 4)) + 0.08 * redder
    return np.where((area > 0) & (ring_area > 0), score, -np.inf)


def _measure(lab: np.ndarray, x: float, y: float, width: float) -> tuple[float, float, float]:
    """The blob's ends to left and right, where its columns stand out half as much as its middle does."""
    across, along = np.arange(-0.9, 0.901, 0.02), np.arange(-0.35, 0.351, 0.035)
    grid = np.meshgrid(x - 0.5 + across * width, y - 0.5 + along * width)
    blob = cv2.remap(lab, *(g.astype(np.float32) for g in grid), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    beside, middle = np.abs(across) > 0.62, np.abs(across) < 0.3
    away = np.linalg.norm(blob - np.median(blob[:, beside].reshape(-1, 3), axis=0), axis=2)
    profile = np.sort(away, axis=0)[-5:].mean(axis=0)
    low = profile < (np.median(profile[beside]) + np.median(profile[middle])) / 2
    center = len(across) // 2
    left = across[max(np.flatnonzero(low[:center]), default=0)]
    right = across[center + min(np.flatnonzero(low[center:]), default=center)]
    if not 0.6 < right - left < 1.5:
        return x, y, width
    return x + (left + right) / 2 * width, y, (right - left) * width


def _lab(rgb_HWC: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(rgb_HWC.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def _integral(image_HWC: np.ndarray) -> np.ndarray:
    return np.pad(image_HWC.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0), (0, 0)))


def _box_sums(
    sums: np.ndarray, xs: np.ndarray, ys: np.ndarray, across: float, along: float
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    x0, x1 = (np.clip(np.rint(v), 0, width).astype(int) for v in (xs - across, xs + across))
    y0, y1 = (np.clip(np.rint(v), 0, height).astype(int) for v in (ys - along, ys + along))
    return sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0], (x1 - x0) * (y1 - y0)
