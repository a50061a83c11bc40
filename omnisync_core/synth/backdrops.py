"""Backgrounds: a soft picture behind the character and a few slowly moving shapes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from .shapes import Color, Shape, darker, ellipse, lighter, mix, rgb, smooth, stroke

BACKDROP_SIZE, MARGIN = 288, 0.25  # pixels of the picture; it reaches MARGIN beyond the frame on every side
KINDS = ("gradient", "room", "window", "landscape", "bokeh", "pattern", "night", "studio")
_PALETTES = [
    "f3d9c4 d98f7a 7a5566",
    "cfe3ea 88b3c4 44617a",
    "e4ead2 9fb98a 5a7a5c",
    "efe0f0 b59ac6 66517f",
    "f7ecd2 e0bb7c 95704c",
    "d5e8e1 7fb5a6 3c6a68",
    "e2e2e6 a4a8b5 5b6072",
    "f9ddd9 e59a9a 8d4f63",
    "d9e4f5 8ea6d4 4a588c",
    "35405c 232a42 161a2c",
    "5c4a52 3d3038 261d24",
    "f5f0e8 d8cbbb a08f7d",
]


@dataclass(frozen=True, eq=False)
class Backdrop:
    """Picture (H, W, 4) uint8 over -MARGIN..1+MARGIN, and movers that drift with time."""

    picture: np.ndarray
    movers: tuple[Mover, ...]


@dataclass(frozen=True, eq=False)
class Mover:
    """A shape in frame units that drifts to the right and comes back, bobbing."""

    points: np.ndarray  # about (0, 0)
    color: Color
    alpha: float
    start: tuple[float, float]
    speed: tuple[float, float]  # frames per second; wraps around
    bob: float
    phase: float

    def at(self, times_T: np.ndarray) -> Shape:
        """The shape at the times."""
        t = np.asarray(times_T, np.float64)
        x = np.mod(self.start[0] + self.speed[0] * t + 0.3, 1.6) - 0.3
        y = np.mod(self.start[1] + self.speed[1] * t + 0.3, 1.6) - 0.3 + self.bob * np.sin(0.9 * t + self.phase)
        return Shape(self.points + np.stack([x, y], -1)[:, None], self.color, alpha=self.alpha, space="frame")


def random_backdrop(rng: np.random.Generator) -> Backdrop:
    """One of KINDS in one of the palettes."""
    kind = KINDS[rng.integers(len(KINDS))]
    palette = [rgb(c) for c in _PALETTES[rng.integers(len(_PALETTES))].split()]
    if rng.random() < 0.3:
        palette = [mix(c, rgb("4a588c"), 0.25) for c in palette]
    painter = _Painter(rng, palette)
    getattr(painter, kind)()
    return Backdrop(painter.finish(), tuple(painter.movers))


class _Painter:
    def __init__(self, rng: np.random.Generator, palette: list[Color]) -> None:
        self.rng, self.palette = rng, palette
        self.movers: list[Mover] = []
        self.blur = 2.0
        x, y = _GRID[None], _GRID[:, None]
        turn = rng.uniform(-0.5, 0.5)
        share = np.clip(y + np.float32(turn) * (x - 0.5), 0, 1)[..., None]
        light, mid = (np.array(c, np.float32) for c in palette[:2])
        self.canvas = np.ascontiguousarray(light + (mid - light) * share)

    def fill(self, points: ArrayLike, color: Color, alpha: float = 1.0) -> None:
        """Draws a polygon in frame units."""
        pixels = (np.asarray(points) + MARGIN) / (1 + 2 * MARGIN) * BACKDROP_SIZE
        if alpha < 1:
            x0, y0 = np.clip(pixels.min(0).astype(int) - 1, 0, BACKDROP_SIZE - 1)
            x1, y1 = np.clip(pixels.max(0).astype(int) + 2, 1, BACKDROP_SIZE)
            part = self.canvas[y0:y1, x0:x1]
            layer = part.copy()
            cv2.fillPoly(layer, [np.round((pixels - (x0, y0)) * 16).astype(np.int32)], color, cv2.LINE_8, 4)
            part += alpha * (layer - part)
        else:
            cv2.fillPoly(self.canvas, [np.round(pixels * 16).astype(np.int32)], color, cv2.LINE_8, 4)

    def rect(self, x0: float, y0: float, x1: float, y1: float, color: Color, alpha: float = 1.0) -> None:
        self.fill([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color, alpha)

    def finish(self) -> np.ndarray:
        out = _blurred(self.canvas, self.blur) * _GLOW
        picture = np.full((BACKDROP_SIZE, BACKDROP_SIZE, 4), 255, np.uint8)
        picture[..., :3] = np.clip(out + 0.5, 0, 255)
        return picture

    def drift(
        self, points: ArrayLike, color: Color, alpha: float, speed: tuple[float, float], bob: float = 0.0
    ) -> None:
        self.movers.append(
            Mover(
                np.asarray(points, np.float64),
                color,
                alpha,
                tuple(self.rng.uniform(-0.2, 1.2, 2)),
                speed,
                bob,
                self.rng.uniform(0, 6.3),
            )
        )

    def gradient(self) -> None:
        for _ in range(3):
            x, y, r = self.rng.uniform(0, 1, 3)
            self.fill(ellipse(x, y, 0.2 + 0.25 * r, 0.2 + 0.25 * r, n=60), self.palette[self.rng.integers(3)], 0.25)
        self.blur = 14.0

    def studio(self) -> None:
        self.rect(-0.3, 0.8, 1.3, 1.3, darker(self.palette[1], 0.2), 0.6)
        self.blur = 12.0
        for _ in range(3):
            self.drift(
                ellipse(0, 0, 0.012, 0.012, n=16),
                lighter(self.palette[0], 0.5),
                0.35,
                (self.rng.uniform(-0.02, 0.02), -0.02),
                0.01,
            )

    def room(self) -> None:
        light, mid, dark = self.palette
        self.rect(-0.3, 0.86, 1.3, 1.3, darker(mid, 0.35))
        self.rect(-0.3, 0.84, 1.3, 0.87, lighter(light, 0.3))
        x = self.rng.uniform(-0.1, 0.1)
        for y in (0.14, 0.36):
            self.rect(x - 0.1, y + 0.16, x + 0.28, y + 0.18, darker(dark, 0.2))
            at = x - 0.08
            while at < x + 0.22:
                w, h = self.rng.uniform(0.02, 0.045), self.rng.uniform(0.08, 0.14)
                self.rect(
                    at,
                    y + 0.16 - h,
                    at + w,
                    y + 0.16,
                    mix(self.palette[self.rng.integers(3)], (200, 110, 90), self.rng.uniform(0, 0.6)),
                )
                at += w + 0.006
        px = self.rng.uniform(0.72, 0.9)
        self.rect(px - 0.13, 0.1, px + 0.13, 0.4, darker(dark, 0.3))
        self.rect(px - 0.11, 0.12, px + 0.11, 0.38, lighter(light, 0.35))
        self.fill(ellipse(px, 0.27, 0.07, 0.07), mid)

    def window(self) -> None:
        light, mid, dark = self.palette
        x = self.rng.uniform(0.05, 0.55)
        self.rect(x - 0.02, 0.03, x + 0.44, 0.67, lighter(light, 0.5))
        self.rect(x, 0.05, x + 0.42, 0.65, mix(light, (150, 200, 235), 0.6))
        self.fill(
            smooth([(x, 0.5), (x + 0.14, 0.42), (x + 0.3, 0.5), (x + 0.42, 0.44), (x + 0.42, 0.65), (x, 0.65)]),
            mix(mid, (110, 160, 100), 0.5),
        )
        self.rect(x + 0.2, 0.05, x + 0.22, 0.65, lighter(light, 0.5))
        self.rect(x, 0.33, x + 0.42, 0.35, lighter(light, 0.5))
        for cx in (x - 0.06, x + 0.4):
            self.fill(
                smooth([(cx, -0.05), (cx + 0.1, -0.05), (cx + 0.08, 0.4), (cx + 0.11, 0.85), (cx - 0.01, 0.85)]),
                mix(dark, mid, 0.5),
            )

    def landscape(self) -> None:
        light, mid, dark = self.palette
        self.canvas[:] = np.array(mix(light, (160, 205, 240), 0.45), np.float32)
        self.fill(ellipse(self.rng.uniform(0.1, 0.9), 0.18, 0.08, 0.08), (255, 244, 214), 0.9)
        for k, y in enumerate((0.52, 0.64, 0.78)):
            x = np.linspace(-0.3, 1.3, 9)
            hill = np.stack([x, y + self.rng.uniform(-0.07, 0.07, 9)], -1)
            color = mix(mix(mid, (120, 170, 110), 0.4), dark, 0.35 * k)
            self.fill(np.concatenate([smooth(hill, closed=False), [(1.3, 1.3), (-0.3, 1.3)]]), color)
        self.blur = 2.5
        for _ in range(3):
            s = self.rng.uniform(0.05, 0.09)
            cloud = _cloud(s)
            self.drift(cloud, (255, 252, 246), 0.6, (self.rng.uniform(0.01, 0.04), 0.0))
            last = self.movers.pop()
            self.movers.append(
                Mover(
                    last.points,
                    last.color,
                    last.alpha,
                    (last.start[0], self.rng.uniform(0.05, 0.35)),
                    last.speed,
                    0.0,
                    0.0,
                )
            )

    def bokeh(self) -> None:
        for _ in range(26):
            x, y = self.rng.uniform(-0.2, 1.2, 2)
            r = self.rng.uniform(0.03, 0.11)
            self.fill(
                ellipse(x, y, r, r, n=40),
                lighter(self.palette[self.rng.integers(2)], self.rng.uniform(0, 0.5)),
                self.rng.uniform(0.12, 0.35),
            )
        for _ in range(5):
            r = self.rng.uniform(0.03, 0.07)
            self.drift(
                ellipse(0, 0, r, r, n=40),
                lighter(self.palette[0], 0.5),
                0.22,
                tuple(self.rng.uniform(-0.02, 0.02, 2)),
                0.015,
            )

    def night(self) -> None:
        self.canvas *= 0.35
        for _ in range(30):
            x, y = self.rng.uniform(-0.2, 1.2), self.rng.uniform(-0.1, 1.0)
            r = self.rng.uniform(0.008, 0.035)
            self.fill(
                ellipse(x, y, r, r),
                mix((255, 206, 120), self.palette[0], self.rng.random()),
                self.rng.uniform(0.3, 0.8),
            )
        for _ in range(4):
            r = self.rng.uniform(0.02, 0.04)
            self.drift(ellipse(0, 0, r, r), (255, 214, 140), 0.3, (self.rng.uniform(-0.04, 0.04), 0.0), 0.01)

    def pattern(self) -> None:
        mid, kind = mix(self.palette[0], self.palette[1], 0.5), self.rng.integers(3)
        step = self.rng.uniform(0.1, 0.18)
        for i, a in enumerate(np.arange(-0.3, 1.35, step)):
            if kind == 0:
                self.fill(stroke([(a - 0.4, -0.3), (a, 0.5), (a + 0.4, 1.3)], step * 0.45), mid)
                continue
            for j, b in enumerate(np.arange(-0.3, 1.35, step)):
                x = a + (step / 2 if j % 2 else 0)
                r = step * (0.24 if kind == 1 else 0.36)
                self.fill(
                    ellipse(x, b, r, r, power=2 if kind == 1 else 1.2), mix(mid, self.palette[2], 0.12 * ((i + j) % 2))
                )
        self.blur = 1.6


def _cloud(s: float) -> np.ndarray:
    x = np.linspace(-2 * s, 2 * s, 40)
    bumps = ((-0.9, 0.8, 0.62), (0.1, 0.9, 1.0), (1.1, 0.7, 0.55))
    top = np.max([h * np.sqrt(np.clip(1 - ((x / s - c) / r) ** 2, 0, 1)) for c, r, h in bumps], 0)
    return np.concatenate([np.stack([x, 0.2 * s - s * top], -1), np.stack([x[::-1], np.full(40, 0.24 * s)], -1)])


def _blurred(canvas: np.ndarray, sigma: float) -> np.ndarray:
    """A wide blur is done on a smaller picture."""
    if sigma < 6:
        return cv2.GaussianBlur(canvas, (0, 0), sigma)
    small = cv2.GaussianBlur(
        cv2.resize(canvas, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), (0, 0), sigma / 4
    )
    return cv2.resize(small, (BACKDROP_SIZE, BACKDROP_SIZE), interpolation=cv2.INTER_CUBIC)


_GRID = np.linspace(0, 1, BACKDROP_SIZE, dtype=np.float32)
_GLOW = 0.84 + 0.2 * np.exp(-(((_GRID[None] - 0.5) ** 2 + (_GRID[:, None] - 0.45) ** 2) / 0.12))[..., None]
