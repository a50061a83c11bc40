"""Cuts between shots."""

from __future__ import annotations

import cv2
import numpy as np

HISTOGRAM_CUT = 0.4
DIFFERENCE_CUT = 0.12


class ShotFinder:
    """Fed frame after frame, says which one starts a new shot."""

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def is_cut(self, rgb_HWC: np.ndarray) -> bool:
        """True on the first frame after a cut: its colours AND its pixels are far from those of the frame before.

        rgb_HWC: uint8. Within a shot the histogram distance stays below .2 and the mean difference below .08.
        """
        small = cv2.resize(rgb_HWC, (64, 36), interpolation=cv2.INTER_AREA)
        hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
        histogram = cv2.calcHist([hsv], [0, 1, 2], None, [8, 8, 8], [0, 180, 0, 256, 0, 256])
        cv2.normalize(histogram, histogram, 1, 0, cv2.NORM_L1)
        last, self._last = self._last, (small.astype(np.float32) / 255, histogram)
        if last is None:
            return False
        distance = cv2.compareHist(histogram, last[1], cv2.HISTCMP_BHATTACHARYYA)
        difference = float(np.abs(self._last[0] - last[0]).mean())
        return distance > HISTOGRAM_CUT and difference > DIFFERENCE_CUT
