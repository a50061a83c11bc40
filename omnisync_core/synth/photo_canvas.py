"""The head's picture of a photographic person while it is painted: planes in head units, and the tools."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import ArrayLike

from .character import Character
from .heads import contour
from .relief import Light, column, pixels_of, resized, tiles
from .shapes import Color, Picture

UNIT = 120  # pixels of the head's picture per head unit
LEFT, TOP, WIDTH, HEIGHT = -1.34, -1.84, 322, 418
_LOW = (WIDTH // 2, HEIGHT // 2)


class Canvas:
    def __init__(self, ch: Character, rng: np.random.Generator, light: Light) -> None:
        self.ch, self.rng, self.light = ch, rng, light
        self.x, self.y = _axes(*_LOW)
        self.full_x, self.full_y = _axes(WIDTH, HEIGHT)
        self.rgb: np.ndarray
        """Planes (3, H, W); painted first by the skin."""
        self.mask = self.filled([contour(ch)])
        self.old = 1.0 if "elder" in ch.traits else 0.0

    def filled(self, outlines: Iterable[ArrayLike], size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
        """(H, W) float32 0..1 of polygons in head units."""
        mask = np.zeros((size[1], size[0]), np.uint8)
        for points in outlines:
            pixels = (np.asarray(points) - (LEFT, TOP)) * UNIT * (size[0] / WIDTH) - 0.5
            cv2.fillPoly(mask, [np.round(pixels * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        return mask.astype(np.float32) * (1 / 255)

    def blend(self, color: Color, share: np.ndarray) -> None:
        """Mixes a colour in by a share of each pixel."""
        x, y, w, h = cv2.boundingRect((share > 0.004).view(np.uint8))
        part = self.rgb[:, y : y + h, x : x + w]
        part += (column(color) - part) * share[y : y + h, x : x + w].astype(np.float32)

    def strands(self, name: str, center: tuple[float, float], coarse: float = 1.0, curl: float = 0.0) -> np.ndarray:
        """Noise (H, W) combed away from a point."""
        x, y = self.x - center[0], self.y - center[1]
        radius = np.sqrt(x * x + y * y)
        angle = np.arctan2(x, y) * (380 * coarse)
        start = self.rng.integers(0, 512, 2)
        across = angle + start[0] + curl * np.sin(radius * 9)
        along = radius * (UNIT * 0.8) + start[1]
        maps = [cv2.resize(a.astype(np.float32), (WIDTH, HEIGHT)) for a in (across, along)]
        return cv2.remap(tiles()[name], *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)

    def paint_hair(self, color: Color, hairs: np.ndarray, cover: np.ndarray, form: np.ndarray) -> None:
        """Hair of a colour where `cover`; `form` 0..1 is its bulk, lit from above."""
        light, cover = self.light, cover.astype(np.float32)
        x, y, w, h = cv2.boundingRect((cover > 0.004).view(np.uint8))
        span = slice(y, y + h), slice(x, x + w)
        facing, gloss = light.shade(0.25 * form[span][::2, ::2], UNIT / 2, wrap=(0.3, 0.3, 0.3))
        facing, gloss = resized(facing, w, h), cv2.resize(gloss, (w, h))
        tone, hairs, part = column(color), np.clip(hairs[span], -2.2, 2.2), self.rgb[:, y : y + h, x : x + w]
        facing *= 0.78 + 0.2 * hairs
        facing *= tone
        facing += (16 + 0.22 * float(tone.mean())) * light.shine * cv2.pow(gloss, 14) * (0.75 + 0.25 * hairs)
        facing -= part
        facing *= cover[span]
        part += facing

    def finish(self) -> Picture:
        return Picture(pixels_of(self.rgb, self.mask.astype(np.float32)), LEFT, TOP, UNIT)


def softened(planes: np.ndarray) -> np.ndarray:
    """Bright places keep their form."""
    over = np.maximum(planes - 165, 0)
    return planes - over + over / (1 + over * (1 / 90))


def bump(x: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-((x / width) ** 2))


def _axes(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    x = LEFT + (np.arange(width, dtype=np.float32) + 0.5) / width * (WIDTH / UNIT)
    y = TOP + (np.arange(height, dtype=np.float32) + 0.5) / height * (HEIGHT / UNIT)
    return x[None], y[:, None]
