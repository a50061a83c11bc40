"""Eyes that blink and look around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .shapes import Color, Shape, grow, stroke

_U = -np.cos(np.linspace(0, np.pi, 17))


@dataclass(frozen=True)
class Eye:
    """One eye; lengths in head units."""

    x: float
    y: float
    rx: float
    ry: float
    iris: Color
    line: Color
    lid: Color
    white: Color = (250, 248, 244)
    iris_size: float = 0.62  # of the smaller radius, doubled
    slit: float = 1.0  # pupil's width over its height
    rim: float = 0.05  # upper lid line, in eye widths
    outline: float = 0.0
    glow: bool = False
    depth: float = 0.62
    shaded: bool = False  # the lid's shadow lies on the ball


def eye_shapes(eye: Eye, blink_T: np.ndarray, gaze_T2: np.ndarray) -> list[Shape]:
    """Display list of one eye at T times; blink 0 open, 1 closed; gaze -1..1."""
    open_T = (1 - np.clip(blink_T, 0, 0.97))[:, None]
    body = (1 - _U**2) ** 0.5
    x = np.broadcast_to(eye.x + eye.rx * _U, (len(blink_T), len(_U)))
    bottom = eye.y + eye.ry * 0.85 * body * (0.25 + 0.75 * open_T)
    top = bottom - eye.ry * 1.85 * body * open_T
    upper, lower = np.stack([x, top], -1), np.stack([x, bottom], -1)
    outline = np.concatenate([upper, lower[:, ::-1]], 1)
    shapes = []

    def add(points: np.ndarray, color: Color, alpha: float = 1.0) -> None:
        shapes.append(Shape(points, color, eye.depth, alpha))

    if eye.glow:
        add(grow(outline, eye.rx * 0.28), eye.iris, 0.25)
        add(outline, eye.iris)
        add(_disc(eye, gaze_T2, 0.3, outline), (255, 255, 255), 0.75)
        return shapes
    if eye.outline:
        add(grow(outline, eye.outline), eye.line)
    add(outline, eye.white)
    add(_disc(eye, gaze_T2, eye.iris_size, outline), eye.iris)
    add(_disc(eye, gaze_T2, eye.iris_size * 0.55, outline, eye.slit), (22, 16, 20))
    add(_disc(eye, gaze_T2, eye.iris_size * 0.26, outline, 1.0, (-0.22, -0.26)), (255, 255, 255))
    if eye.shaded:
        dark = upper.copy()
        dark[..., 1] += 0.45 * (lower - upper)[..., 1]
        add(np.concatenate([upper, dark[:, ::-1]], 1), (40, 24, 26), 0.35)
    if eye.rim:
        add(stroke(upper, eye.rim * 2 * eye.rx, taper=0.55), eye.line)
    return shapes


def _disc(
    eye: Eye, gaze_T2: np.ndarray, size: float, outline: np.ndarray, aspect: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    radius = size * min(eye.rx, eye.ry)
    a = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    reach = min(eye.rx, eye.ry) * 0.4
    whole = eye.iris_size * min(eye.rx, eye.ry)
    x = eye.x + gaze_T2[:, :1] * reach + shift[0] * whole + radius * aspect * np.cos(a)
    y = eye.y + gaze_T2[:, 1:] * reach * 0.6 + shift[1] * whole + radius * np.sin(a)
    half = len(_U)
    x = np.clip(x, eye.x - eye.rx, eye.x + eye.rx)
    u = (x - eye.x) / eye.rx
    top = _rows(u, outline[:, :half, 1])
    bottom = _rows(u, outline[:, half:, 1][:, ::-1])
    return np.stack([x, np.clip(y, top, bottom)], -1)


def _rows(u: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Each row of `curve`, sampled at _U, read at `u` (T, k)."""
    at = np.arccos(np.clip(-u, -1, 1)) / np.pi * (len(_U) - 1)
    i = np.minimum(at.astype(int), len(_U) - 2)
    f = at - i
    rows = np.arange(len(u))[:, None]
    return curve[rows, i] * (1 - f) + curve[rows, i + 1] * f
