"""The drawing primitives of synthetic characters: colours, curves and the display list's `Shape`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

Color = tuple[int, int, int]
HIDDEN = -9000.0  # a coordinate that every view culls


@dataclass(frozen=True, eq=False)
class Shape:
    """One filled polygon; points (n, 2), or (T, n, 2) when it changes, in the units of its space, y down."""

    points: np.ndarray
    color: Color
    depth: float = 0.0  # towards the viewer, in head units: turns with yaw and pitch
    alpha: float = 1.0
    space: str = "head"  # head, body or frame
    jaw: bool = False  # follows the chin
    fill: Picture | None = None  # painted inside the outline, where it is not transparent, instead of `color`
    shift_T2: np.ndarray | None = None  # of the fill, in head units
    behind: float = 0.0  # what the fill's depth adds to the outline's
    warped: bool = False  # the fill follows the mouth and the head's relief


@dataclass(frozen=True, eq=False)
class Picture:
    """Painted pixels (H, W, 4) uint8, RGB and coverage, at `unit` pixels for each unit of the space."""

    pixels: np.ndarray
    left: float
    top: float
    unit: float

    @staticmethod
    def around(pixels: np.ndarray, x: float, y: float, unit: float) -> Picture:
        """The picture's middle lies at x, y."""
        height, width = pixels.shape[:2]
        return Picture(pixels, x - width / unit / 2, y - height / unit / 2, unit)

    @cached_property
    def solid(self) -> bool:
        """Nothing is transparent."""
        return bool(self.pixels[..., 3].min() == 255)

    @property
    def corners(self) -> np.ndarray:
        """(4, 2): the outline of all pixels."""
        height, width = self.pixels.shape[:2]
        right, bottom = self.left + width / self.unit, self.top + height / self.unit
        return np.array([(self.left, self.top), (right, self.top), (right, bottom), (self.left, bottom)])


def rgb(hex_code: str) -> Color:
    """'e8b48f' -> (232, 180, 143)."""
    red, green, blue = (int(hex_code[i : i + 2], 16) for i in (0, 2, 4))
    return red, green, blue


def mix(a: Color, b: Color, share: float) -> Color:
    """`a` with `share` of `b` in it."""
    red, green, blue = (round(min(255, max(0, x + (y - x) * share))) for x, y in zip(a, b, strict=True))
    return red, green, blue


def darker(color: Color, share: float) -> Color:
    """Towards a warm black."""
    return mix(color, (28, 16, 28), share)


def lighter(color: Color, share: float) -> Color:
    """Towards a warm white."""
    return mix(color, (255, 250, 240), share)


def ellipse(
    x: float, y: float, rx: float, ry: float, *, n: int = 30, power: float = 2.0, turn: float = 0.0
) -> np.ndarray:
    """(n, 2) superellipse; power above 2 is boxier, `turn` in degrees."""
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    px = rx * np.sign(cos) * np.abs(cos) ** (2 / power)
    py = ry * np.sign(sin) * np.abs(sin) ** (2 / power)
    a = np.deg2rad(turn)
    return np.stack([x + px * np.cos(a) - py * np.sin(a), y + px * np.sin(a) + py * np.cos(a)], -1)


def smooth(points: ArrayLike, *, closed: bool = True, per: int = 5) -> np.ndarray:
    """Catmull-Rom curve through the points, `per` samples for each."""
    p = np.asarray(points, np.float64)
    if closed:
        p0, p1, p2, p3 = np.roll(p, 1, 0), p, np.roll(p, -1, 0), np.roll(p, -2, 0)
    else:
        q = np.concatenate([p[:1] * 2 - p[1:2], p, p[-1:] * 2 - p[-2:-1]])
        p0, p1, p2, p3 = q[:-3], q[1:-2], q[2:-1], q[3:]
    t = (np.arange(per) / per)[None, :, None]
    p0, p1, p2, p3 = (v[:, None] for v in (p0, p1, p2, p3))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-1:]])


def stroke(points: ArrayLike, width: float, *, taper: float = 0.0) -> np.ndarray:
    """Polygon (..., 2n, 2) of a line of the given width; taper 1 thins both ends to nothing."""
    p = np.asarray(points, np.float64)
    normal = _normals(np.gradient(p, axis=-2))
    t = np.linspace(-1, 1, p.shape[-2])[:, None]
    half = 0.5 * width * (1 - taper * t**2)
    return np.concatenate([p + normal * half, (p - normal * half)[..., ::-1, :]], -2)


def grow(points: ArrayLike, by: float) -> np.ndarray:
    """A closed polygon (..., n, 2) moved outwards by `by` along its normals."""
    p = np.asarray(points, np.float64)
    normal = _normals(np.roll(p, -1, -2) - np.roll(p, 1, -2))
    x, y = p[..., 0], p[..., 1]
    area = (x * np.roll(y, -1, -1) - np.roll(x, -1, -1) * y).sum(-1)
    return p + normal * by * np.sign(area)[..., None, None]


def mirror(points: ArrayLike) -> np.ndarray:
    """Left and right swapped about x = 0."""
    return np.asarray(points, np.float64) * (-1, 1)


def ramp(x: ArrayLike, low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((np.asarray(x, np.float64) - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _normals(tangent: np.ndarray) -> np.ndarray:
    length = np.hypot(tangent[..., 0], tangent[..., 1])[..., None] + 1e-9
    return np.stack([tangent[..., 1], -tangent[..., 0]], -1) / length
