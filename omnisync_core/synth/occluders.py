"""Things that pass before the mouth for a while: hands, cups, a microphone, paper, a telephone, a ball."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .materials import CLOTH, SKIN, VINYL, Material, sprite
from .relief import Light
from .render import Placement
from .shapes import Color, Picture, Shape, darker, ellipse, lighter, mix, rgb, smooth, stroke

KINDS = ("hand", "fist", "microphone", "cup", "glass", "paper", "phone", "spoon", "ball", "leaf")
Parts = Iterator[tuple[np.ndarray, Color, float]]
"""Outline, colour and alpha, back to front."""
_UNIT = 96  # pixels of a picture per mouth width


@dataclass(frozen=True, eq=False)
class Occluder:
    """Parts about (0, 0) in mouth widths, and the path: from `away` to `near` and back, every `period` seconds."""

    parts: tuple[Shape, ...]
    size: float  # mouth width in frame units
    away: tuple[float, float]
    near: tuple[float, float]
    period: float
    phase: float
    turn: float

    def place(self, times_T: np.ndarray) -> Placement:
        """Where the parts lie in the frame."""
        t = np.asarray(times_T, np.float64)
        swing = 0.5 - 0.5 * np.cos(2 * np.pi * (t / self.period + self.phase))
        share = np.clip(1.5 * swing - 0.25, 0, 1)
        share = (share * share * (3 - 2 * share))[:, None]
        origin = np.array(self.away) + (np.array(self.near) - np.array(self.away)) * share
        angle = self.turn + 0.12 * np.sin(1.3 * t + 6 * self.phase)
        cos, sin = np.cos(angle), np.sin(angle)
        matrix = self.size * np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1)
        return Placement(matrix, np.zeros_like(origin), origin)


def random_occluder(
    fixed: np.random.Generator, moving: np.random.Generator, mouth: tuple[float, float], width: float, duration: float,
    *, shaded: bool, skin: Color,
) -> Occluder:
    """The thing is drawn from `fixed`, its path from `moving`; hands are often of the character's own `skin`."""
    kind = KINDS[fixed.integers(len(KINDS))]
    parts = [Shape(p, c, alpha=a, space="occluder") for p, c, a in _MAKERS[kind](fixed, skin)]
    if shaded:
        parts = _shaded(parts, fixed, kind)
    side = moving.choice((-1, 1))
    near = np.array(mouth) + width * np.array([side * moving.uniform(0.1, 0.55), moving.uniform(0.05, 0.4)])
    away = near + width * np.array([side * moving.uniform(0.6, 2.2), moving.uniform(2.2, 3.2)])
    if kind in ("ball", "leaf", "paper"):
        away = near + np.array([side * moving.uniform(0.8, 1.1), moving.uniform(-0.3, 0.3)])
    period = max(duration, 1.5) * moving.uniform(0.8, 1.5)
    return Occluder(tuple(parts), width, tuple(away), tuple(near), float(period), float(moving.random()),
        float(side * moving.uniform(0, 0.35)))  # fmt: skip


def _shaded(parts: list[Shape], rng: np.random.Generator, kind: str) -> list[Shape]:
    """One lit picture, a soft shadow below it; sheer parts stay sheer."""
    material = _MATERIALS.get(kind, VINYL)
    sheer = [s for s in parts if kind == "glass" and s.alpha < 1]
    solid = [s for s in parts if s not in sheer]
    outline = solid[0].points
    shadow = [
        Shape(outline + np.array((x, 0.07)), (20, 12, 16), alpha=0.12, space="occluder") for x in (0.05, 0.08, 0.11)
    ]
    picture: Picture = sprite(solid, rng, Light.random(rng), _UNIT, lambda s: material if s.alpha == 1 else _MARK)
    return [*shadow, Shape(picture.corners, solid[0].color, space="occluder", fill=picture), *sheer]


