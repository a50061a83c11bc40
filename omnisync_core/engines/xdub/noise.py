"""Finds windows that ended in noise instead of a picture: some 2 % of X-Dub's, say its authors.

The source is shown to the network whole, so outside of the mouth a sane edit is the source but for small errors:
a few hundredths of the range on average. Noise is as far from a picture as any two pictures are from each other.
"""

from __future__ import annotations

import numpy as np

from ...crop import region

FARTHEST = 0.15
"""Mean difference, of the range 0..1, beyond which a frame is no edit of its source: 38 of 255 levels."""


def distance(edited_THWC: np.ndarray, reference_THWC: np.ndarray, mouth_T3: np.ndarray) -> float:
    """Mean difference outside of the mouth in the frame that is farthest from its source; infinite with NaN in it."""
    farthest = 0.0
    for edited, reference, mouth in zip(edited_THWC, reference_THWC, mouth_T3, strict=True):
        outside = 1 - region.edit_mask(len(edited), mouth[:3])[0]
        here = float((np.abs(edited - reference).mean(2) * outside).sum() / outside.sum())
        if not np.isfinite(here):
            return float("inf")
        farthest = max(farthest, here)
    return farthest
