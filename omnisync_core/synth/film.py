"""What a camera and a codec do to a picture: exposure, colour cast, soft focus, grain and JPEG's blocks.

Everything is bound to the frame and to the time, so two clips that differ in the mouth alone get the same grain.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

_TILE, _GRAIN_SIDE = 1024, 448  # pixels of the stored grain; of them along a frame's side at grain size 1


@dataclass(frozen=True)
class Film:
    """Lengths in frame units. The default changes nothing."""

    gain: float = 1.0
    contrast: float = 1.0
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    blur: float = 0.0  # sigma
    grain: float = 0.0  # standard deviation in grey levels
    grain_size: float = 1.0
    color_grain: float = 0.5  # share of the grain that differs by colour
    quality: int = 0  # of the JPEG, 0 for none
    seed: int = 0

    @staticmethod
    def random(rng, photographic: bool) -> Film:
        """A clean picture, a dim room, a grainy film or a poor codec; drawings are mostly clean."""
        seed = int(rng.integers(1 << 20))
        if rng.random() > (0.8 if photographic else 0.2):
            return Film(seed=seed)
        dim = rng.random() < 0.25 and photographic
        warm, green = rng.normal(0, 0.05), rng.normal(0, 0.012)
        return Film(
            gain=float(rng.uniform(0.35, 0.65) if dim else np.exp(rng.normal(0.0, 0.1))),
            contrast=float(rng.uniform(0.82, 1.15)),
            cast=(float(1 + warm), float(1 + green), float(1 - warm)),
            blur=float(rng.uniform(0.0015, 0.0045)) if rng.random() < 0.25 else 0.0,
            grain=float(rng.uniform(3, 8) if dim else rng.choice((0.0, rng.uniform(1, 3.5), rng.uniform(2, 7)))),
            grain_size=float(rng.uniform(0.8, 1.7)),
            color_grain=float(rng.choice((0.0, 0.4, 0.8))),
            quality=int(rng.integers(22, 65)) if rng.random() < 0.12 else 0,
            seed=seed,
        )

    @property
    def reach(self) -> float:
        """How far one point spreads, apart from the codec's blocks."""
        return 3.0 * self.blur

    def develop(self, frames_THWC: np.ndarray, times_T, view_T3) -> np.ndarray:
        """uint8 frames with everything but the codec."""
        if self == Film(seed=self.seed):
            return frames_THWC
        size = frames_THWC.shape[1]
        curve = self._curve()
        out = np.empty_like(frames_THWC)
        for t, (time, (x, y, side)) in enumerate(zip(times_T, view_T3, strict=True)):
            frame = cv2.LUT(frames_THWC[t], curve)
            sigma = self.blur * size / side
            if sigma > 0.2:
                frame = cv2.GaussianBlur(frame, (0, 0), sigma)
            if self.grain:
                scale = _GRAIN_SIDE / self.grain_size
                start = np.random.default_rng([self.seed, round(float(time) * 1000) + 10**6]).integers(
                    0, _TILE - _GRAIN_SIDE * 5 // 4, 2
                )
                step = scale * side / size
                shift = (np.array((x, y)) - side / 2) * scale + start + 0.5 * step - 0.5
                to_tile = np.array([[step, 0, shift[0]], [0, step, shift[1]]])
                flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
                noise = cv2.warpAffine(
                    _grain(self.color_grain), to_tile, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT
                )
                share = self.grain / 28
                frame = cv2.addWeighted(frame, 1.0, cv2.cvtColor(noise, cv2.COLOR_RGBA2RGB), share, -128 * share)
            out[t] = frame
        return out

    def compress(self, frames_THWC: np.ndarray) -> np.ndarray:
        """The frames after the codec."""
        options = [cv2.IMWRITE_JPEG_QUALITY, self.quality]
        coded = [cv2.imencode(".jpg", frame, options)[1] for frame in frames_THWC]
        return np.stack([cv2.imdecode(data, cv2.IMREAD_COLOR) for data in coded])

    def _curve(self) -> np.ndarray:
        level = np.arange(256, dtype=np.float32)[:, None] / 255
        out = level ** (1 / self.gain**0.6) * self.gain**0.4 if self.gain < 1 else 1 - (1 - level) ** self.gain
        out = (
            0.5 + (out * np.array(self.cast, np.float32) - 0.5) * self.contrast if self.gain > 0.7 else out * self.cast
        )
        return np.clip(out * 255 + 0.5, 0, 255).astype(np.uint8)[None]


@lru_cache(maxsize=4)
def _grain(color: float) -> np.ndarray:
    """(_TILE, _TILE, 4) uint8, of deviation 28 about 128."""
    rng = np.random.default_rng(44)
    planes = [rng.standard_normal((_TILE, _TILE)).astype(np.float32) for _ in range(4)]
    planes = [cv2.GaussianBlur(p, (0, 0), s) for p, s in zip(planes, (0.7, 1.3, 1.0, 1.3), strict=True)]
    grey, *colors = (p / p.std() for p in planes)
    mixed = [128 + 28 * ((1 - color) * grey + color * c) / np.hypot(1 - color, color) for c in colors]
    return cv2.merge([*(np.clip(m, 0, 255).astype(np.uint8) for m in mixed), np.full((_TILE, _TILE), 255, np.uint8)])