def _hand(rng: np.random.Generator, own: Color) -> Parts:
    skin = _skin(rng, own)
    cloth, line = _cloth(rng), darker(skin, 0.35)
    yield (smooth([(-0.44, 0.1), (0.44, 0.1), (0.46, 0.7), (0.3, 1.0), (-0.3, 1.0), (-0.46, 0.7)]), skin, 1.0)
    yield (smooth([(-0.3, 0.5), (0.3, 0.5), (0.36, 1.4), (0.42, 3.6), (-0.42, 3.6), (-0.36, 1.4)]), skin, 1.0)
    yield (np.array([(-0.46, 1.5), (0.46, 1.5), (0.52, 3.8), (-0.52, 3.8)]), cloth, 1.0)
    spread, bend = rng.uniform(0.9, 1.35), rng.uniform(0.7, 1.0)
    for i, (x, top) in enumerate(((-0.33, -0.5), (-0.11, -0.68), (0.12, -0.64), (0.34, -0.46))):
        top *= bend
        finger = smooth([(x - 0.11, 0.4), (x * 1.1 * spread - 0.11, top * 0.4), (x * 1.15 * spread - 0.09, top + 0.06),
            (x * 1.2 * spread, top - 0.06), (x * 1.15 * spread + 0.09, top + 0.06),
            (x * 1.1 * spread + 0.11, top * 0.4), (x + 0.11, 0.4)])  # fmt: skip
        yield (finger, mix(skin, line, 0.1 * (i % 2)), 1.0)
        for at in (0.25, 0.6):
            mid = x * (1 + (1.1 * spread - 1) * (1 - at))
            yield (
                stroke([(mid - 0.07, top * at), (mid, top * at - 0.015), (mid + 0.07, top * at)], 0.018, taper=1),
                line,
                0.5,
            )
        yield (ellipse(x * 1.18 * spread, top + 0.06, 0.055, 0.07), lighter(mix(skin, (240, 170, 160), 0.4), 0.25), 0.8)
    yield (smooth([(-0.44, 0.1), (0.44, 0.1), (0.46, 0.7), (0.3, 1.0), (-0.3, 1.0), (-0.46, 0.7)]), skin, 1.0)
    yield (smooth([(-0.36, 0.75), (-0.7, 0.3), (-0.72, 0.08), (-0.58, 0.06), (-0.3, 0.4), (-0.2, 0.7)]),
        lighter(skin, 0.08), 1.0)  # fmt: skip


def _fist(rng: np.random.Generator, own: Color) -> Parts:
    skin = _skin(rng, own)
    line = darker(skin, 0.4)
    yield (
        smooth(
            [(-0.5, 0.0), (-0.3, -0.32), (0.3, -0.34), (0.5, 0.0), (0.46, 0.45), (0.3, 0.7), (-0.3, 0.7), (-0.46, 0.45)]
        ),
        skin,
        1.0,
    )
    yield (smooth([(-0.28, 0.5), (0.28, 0.5), (0.36, 1.4), (0.4, 3.6), (-0.4, 3.6), (-0.36, 1.4)]), skin, 1.0)
    yield (np.array([(-0.44, 1.2), (0.44, 1.2), (0.52, 3.8), (-0.52, 3.8)]), _cloth(rng), 1.0)
    for i, x in enumerate((-0.36, -0.12, 0.12, 0.35)):
        yield (
            smooth(
                [
                    (x - 0.13, -0.1),
                    (x, -0.3 + 0.03 * (i % 3)),
                    (x + 0.13, -0.1),
                    (x + 0.12, 0.22),
                    (x, 0.3),
                    (x - 0.12, 0.22),
                ]
            ),
            skin,
            1.0,
        )
        yield (stroke([(x + 0.12, -0.12), (x + 0.125, 0.05), (x + 0.12, 0.24)], 0.025, taper=1), line, 0.6)
    yield (
        smooth([(-0.52, 0.1), (-0.36, 0.06), (0.12, 0.22), (0.2, 0.36), (0.06, 0.42), (-0.4, 0.42)]),
        lighter(skin, 0.05),
        1.0,
    )
    yield (ellipse(0.1, 0.31, 0.07, 0.06), lighter(mix(skin, (240, 170, 160), 0.4), 0.25), 0.8)


def _microphone(rng: np.random.Generator, _: Color) -> Parts:
    metal = rgb(("8a929c", "c7b07a", "4a4f5c", "2c2e34")[rng.integers(4)])
    yield (np.array([(-0.13, 0.3), (0.13, 0.3), (0.09, 3.4), (-0.09, 3.4)]), (40, 42, 50), 1.0)
    yield (ellipse(0, 0, 0.3, 0.34), metal, 1.0)
    for k in np.linspace(-0.24, 0.24, 7):
        yield (stroke([(-0.27, k), (0, k + 0.04), (0.27, k)], 0.02), darker(metal, 0.5), 0.7)
        yield (stroke([(k * 1.1, -0.3), (k * 1.3, 0), (k * 1.1, 0.3)], 0.02), darker(metal, 0.5), 0.7)
    yield (ellipse(-0.1, -0.13, 0.1, 0.08), (255, 255, 255), 0.3)
    yield (ellipse(0, 0.33, 0.2, 0.06), darker(metal, 0.45), 1.0)


