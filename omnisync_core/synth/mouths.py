"""The mouth of every character: one geometry driven by five numbers, drawn in many styles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .shapes import HIDDEN, Color, Picture, Shape, darker, ramp, stroke

MOUTH_PARAMS = ("opening", "width", "rounding", "teeth", "tongue")
GAP = 0.55  # height of the inner gap at opening 1, in mouth widths
_U = -np.cos(np.linspace(0, np.pi, 33))  # across the mouth, denser at the corners


Add = Callable[..., None]
"""Adds a shape to a display list."""


@dataclass(frozen=True)
class MouthStyle:
    """How a mouth looks at rest; lengths in mouth widths unless named `_y` or `size` (head units)."""

    size: float
    center_y: float
    chin_y: float
    upper: Color
    lower: Color
    inside: Color
    teeth: Color
    tongue: Color
    line: Color
    upper_lip: float = 0.09
    lower_lip: float = 0.12
    bow: float = 0.25
    smile: float = 0.04
    lobes: float = 0.0  # a cat's double curve
    point: float = 0.0  # a beak's tip
    square: float = 2.0  # of the gap's outline
    outline: float = 0.0
    seam: float = 0.022
    gloss: float = 0.35
    raised: float = 0.22  # share of the gap that opens upwards
    bars: int = 0
    jaw: float = 0.5  # how far the chin follows the lower lip
    depth: float = 0.75
    beak: bool = False
    lower_teeth: float = 0.0  # how far the lower row may stand up, in mouth widths


@dataclass(frozen=True, eq=False)
class Interior:
    """Pictures in head units: teeth with their edge at y = 0, tongue with its top at 0, throat with its roof at 0."""

    upper: Picture
    lower: Picture
    tongue: Picture
    throat: Picture


@dataclass(frozen=True, eq=False)
class MouthCurves:
    """Curves of T mouths in head units, each (T, 33, 2), left to right."""

    upper_inner: np.ndarray
    lower_inner: np.ndarray
    upper_outer: np.ndarray
    lower_outer: np.ndarray
    gap_T: np.ndarray  # height of the opening
    chin_drop_T: np.ndarray


def mouth_curves(style: MouthStyle, mouth_T5: np.ndarray) -> MouthCurves:
    """Geometry of the mouth; the gap's height is opening * GAP * size whatever the other numbers."""
    opening, width, rounding = (mouth_T5[:, i : i + 1].astype(np.float64) for i in range(3))
    m, u = style.size, _U[None]
    half = 0.5 * m * (1 + 0.4 * (width - 0.5)) * (1 - 0.45 * rounding)
    gap = GAP * m * opening
    profile = (1 - np.abs(u) ** style.square) ** (0.72 - 0.22 * np.clip(rounding + 0.3 * opening, 0, 1))
    rest = style.lobes * np.abs(np.sin(np.pi * u)) ** 0.8 - style.smile * (u**2 - 0.4)
    rest = m * (rest * (1 - 0.6 * rounding) + style.point * ((1 - np.abs(u) ** 1.35) - 0.5)) + style.center_y
    up, low = rest - style.raised * gap * profile, rest + (1 - style.raised) * gap * profile
    body = (1 - u**2) ** 0.55
    full = 1 + 0.55 * rounding - 0.12 * np.minimum(opening, 1)
    rim = 0.045 * rounding * (1 - body)
    bow = 1 + style.bow * (np.exp(-(((np.abs(u) - 0.26) / 0.16) ** 2)) - 0.9 * np.exp(-((u / 0.13) ** 2)))
    top = up - m * full * (style.upper_lip * body * bow + rim)
    if style.beak:
        top = up - m * style.upper_lip * (1 - np.abs(u) ** 1.5) * (1 + 0.1 * rounding)
    bottom = low + m * full * (style.lower_lip * body + rim)
    outer = half + m * (0.025 + 0.06 * rounding)

    def curve(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.stack(np.broadcast_arrays(x * u, y), -1)

    drop = style.jaw * (1 - style.raised) * gap[:, 0]
    return MouthCurves(curve(half, up), curve(half, low), curve(outer, top), curve(outer, bottom), gap[:, 0], drop)


def mouth_shapes(
    style: MouthStyle, mouth_T5: np.ndarray, interior: Interior | None = None, *, lips: bool = True
) -> list[Shape]:
    """Display list of T mouths, back to front; an interior fills them, `lips` False leaves out what is painted."""
    c, m = mouth_curves(style, mouth_T5), style.size
    shapes: list[Shape] = []

    def add(points: np.ndarray, color: Color, alpha: float = 1.0, shown: np.ndarray | None = None, **more: Any) -> None:
        if shown is not None:
            points = np.where(shown[:, None, None], points, HIDDEN)
        shapes.append(Shape(points, color, style.depth, alpha, **more))

    opened = c.gap_T > 1e-4
    if interior and not lips:
        _add_interior(add, style, c, mouth_T5, interior)
        return shapes
    middle = 0.5 * (c.upper_inner + c.lower_inner)
    if style.outline:
        add(_grown(c, style.outline * m), style.line)
    if style.lower_lip > 0:
        add(_between(middle, c.lower_outer), style.lower)
    if style.upper_lip > 0:
        add(_between(c.upper_outer, middle), style.upper)
    if style.gloss and style.lower_lip > 0.05:
        add(_gloss(c), (255, 236, 228), style.gloss)
    if interior:
        _add_interior(add, style, c, mouth_T5, interior)
    else:
        add(_between(c.upper_inner, c.lower_inner), style.inside, 1.0, opened)
        _add_tongue(add, style, c, mouth_T5[:, 4])
        _add_teeth(add, style, c, mouth_T5[:, 3])
    for i in range(style.bars):
        x = (i + 0.5) / style.bars * 2 - 1
        add(_bar(c, x, 0.022 * m), style.line, 1.0, opened)
    add(stroke(c.upper_inner, style.seam * m, taper=0.5), style.line)
    if style.outline:
        add(stroke(c.lower_inner, style.seam * m, taper=0.5), style.line, 1.0, opened)
    return shapes


def _add_interior(add: Add, style: MouthStyle, c: MouthCurves, mouth_T5: np.ndarray, interior: Interior) -> None:
    """Throat, tongue, rows of teeth, and the lips' shadows on them."""
    m, opened = style.size, c.gap_T > 1e-4
    gap = _between(c.upper_inner, c.lower_inner)
    roof, floor = c.upper_inner[:, 16, 1], c.lower_inner[:, 16, 1]

    def at(y_T: np.ndarray) -> np.ndarray:
        return np.stack([np.zeros_like(y_T), y_T], -1)

    add(gap, style.inside, 1.0, opened, fill=interior.throat, shift_T2=at(roof))
    outline, top_T, shown = _tongue(style, c, mouth_T5[:, 4])
    add(outline, style.tongue, 1.0, shown, fill=interior.tongue, shift_T2=at(top_T))
    teeth_T = mouth_T5[:, 3].astype(np.float64)
    rise = m * style.lower_teeth * np.clip(1.6 * teeth_T - 0.25, 0, 1)
    shown = (rise > 0.01) & (c.gap_T > 0.05 * m)
    top = np.minimum(rise, 0.42 * c.gap_T)
    add(gap, style.teeth, 1.0, shown, fill=interior.lower, shift_T2=at(floor - top))
    outline, edge_T, shown = _teeth(style, c, mouth_T5[:, 3])
    add(outline, style.teeth, 1.0, shown, fill=interior.upper, shift_T2=at(edge_T))
    dark = darker(style.inside, 0.3)
    for width, alpha in ((0.03, 0.4), (0.075, 0.3)):
        reach = np.minimum(width * m, 0.3 * c.gap_T)[:, None]
        under, over = c.upper_inner.copy(), c.lower_inner.copy()
        under[..., 1] += reach * (1 - _U**2)
        over[..., 1] -= 0.5 * reach * (1 - _U**2)
        add(_between(c.upper_inner, under), dark, alpha, opened)
        add(_between(over, c.lower_inner), dark, 0.7 * alpha, opened)


def jaw_weight(style: MouthStyle, points: np.ndarray) -> np.ndarray:
    """How much of the chin's drop each point (n, 2) takes: 0 away from the chin,
    so that the mouth's box stays small."""
    x, y = points[:, 0], points[:, 1]
    low = style.center_y + 0.1 * style.size
    return ramp(y, low, max(style.chin_y, low + 0.1)) * np.clip(1 - (x / (1.0 * style.size)) ** 2, 0, 1) ** 1.5


def _add_tongue(add: Add, style: MouthStyle, c: MouthCurves, tongue_T: np.ndarray) -> None:
    outline, _, shown = _tongue(style, c, tongue_T)
    add(outline, style.tongue, 1.0, shown)


def _add_teeth(add: Add, style: MouthStyle, c: MouthCurves, teeth_T: np.ndarray) -> None:
    outline, _, shown = _teeth(style, c, teeth_T)
    add(outline, style.teeth, 1.0, shown)


def _tongue(style: MouthStyle, c: MouthCurves, tongue_T: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outline, its highest y (T,) and when it is seen."""
    part = slice(4, -4)
    up, low = c.upper_inner[:, part], c.lower_inner[:, part]
    u = np.linspace(-1, 1, up.shape[1])
    room = low[..., 1] - up[..., 1]
    high = style.size * (0.05 + 0.24 * tongue_T[:, None]) * (1 - u**2) ** 0.5
    y = low[..., 1] - np.minimum(high, 0.8 * room)
    top = np.stack([up[..., 0], y], -1)
    shown = (tongue_T > 0.04) & (c.gap_T > 0.02 * style.size)
    return np.concatenate([top, low[:, ::-1]], 1), y[:, y.shape[1] // 2], shown


def _teeth(style: MouthStyle, c: MouthCurves, teeth_T: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outline of the upper row, its edge's middle y (T,) and when it is seen."""
    part = slice(3, -3)
    up, low = c.upper_inner[:, part], c.lower_inner[:, part]
    u = np.linspace(-1, 1, up.shape[1])
    long = style.size * 0.2 * teeth_T[:, None] * (1 - 0.45 * u**4)
    y = up[..., 1] + np.minimum(long, low[..., 1] - up[..., 1])
    edge = np.stack([up[..., 0], y], -1)
    shown = (teeth_T > 0.04) & (c.gap_T > 0.012 * style.size)
    return np.concatenate([up, edge[:, ::-1]], 1), y[:, y.shape[1] // 2], shown


def _between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.concatenate([a, b[:, ::-1]], 1)


def _grown(c: MouthCurves, by: float) -> np.ndarray:
    top, bottom = c.upper_outer.copy(), c.lower_outer.copy()
    top[..., 1] -= by
    bottom[..., 1] += by
    side = np.linspace(-1, 1, top.shape[1])
    top[..., 0] += by * side
    bottom[..., 0] += by * side
    return np.concatenate([top, bottom[:, ::-1]], 1)


def _gloss(c: MouthCurves) -> np.ndarray:
    part = slice(10, -10)
    low, out = c.lower_inner[:, part], c.lower_outer[:, part]
    bend = (1 - np.linspace(-1, 1, low.shape[1]) ** 2)[:, None]
    a, b = low + (out - low) * (0.45 - 0.2 * bend), low + (out - low) * (0.45 + 0.13 * bend)
    return np.concatenate([a, b[:, ::-1]], 1)


def _bar(c: MouthCurves, x: float, width: float) -> np.ndarray:
    at = np.interp(x, _U, np.arange(len(_U)))
    i, f = int(at), at - int(at)
    top = c.upper_inner[:, i] * (1 - f) + c.upper_inner[:, i + 1] * f
    bottom = c.lower_inner[:, i] * (1 - f) + c.lower_inner[:, i + 1] * f
    side = np.array([width / 2, 0.0])
    return np.stack([top - side, top + side, bottom + side, bottom - side], 1)
