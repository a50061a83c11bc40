"""Light on painted surfaces: relief to shading, and the noise that skin, hair and cloth are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

TILE = 512


@dataclass(frozen=True)
class Light:
    """One key light and the sky; directions with y down and z towards the viewer."""

    x: float
    y: float
    z: float
    key: float = 0.85
    sky: float = 0.45
    warmth: float = 0.0  # of the key, -1 .. 1
    shine: float = 1.0

    @staticmethod
    def random(rng: np.random.Generator) -> Light:
        """From the side, above; soft or hard, warm or cold."""
        x, y, z = float(rng.choice((-1, 1))) * rng.uniform(0.1, 1.0), -rng.uniform(0.15, 0.9), rng.uniform(0.5, 1.1)
        norm = float(np.sqrt(x * x + y * y + z * z))
        key = rng.uniform(0.55, 1.0)
        return Light(
            x / norm, y / norm, z / norm, key, 1.12 - 0.72 * key, rng.uniform(-0.7, 0.9), rng.uniform(0.4, 1.4)
        )

    def shade(
        self, height: np.ndarray, unit: float, *, wrap: tuple[float, float, float] = (0.45, 0.25, 0.18),
        strength: float = 1.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Colour factors (3, H, W) and gloss (H, W) of a relief in its own units at `unit` pixels each."""
        height, scale = np.asarray(height, np.float32), -0.125 * unit * strength
        nx, ny = (cv2.Sobel(height, cv2.CV_32F, a, b, ksize=3, scale=scale) for a, b in ((1, 0), (0, 1)))
        nz = 1 / np.sqrt(nx * nx + ny * ny + 1)
        nx, ny = nx * nz, ny * nz
        facing = nx * self.x + ny * self.y + nz * self.z
        sky = self.sky * (0.72 - 0.28 * ny)
        tint = np.array((1 + 0.1 * self.warmth, 1.0, 1 - 0.12 * self.warmth), np.float32)
        out = np.empty((3, *height.shape), np.float32)
        for c in range(3):
            lit = np.maximum((facing + wrap[c]) * (1 / (1 + wrap[c])), 0)
            out[c] = cv2.pow(sky + self.key * tint[c] * lit, 1 / 2.2)
        hx, hy, hz = self.x, self.y, self.z + 1
        norm = np.sqrt(hx * hx + hy * hy + hz * hz)
        gloss = np.maximum((nx * hx + ny * hy + nz * hz) / norm, 0)
        return out, gloss


def column(color: Sequence[float] | np.ndarray) -> np.ndarray:
    """A colour (3, 1, 1), to multiply pictures of planes (3, H, W)."""
    return np.asarray(color, np.float32)[:, None, None]


def resized(planes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Planes (3, h, w) at another size."""
    return np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR) for p in planes])


def pixels_of(planes: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 of planes (3, H, W) and cover (H, W) 0..1."""
    return cv2.merge([*(cv2.convertScaleAbs(p) for p in np.maximum(planes, 0)), cv2.convertScaleAbs(cover, alpha=255)])


def hollow(height: np.ndarray, sigma: float, strength: float) -> np.ndarray:
    """Darkening factor (H, W) of places lower than what is around them."""
    return np.clip(1 + strength * np.minimum(height - cv2.GaussianBlur(height, (0, 0), sigma), 0.01), 0.25, 1.0)


@lru_cache(maxsize=1)
def tiles() -> dict[str, np.ndarray]:
    """Noise (TILE, TILE) float32 of unit deviation, the same in every process; all wrap around."""
    rng = np.random.default_rng(20)
    white = [rng.standard_normal((TILE, TILE)).astype(np.float32) for _ in range(6)]

    def blur(noise: np.ndarray, x: float, y: float) -> np.ndarray:
        soft = cv2.GaussianBlur(np.pad(noise, 64, mode="wrap"), (0, 0), sigmaX=x, sigmaY=y)[64:-64, 64:-64]
        return soft / soft.std()

    fine = blur(white[0], 0.8, 0.8) - 0.8 * blur(white[0], 1.6, 1.6)
    dots = np.minimum(blur(white[1], 1.1, 1.1), 0.6)
    pores = fine / fine.std() + 0.8 * (dots - dots.mean()) / dots.std()
    lit = pores - np.roll(pores, (1, 1), (0, 1))
    strands = blur(white[2], 0.7, 9.0) + 0.6 * blur(white[3], 1.6, 14.0) + 0.35 * blur(white[4], 4.0, 26.0)
    curls = np.abs(blur(white[3], 2.6, 2.6)) - 0.5 * np.abs(blur(white[5], 5.0, 5.0))
    bristles = blur(white[5], 0.75, 3.2) + 0.5 * blur(white[4], 0.75, 1.2)
    blotches = blur(white[4], 11, 11) + 0.7 * blur(white[2], 24, 24)
    weave = blur(white[0], 0.6, 3.0) + blur(white[1], 3.0, 0.6)
    made = {"pores": lit, "strands": strands, "curls": curls, "bristles": bristles, "blotches": blotches,
            "weave": weave, "fine": blur(white[5], 0.8, 0.8), "soft": blur(white[3], 3.0, 3.0),
            "creases": blur(white[1], 0.9, 12.0) + 0.5 * blur(white[0], 2.0, 14.0)}  # fmt: skip
    return {name: np.ascontiguousarray((n - n.mean()) / n.std(), np.float32) for name, n in made.items()}


def noise(name: str, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A random part of a tile; repeated beyond TILE."""
    tile = tiles()[name]
    if max(shape) > TILE:
        return np.tile(tile, (-(-shape[0] // TILE), -(-shape[1] // TILE)))[: shape[0], : shape[1]]
    y, x = (int(rng.integers(TILE - n + 1)) for n in shape)
    part = tile[y : y + shape[0], x : x + shape[1]]
    return part[:, ::-1] if rng.random() < 0.5 else part