def _cup(rng: np.random.Generator, _: Color) -> Parts:
    color = rgb(("e9e2d3", "d95d4e", "3d8f88", "ecbc4f", "5a5aa8", "39424e")[rng.integers(6)])
    yield (
        smooth([(-0.46, -0.28), (0.46, -0.28), (0.4, 0.62), (0.26, 0.76), (-0.26, 0.76), (-0.4, 0.62)], per=4),
        color,
        1.0,
    )
    yield (stroke(smooth([(0.4, 0.0), (0.72, 0.02), (0.74, 0.4), (0.38, 0.52)], closed=False), 0.12),
        darker(color, 0.2), 1.0)  # fmt: skip
    yield (
        smooth([(-0.46, -0.28), (0.46, -0.28), (0.4, 0.62), (0.26, 0.76), (-0.26, 0.76), (-0.4, 0.62)], per=4),
        color,
        1.0,
    )
    yield (ellipse(0, -0.28, 0.48, 0.1), lighter(color, 0.4), 1.0)
    yield (ellipse(0, -0.27, 0.42, 0.07), (88, 54, 36), 1.0)
    yield (smooth([(-0.34, -0.1), (-0.24, -0.1), (-0.22, 0.5), (-0.3, 0.5)]), (255, 255, 255), 0.2)
    yield (ellipse(0.04, 0.26, 0.14, 0.14), darker(color, 0.3), 0.7)


def _glass(rng: np.random.Generator, _: Color) -> Parts:
    drink = rgb(("f2b84a", "7c2436", "cfe6ee", "e07a50")[rng.integers(4)])
    yield (np.array([(-0.36, 0.92), (0.36, 0.92), (0.34, 1.0), (-0.34, 1.0)]), (215, 225, 230), 1.0)
    yield (np.array([(-0.46, -0.5), (0.46, -0.5), (0.36, 1.0), (-0.36, 1.0)]), (225, 238, 244), 0.2)
    yield (np.array([(-0.42, 0.1), (0.42, 0.1), (0.35, 0.95), (-0.35, 0.95)]), drink, 0.55)
    yield (ellipse(0, 0.1, 0.42, 0.05), lighter(drink, 0.4), 0.6)
    yield (np.concatenate([ellipse(0, -0.5, 0.47, 0.06), ellipse(0, -0.5, 0.43, 0.045)[::-1]]), (250, 252, 255), 0.7)
    yield (np.array([(-0.36, -0.4), (-0.28, -0.4), (-0.25, 0.9), (-0.3, 0.9)]), (255, 255, 255), 0.45)
    yield (np.array([(0.32, -0.35), (0.35, -0.35), (0.28, 0.9), (0.26, 0.9)]), (255, 255, 255), 0.35)


def _paper(rng: np.random.Generator, _: Color) -> Parts:
    color = rgb(("f4f1e8", "efe2c4", "e4ecf2")[rng.integers(3)])
    w, h = rng.uniform(0.6, 1.0), rng.uniform(0.7, 1.2)
    yield (np.array([(-w, -h), (w, -h + 0.05), (w * 0.98, h), (-w * 1.02, h - 0.06)]), color, 1.0)
    for y in np.arange(-h + 0.25, h - 0.15, 0.16):
        end = w * rng.uniform(0.3, 0.85)
        yield (stroke([(-w * 0.85, y), (0, y + 0.005), (end, y + 0.01)], 0.045), (60, 58, 66), 0.7)
    if rng.random() < 0.5:
        yield (np.array([(-w * 0.8, 0), (0, 0), (0, h * 0.6), (-w * 0.8, h * 0.55)]), _cloth(rng), 0.8)


