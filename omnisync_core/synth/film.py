"""What a camera and a codec do to a picture: exposure, colour cast, soft focus, grain and JPEG's blocks.

Everything is bound to the frame and to the time, so two clips that differ in the mouth alone get the same grain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    shutter: float = 0.0  # how long it is open, in frames; movement between the frames given blurs
    quality: int = 0  # of the JPEG, 0 for none
    pencil: float = 0.0  # 1 graphite, less with some colour, 0 no drawing
    cells: int = 0  # of pixel art along the frame's side, 0 for none
    levels: int = 7  # of each colour in pixel art
    dither: float = 0.0  # of a level
    seed: int = 0

    @staticmethod
    def random(rng: np.random.Generator, look: str) -> Film:
        """A clean picture, a dim room, a grainy film or a poor codec; drawings are mostly clean."""
        seed = int(rng.integers(1 << 20))
        if look == "pencil":
            return Film(
                pencil=float(rng.choice((1.0, 1.0, 0.6, 0.35))), contrast=float(rng.uniform(0.9, 1.2)), seed=seed
            )
        if look == "pixel":
            return Film(cells=int(rng.integers(80, 150)), levels=int(rng.integers(5, 12)),
                dither=float(rng.choice((0.0, 0.0, 0.6))), contrast=1.1, seed=seed)  # fmt: skip
        photographic = look in ("photo", "render", "clay")
        if rng.random() > (0.8 if photographic else 0.2):
            return Film(seed=seed)
        dim = rng.random() < 0.25 and photographic
        warm, green = rng.normal(0, 0.05), rng.normal(0, 0.012)
        return Film(
            gain=float(rng.uniform(0.45, 0.7) if dim else np.exp(rng.normal(0.0, 0.1))),
            contrast=float(rng.uniform(0.82, 1.15)),
            cast=(float(1 + warm), float(1 + green), float(1 - warm)),
            blur=float(rng.uniform(0.0015, 0.0045)) if rng.random() < 0.25 else 0.0,
            grain=float(rng.uniform(3, 8) if dim else rng.choice((0.0, rng.uniform(1, 3.5), rng.uniform(2, 7)))),
            grain_size=float(rng.uniform(0.8, 1.7)),
            color_grain=float(rng.choice((0.0, 0.4, 0.8))),
            shutter=float(rng.uniform(0.4, 1.0)) if rng.random() < 0.1 else 0.0,
            quality=int(rng.integers(22, 65)) if rng.random() < 0.08 else 0,
            seed=seed,
        )

    @property
    def reach(self) -> float:
        """How far one point spreads, apart from codec and pencil."""
        return 3.0 * self.blur + (1 / self.cells if self.cells else 0.0)

    @property
    def spreads(self) -> bool:
        """Codec or pencil: every pixel hangs on its neighbours."""
        return bool(self.quality or self.pencil)

    def develop(self, frames_THWC: np.ndarray, times_T: np.ndarray, view_T3: np.ndarray) -> np.ndarray:
        """uint8 frames with everything but the codec."""
        if replace(self, shutter=0.0, quality=0) == Film(seed=self.seed):
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

    def printed(self, frames_THWC: np.ndarray, view_T3: np.ndarray) -> np.ndarray:
        """The frames after pencil and codec."""
        if self.pencil:
            frames_THWC = np.stack([self._sketched(f, view) for f, view in zip(frames_THWC, view_T3, strict=True)])
        if not self.quality:
            return frames_THWC
        options = [cv2.IMWRITE_JPEG_QUALITY, self.quality]
        coded = [cv2.imencode(".jpg", frame, options)[1] for frame in frames_THWC]
        return np.stack([cv2.imdecode(data, cv2.IMREAD_COLOR) for data in coded])

    def grid(self, view_T3: np.ndarray) -> tuple[np.ndarray, int]:
        """Views on whole cells that hold `view_T3`, and how many cells they are wide."""
        cells = int(np.ceil(view_T3[:, 2].max() * self.cells)) + 1
        corner = np.floor((view_T3[:, :2] - view_T3[:, 2:] / 2) * self.cells)
        return np.column_stack([(corner + cells / 2) / self.cells, np.full(len(corner), cells / self.cells)]), cells

    def enlarge(self, frames_THWC: np.ndarray, coarse_T3: np.ndarray, view_T3: np.ndarray, size: int) -> np.ndarray:
        """Cells in few colours, seen through `view_T3` at another size."""
        out = np.empty((len(frames_THWC), size, size, 3), np.uint8)
        pixel = (np.arange(size) + 0.5) / size - 0.5
        step = 255 / (self.levels - 1)
        for t, frame in enumerate(frames_THWC):
            corner = np.round((coarse_T3[t, :2] - coarse_T3[t, 2] / 2) * self.cells).astype(int)
            rows = (corner[1] + np.arange(len(frame)))[:, None] % 4
            columns = (corner[0] + np.arange(len(frame)))[None] % 4
            raised = frame + (self.dither * step * _BAYER[rows, columns])[..., None]
            cells = np.clip(np.round(raised / step) * step, 0, 255).astype(np.uint8)
            x, y = (
                np.floor((view_T3[t, k] + pixel * view_T3[t, 2]) * self.cells).astype(int) - corner[k] for k in (0, 1)
            )
            limit = len(frame) - 1
            out[t] = cells[np.clip(y, 0, limit)[:, None], np.clip(x, 0, limit)]
        return out

    def _sketched(self, frame: np.ndarray, view: np.ndarray) -> np.ndarray:
        """Strokes where the picture changes, hatching where it is dark, on paper."""
        size, unit = len(frame), len(frame) / view[2]
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
        fine, broad = (cv2.GaussianBlur(grey, (0, 0), max(s * unit, 0.5)) for s in (0.002, 0.011))
        lines = np.clip(1 - 5.5 * np.maximum(broad - fine - 1.5, 0) / 255, 0.08, 1)
        at = (np.arange(size, dtype=np.float32) + 0.5) / unit
        x, y = at[None] + np.float32(view[0] - view[2] / 2), at[:, None] + np.float32(view[1] - view[2] / 2)
        rough = 1.2 * np.sin(31 * x - 17 * y) + 0.8 * np.sin(57 * y + 13 * x)
        hatch = 0.5 + 0.5 * np.sin(430 * (x + y) + rough) * np.sin(9 * (x - y) + rough)
        tone = 1 - np.clip((205 - broad) / 255, 0, 1) * (0.5 + 0.55 * hatch)
        shade = lines * tone
        paper = (250.0, 247.0, 240.0)
        pale = cv2.merge([255 * shade * (p / 255) for p in paper])
        if self.pencil == 1:
            return pale.astype(np.uint8)
        color = frame * (0.55 + 0.45 * shade[..., None]) + 40 * shade[..., None]
        return np.clip(color + (pale - color) * self.pencil, 0, 255).astype(np.uint8)

    def _curve(self) -> np.ndarray:
        level = np.arange(256, dtype=np.float32)[:, None] / 255
        out = level ** (1 / self.gain**0.6) * self.gain**0.4 if self.gain < 1 else 1 - (1 - level) ** self.gain
        out = (
            0.5 + (out * np.array(self.cast, np.float32) - 0.5) * self.contrast if self.gain > 0.7 else out * self.cast
        )
        return np.clip(out * 255 + 0.5, 0, 255).astype(np.uint8)[None]


_BAYER = (np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) - 7.5) / 16


@lru_cache(maxsize=4)
def _grain(color: float) -> np.ndarray:
    """(_TILE, _TILE, 4) uint8, of deviation 28 about 128."""
    rng = np.random.default_rng(44)
    planes = [rng.standard_normal((_TILE, _TILE)).astype(np.float32) for _ in range(4)]
    planes = [cv2.GaussianBlur(p, (0, 0), s) for p, s in zip(planes, (0.7, 1.3, 1.0, 1.3), strict=True)]
    grey, *colors = (p / p.std() for p in planes)
    mixed = [128 + 28 * ((1 - color) * grey + color * c) / np.hypot(1 - color, color) for c in colors]
    return cv2.merge([*(np.clip(m, 0, 255).astype(np.uint8) for m in mixed), np.full((_TILE, _TILE), 255, np.uint8)])
