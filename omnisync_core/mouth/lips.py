"""Finds the mouth near a roughly given point: the blob that stands out from, or moves against, a ring of calm skin."""

from __future__ import annotations

import cv2
import numpy as np

from .pose import MIDDLE, UNIT

ASPECTS = (0.3, 0.5)
ENOUGH = 0.8
"""Score from which a blob is believed to be the mouth."""
STUDIED = 250
"""Frames after which a face is known well enough."""


def find_mouth(rgb_HWC, x, y, likely, widths, reach=0.9, motion_HW=None):
    """Centre and width (x, y, width, pixels) of the mouth-like blob near x, y; None where nothing stands out.

    rgb: uint8. likely: the width (pixels) to prefer where the picture does not say; widths: the least and most tried.
    reach: how far from the point the centre may be, in widths. motion: how much each pixel changes over time, in grey
    levels. A blob's score is how far its pixels (CIELAB and motion) are from the mean of the ring around it, over the
    ring's own spread; redder than the ring and nearer to the point is better.
    """
    lab = cv2.cvtColor(rgb_HWC.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) * np.float32([0.5, 1, 1])
    features = lab if motion_HW is None else np.dstack([lab, motion_HW.astype(np.float32)])
    sums = _integral(np.dstack([features, (features * features).sum(axis=-1)]).astype(np.float64))
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
    """Learns from canonical patches where in them the mouth is: what moves there while the face is held still."""

    def __init__(self):
        self.count = 0
        self._sum = self._squares = 0.0

    def add(self, rgb_patch):
        """One more uint8 patch of the followed face."""
        self.count += 1
        image = rgb_patch.astype(np.float32)
        self._sum = self._sum + image
        self._squares = self._squares + image.mean(axis=2) ** 2

    def mouth(self) -> tuple[float, float, float] | None:
        """How far right and down (mouth widths) and how many times as wide the mouth is than thought; None: unclear."""
        if self.count < 10:
            return None
        mean = self._sum / self.count
        motion = np.sqrt(np.maximum(self._squares / self.count - mean.mean(axis=2) ** 2, 0))
        rgb = np.clip(mean + 0.5, 0, 255).astype(np.uint8)
        at = MIDDLE + 0.5
        found = find_mouth(rgb, at, at, UNIT, (0.4 * UNIT, 2.2 * UNIT), reach=0.7, motion_HW=motion)
        return found and ((found[0] - at) / UNIT, (found[1] - at) / UNIT, found[2] / UNIT)


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
