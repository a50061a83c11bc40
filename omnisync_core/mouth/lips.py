"""Finds the mouth near a roughly given point: the blob that stands out from the calm ring of skin around it."""

from __future__ import annotations

import cv2
import numpy as np

from .pose import MIDDLE, UNIT, Pose, patch

ASPECTS = (0.3, 0.5)
ENOUGH = 0.8
"""Score from which a blob is believed to be the mouth."""
STUDY_EVERY, STUDIED = 4, 40
"""Every how many frames a face is studied, and how many times in all."""


def find_mouth(rgb_HWC, x, y, likely, widths, reach=0.9):
    """Centre and width (x, y, width, pixels) of the mouth-like blob near x, y; None where nothing stands out.

    rgb: uint8. likely: the width (pixels) to prefer where the picture does not say; widths: the least and most tried.
    reach: how far from the point the centre may be, in widths. A blob's score is how far its pixels (CIELAB) are from
    the mean of the ring around it, over the ring's own spread; redder than the ring and nearer to the point is better.
    """
    lab = cv2.cvtColor(rgb_HWC.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) * np.float32([0.5, 1, 1])
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
    """Looks at a followed face now and then: the median of what it sees is surer than the first frame."""

    def __init__(self):
        self._frames, self._looks, self._found = 0, 0, []

    def add(self, rgb_HWC, pose: Pose):
        """One more uint8 frame and the pose that was found on it."""
        self._frames += 1
        if self._frames % STUDY_EVERY != 1 or self._looks >= STUDIED:
            return
        self._looks += 1
        at = MIDDLE + 0.5
        found = find_mouth(patch(rgb_HWC, pose), at, at, UNIT, (0.4 * UNIT, 2.2 * UNIT), reach=0.7)
        if found is not None:
            self._found.append(((found[0] - at) / UNIT, (found[1] - at) / UNIT, found[2] / UNIT))

    def mouth(self) -> np.ndarray | None:
        """How far right and down (mouth widths) and how many times as wide the mouth is than thought; None: unclear."""
        return np.median(self._found, axis=0) if len(self._found) > max(2, self._looks / 2) else None


def _stands_out(sums, xs, ys, width, aspect):
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


def _measure(lab, x, y, width):
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


def _integral(image_HWC):
    return np.pad(image_HWC.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0), (0, 0)))


def _box_sums(sums, xs, ys, across, along):
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    x0, x1 = (np.clip(np.rint(v), 0, width).astype(int) for v in (xs - across, xs + across))
    y0, y1 = (np.clip(np.rint(v), 0, height).astype(int) for v in (ys - along, ys + along))
    return sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0], (x1 - x0) * (y1 - y0)
