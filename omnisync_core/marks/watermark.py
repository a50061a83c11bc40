"""The invisible watermark: one faint pattern, tiled over a frame, that survives encoders, resizing and crops.

It carries one thing: edited. Embedding and finding follow JAWS (Kalker et al., 1999): a periodic pattern is added,
stronger where the picture is busy; the finder folds what is left of many frames onto one tile, keeps the phases alone
and looks for the peak of the correlation, whatever the shift. Anyone who reads this can remove it, or put it on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

import cv2
import numpy as np

from ..media.frame import Frame

TILE = 128
"""Pixels of the pattern's period in a frame whose shorter side is `NORMAL` or less; it grows with larger ones."""
NORMAL = 360
BAND = (1 / 18, 1 / 5)
"""Cycles per pixel of the tile: above what the picture hides, below what encoders drop."""
STRENGTH = 1.1 / 255
"""Root mean square in flat places."""
BUSY = 6 / 255
"""Local deviation at which the pattern is twice as strong, its most."""
THRESHOLD = 7.0
"""Peak of the correlation, in its own deviations, from which a video counts as marked."""
FRAMES = 96
"""That are looked at."""
SCALES = tuple(np.concatenate([[1.0, 0.5], np.geomspace(0.45, 1.3, 266)]))
"""Of the tile that are tried, as a share of what an untouched file would have."""


def embed(frame: Frame) -> Frame:
    """The frame with the pattern over all of it."""
    rgb_HWC = frame.rgb()
    luma_HW = rgb_HWC @ np.array([0.299, 0.587, 0.114], np.float32)
    mean_HW = cv2.blur(luma_HW, (9, 9))
    deviation_HW = np.sqrt(np.maximum(cv2.blur(luma_HW * luma_HW, (9, 9)) - mean_HW * mean_HW, 0))
    gain_HW = STRENGTH * (1 + np.minimum(deviation_HW / BUSY, 1))
    delta_HW = gain_HW * _spread(frame.width, frame.height)
    return frame.add_rgb(None, np.repeat(delta_HW[..., None], 3, axis=2))


def score(frames: Iterable[Frame]) -> float:
    """How far the peak of the correlation stands out, in deviations; see `THRESHOLD`. 0 without frames."""
    total_HW, shown = None, None
    for count, frame in enumerate(frames):
        if count == FRAMES:
            break
        shown = frame
        residual_HW = _residual(frame)
        if total_HW is None or total_HW.shape != residual_HW.shape:
            total_HW = np.zeros_like(residual_HW)
        total_HW += residual_HW
    if shown is None or total_HW is None:
        return 0.0
    grown = growth(shown.width, shown.height)
    return max(_peak(total_HW, grown * scale) for scale in SCALES)


def growth(width: int, height: int) -> float:
    """How many times its normal size the pattern has in a frame."""
    return max(1.0, min(width, height) / NORMAL)


def _residual(frame: Frame) -> np.ndarray:
    """A frame's luma without what is coarse, evened out so that no edge outweighs the rest."""
    luma_HW = frame.rgb() @ np.array([0.299, 0.587, 0.114], np.float32)
    size = 2 * round(4 * growth(frame.width, frame.height)) + 1
    fine_HW = luma_HW - cv2.blur(luma_HW, (size, size))
    level_HW = cv2.blur(np.abs(fine_HW), (2 * size + 1, 2 * size + 1))
    return fine_HW / (level_HW + 1 / 255)


def _peak(residual_HW: np.ndarray, scale: float) -> float:
    """The highest correlation with the pattern at one size of it, over all shifts."""
    height, width = (max(8, round(side / scale)) for side in residual_HW.shape)
    fitted_HW = cv2.resize(
        residual_HW, (width, height), interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    )
    folded = np.zeros((TILE, TILE), np.float32)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            part = fitted_HW[top : top + TILE, left : left + TILE]
            folded[: part.shape[0], : part.shape[1]] += part
    spectrum = np.fft.rfft2(folded)
    phases = spectrum / np.maximum(np.abs(spectrum), 1e-9)
    surface = np.fft.irfft2(phases * _template(), s=(TILE, TILE))
    return float((surface.max() - surface.mean()) / max(surface.std(), 1e-12))


@lru_cache(maxsize=1)
def _tile() -> np.ndarray:
    """The pattern (TILE, TILE), mean 0, root mean square 1: the bits of a hash, within the band."""
    bits = b"".join(hashlib.sha256(f"omnisync {n}".encode()).digest() for n in range(TILE * TILE // 256))
    signs = np.unpackbits(np.frombuffer(bits, np.uint8)).reshape(TILE, TILE) * 2.0 - 1.0
    tile = np.fft.irfft2(np.fft.rfft2(signs) * _in_band(), s=(TILE, TILE))
    return (tile / tile.std()).astype(np.float32)


@lru_cache(maxsize=1)
def _template() -> np.ndarray:
    """The pattern's phases within the band, conjugated."""
    spectrum = np.fft.rfft2(_tile())
    return np.conj(spectrum) / np.maximum(np.abs(spectrum), 1e-9) * _in_band()


def _in_band() -> np.ndarray:
    rows, columns = np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None]
    frequency = np.hypot(rows, columns)
    return (frequency >= BAND[0]) & (frequency <= BAND[1])


@lru_cache(maxsize=2)
def _spread(width: int, height: int) -> np.ndarray:
    """The pattern over a whole frame (H, W)."""
    scale = growth(width, height)
    tiles = int(np.ceil(height / scale / TILE)), int(np.ceil(width / scale / TILE))
    whole = np.tile(_tile(), tiles)
    if scale == 1:
        return whole[:height, :width]
    size = round(whole.shape[1] * scale), round(whole.shape[0] * scale)
    return cv2.resize(whole, size, interpolation=cv2.INTER_CUBIC)[:height, :width]
