"""The part of an aligned face that is drawn anew: from beside the nose to the chin, ear to ear."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

SIDE = 256
"""The side on which the numbers below are pixels."""
LEFT, RIGHT, TOP = 9, 247, 95
NOSE_LEFT, NOSE_RIGHT, NOSE_BOTTOM = 78, 178, 128
CHIN = (
    (128, 9, 248), (148, 10, 247), (166, 12, 245), (172, 13, 243.5), (180, 17.5, 239), (192, 25.5, 231.3),
    (204, 35.5, 221.5), (210, 42.5, 215.5), (216, 50.5, 208.5), (222, 59.5, 200.5), (228, 71, 191), (234, 84, 177),
    (239, 97.5, 166), (242, 108, 156), (243, 130, 152),
)  # fmt: skip
"""Where the mask ends to the left and to the right, from the nose's bottom down."""
LATENT = 8


@lru_cache(maxsize=4)
def kept(resolution: int) -> np.ndarray:
    """(S, S) float32: 1 where the face is kept, 0 where it is drawn anew."""
    at = (np.arange(resolution) + 0.5) * SIDE / resolution
    x, y = at[None, :], at[:, None]
    heights, left, right = np.transpose(CHIN)
    across = (x >= np.interp(y, heights, left)) & (x < np.interp(y, heights, right))
    below = across & (y >= NOSE_BOTTOM) & (y < heights[-1])
    beside = (y >= TOP) & (y < NOSE_BOTTOM) & (x >= LEFT) & (x < RIGHT) & ((x < NOSE_LEFT) | (x >= NOSE_RIGHT))
    return np.where(below | beside, np.float32(0), np.float32(1))


def kept_latents(resolution: int) -> np.ndarray:
    """(S / 8, S / 8) float32: the mask as the network is given it."""
    return kept(resolution)[::LATENT, ::LATENT]


@lru_cache(maxsize=4)
def softly_kept(resolution: int) -> np.ndarray:
    """(S, S) float32: the same with soft edges that lie inside the part drawn anew."""
    sigma = resolution / 64
    inner = cv2.erode(1 - kept(resolution), np.ones((3, 3)), iterations=round(2.5 * sigma))
    return np.maximum(kept(resolution), 1 - cv2.GaussianBlur(inner, (0, 0), sigma))