def _phone(rng: np.random.Generator, own: Color) -> Parts:
    color = rgb(("1f2024", "d8d9dc", "3a4a66", "8c3b44")[rng.integers(4)])
    yield (ellipse(0, 0.5, 0.42, 0.85, power=7), color, 1.0)
    yield (ellipse(-0.2, -0.08, 0.14, 0.17, power=4), darker(color, 0.4), 1.0)
    for y in (-0.15, 0.0):
        yield (ellipse(-0.2, y, 0.055, 0.055), (22, 24, 34), 1.0)
        yield (ellipse(-0.22, y - 0.02, 0.02, 0.02, n=10), (190, 205, 235), 0.9)
    skin = _skin(rng, own)
    for k in range(4):
        yield (
            smooth(
                [
                    (0.25, 0.42 + 0.2 * k),
                    (0.48, 0.36 + 0.2 * k),
                    (0.6, 0.46 + 0.2 * k),
                    (0.48, 0.56 + 0.2 * k),
                    (0.25, 0.53 + 0.2 * k),
                ]
            ),
            skin,
            1.0,
        )
    yield (
        smooth([(-0.3, 0.9), (-0.5, 0.6), (-0.6, 0.9), (-0.3, 1.3), (0.4, 1.25), (0.58, 1.0), (0.5, 3.6), (-0.4, 3.6)]),
        skin,
        1.0,
    )


def _spoon(rng: np.random.Generator, _: Color) -> Parts:
    metal = rgb(("c3c8cf", "b8a070", "8f8a86")[rng.integers(3)])
    yield (smooth([(-0.05, 0.2), (0.05, 0.2), (0.07, 2.6), (-0.07, 2.6)]), metal, 1.0)
    yield (ellipse(0, -0.08, 0.24, 0.36), metal, 1.0)
    yield (ellipse(0, -0.06, 0.18, 0.28), darker(metal, 0.25), 0.6)
    if rng.random() < 0.6:
        yield (smooth([(-0.18, 0.0), (-0.1, -0.2), (0.08, -0.24), (0.19, -0.02), (0.08, 0.14), (-0.1, 0.14)]),
            rgb(("f3ead8", "8c4a2c", "d95d4e")[rng.integers(3)]), 1.0)  # fmt: skip


def _ball(rng: np.random.Generator, _: Color) -> Parts:
    color = rgb(("e0503f", "3f78c4", "f0b73c", "6fae75")[rng.integers(4)])
    yield (ellipse(0, 0, 0.5, 0.5), color, 1.0)
    yield (stroke(smooth([(-0.48, -0.1), (0, 0.12), (0.48, -0.1)], closed=False), 0.09, taper=0.3),
        (250, 246, 238), 1.0)  # fmt: skip
    yield (ellipse(0.1, 0.16, 0.38, 0.3), darker(color, 0.5), 0.18)
    yield (ellipse(-0.18, -0.2, 0.13, 0.1), (255, 255, 255), 0.5)


def _leaf(rng: np.random.Generator, _: Color) -> Parts:
    color = rgb(("7fa650", "c9803c", "b5503a", "d9a93f")[rng.integers(4)])
    yield (smooth([(-0.75, 0.1), (-0.3, -0.34), (0.3, -0.3), (0.8, 0.0), (0.3, 0.3), (-0.3, 0.32)]), color, 1.0)
    yield (stroke(smooth([(-1.0, 0.16), (-0.3, 0.03), (0.7, 0.0)], closed=False), 0.04, taper=0.7),
        darker(color, 0.35), 1.0)  # fmt: skip
    for x in (-0.35, 0.0, 0.3):
        yield (stroke([(x, 0.02), (x + 0.1, -0.1), (x + 0.2, -0.2)], 0.025, taper=1), darker(color, 0.3), 0.8)
        yield (stroke([(x, 0.02), (x + 0.1, 0.11), (x + 0.2, 0.19)], 0.025, taper=1), darker(color, 0.3), 0.8)


def _skin(rng: np.random.Generator, own: Color) -> Color:
    if rng.random() < 0.6:
        return own
    return rgb(("f0c4a0", "dca47c", "bd7f55", "8d5738", "5c3624")[rng.integers(5)])


def _cloth(rng: np.random.Generator) -> Color:
    return rgb(("3f77ad", "d95d4e", "39424e", "6fae75", "e9e2d3")[rng.integers(5)])


_MARK = Material("fine", 0.0, 0.01)
_MATERIALS = {"hand": SKIN, "fist": SKIN, "phone": Material("fine", 0.004, 0.05, 50.0, 40.0), "leaf": CLOTH,
    "paper": Material("soft", 0.012, 0.02)}  # fmt: skip
_MAKERS = {
    "hand": _hand, "fist": _fist, "microphone": _microphone, "cup": _cup, "glass": _glass, "paper": _paper,
    "phone": _phone, "spoon": _spoon, "ball": _ball, "leaf": _leaf,
}  # fmt: skip
