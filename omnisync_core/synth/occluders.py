"""Things that pass before the mouth for a while: a hand, a microphone, a cup, a ball."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .shapes import Color, Shape, darker, ellipse, lighter, mix, rgb, smooth, stroke

KINDS = ("hand", "microphone", "cup", "ball", "leaf")


@dataclass(frozen=True, eq=False)
class Occluder:
    """Parts about (0, 0) in mouth widths, and the path: from `away` to `near` and back, every `period` seconds."""

    parts: tuple[tuple[np.ndarray, Color, float], ...]
    size: float  # mouth width in frame units
    away: tuple[float, float]
    near: tuple[float, float]
    period: float
    phase: float
    turn: float

    def shapes(self, times_T) -> list[Shape]:
        """Display list in frame units."""
        t = np.asarray(times_T, np.float64)
        swing = 0.5 - 0.5 * np.cos(2 * np.pi * (t / self.period + self.phase))
        share = np.clip(1.5 * swing - 0.25, 0, 1)
        share = (share * share * (3 - 2 * share))[:, None]
        place = np.array(self.away) + (np.array(self.near) - np.array(self.away)) * share
        angle = self.turn + 0.12 * np.sin(1.3 * t + 6 * self.phase)
        cos, sin = np.cos(angle), np.sin(angle)
        matrix = self.size * np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], 1)
        return [Shape(np.matmul(p, matrix) + place[:, None], c, alpha=a, space="frame") for p, c, a in self.parts]


def random_occluder(fixed, moving, mouth, width: float, duration: float) -> Occluder:
    """The thing is drawn from `fixed`, its path from `moving`."""
    kind = KINDS[fixed.integers(len(KINDS))]
    parts = tuple(_MAKERS[kind](fixed))
    side = moving.choice((-1, 1))
    near = np.array(mouth) + width * np.array([side * moving.uniform(0.1, 0.55), moving.uniform(0.05, 0.4)])
    away = near + width * np.array([side * moving.uniform(0.6, 2.2), moving.uniform(2.2, 3.2)])
    if kind in ("ball", "leaf"):
        away = near + np.array([side * moving.uniform(0.8, 1.1), moving.uniform(-0.3, 0.3)])
    period = max(duration, 1.5) * moving.uniform(0.8, 1.5)
    return Occluder(
        parts,
        width,
        tuple(away),
        tuple(near),
        float(period),
        float(moving.random()),
        float(side * moving.uniform(0, 0.35)),
    )


def _hand(rng):
    skin = rgb(("f0c4a0", "dca47c", "bd7f55", "8d5738", "5c3624")[rng.integers(5)])
    cloth, line = rgb(("3f77ad", "d95d4e", "39424e", "6fae75")[rng.integers(4)]), darker(skin, 0.35)
    yield (smooth([(-0.3, 0.5), (0.3, 0.5), (0.36, 1.4), (0.42, 3.6), (-0.42, 3.6), (-0.36, 1.4)]), skin, 1.0)
    yield (np.array([(-0.46, 1.5), (0.46, 1.5), (0.52, 3.8), (-0.52, 3.8)]), cloth, 1.0)
    for i, (x, top) in enumerate(((-0.33, -0.5), (-0.11, -0.68), (0.12, -0.64), (0.34, -0.46))):
        finger = smooth(
            [
                (x - 0.11, 0.4),
                (x * 1.15 - 0.1, top + 0.08),
                (x * 1.2, top - 0.06),
                (x * 1.15 + 0.1, top + 0.08),
                (x + 0.11, 0.4),
            ]
        )
        yield (finger, mix(skin, line, 0.1 * (i % 2)), 1.0)
        yield (
            stroke([(x * 1.1 + 0.11, top + 0.2), (x * 1.05 + 0.11, 0.0), (x + 0.11, 0.3)], 0.025, taper=1),
            line,
            0.8,
        )
    yield (smooth([(-0.44, 0.1), (0.44, 0.1), (0.46, 0.7), (0.3, 1.0), (-0.3, 1.0), (-0.46, 0.7)]), skin, 1.0)
    yield (
        smooth([(-0.36, 0.75), (-0.7, 0.3), (-0.72, 0.08), (-0.58, 0.06), (-0.3, 0.4), (-0.2, 0.7)]),
        lighter(skin, 0.08),
        1.0,
    )


def _microphone(rng):
    metal = rgb(("8a929c", "c7b07a", "4a4f5c")[rng.integers(3)])
    yield (np.array([(-0.13, 0.3), (0.13, 0.3), (0.09, 3.4), (-0.09, 3.4)]), (40, 42, 50), 1.0)
    yield (ellipse(0, 0, 0.3, 0.34), metal, 1.0)
    for k in (-0.16, 0.0, 0.16):
        yield (stroke([(-0.27, k), (0, k + 0.04), (0.27, k)], 0.02), darker(metal, 0.4), 0.8)
        yield (stroke([(k * 1.1, -0.3), (k * 1.3, 0), (k * 1.1, 0.3)], 0.02), darker(metal, 0.4), 0.8)
    yield (ellipse(-0.1, -0.13, 0.1, 0.08), (255, 255, 255), 0.4)
    yield (ellipse(0, 0.33, 0.2, 0.06), darker(metal, 0.45), 1.0)


def _cup(rng):
    color = rgb(("e9e2d3", "d95d4e", "3d8f88", "ecbc4f", "5a5aa8")[rng.integers(5)])
    yield (
        stroke(smooth([(0.4, 0.0), (0.72, 0.02), (0.74, 0.4), (0.38, 0.52)], closed=False), 0.12),
        darker(color, 0.2),
        1.0,
    )
    yield (
        smooth([(-0.46, -0.28), (0.46, -0.28), (0.4, 0.62), (0.26, 0.76), (-0.26, 0.76), (-0.4, 0.62)], per=4),
        color,
        1.0,
    )
    yield (ellipse(0, -0.28, 0.48, 0.1), lighter(color, 0.4), 1.0)
    yield (ellipse(0, -0.27, 0.42, 0.07), (88, 54, 36), 1.0)
    yield (smooth([(-0.34, -0.1), (-0.24, -0.1), (-0.22, 0.5), (-0.3, 0.5)]), (255, 255, 255), 0.3)
    yield (ellipse(0.04, 0.26, 0.14, 0.14), darker(color, 0.3), 0.7)


def _ball(rng):
    color = rgb(("e0503f", "3f78c4", "f0b73c", "6fae75")[rng.integers(4)])
    yield (ellipse(0, 0, 0.5, 0.5), color, 1.0)
    yield (
        stroke(smooth([(-0.48, -0.1), (0, 0.12), (0.48, -0.1)], closed=False), 0.09, taper=0.3),
        (250, 246, 238),
        1.0,
    )
    yield (ellipse(0.1, 0.16, 0.38, 0.3), darker(color, 0.5), 0.18)
    yield (ellipse(-0.18, -0.2, 0.13, 0.1), (255, 255, 255), 0.5)


def _leaf(rng):
    color = rgb(("7fa650", "c9803c", "b5503a", "d9a93f")[rng.integers(4)])
    yield (smooth([(-0.75, 0.1), (-0.3, -0.34), (0.3, -0.3), (0.8, 0.0), (0.3, 0.3), (-0.3, 0.32)]), color, 1.0)
    yield (
        stroke(smooth([(-1.0, 0.16), (-0.3, 0.03), (0.7, 0.0)], closed=False), 0.04, taper=0.7),
        darker(color, 0.35),
        1.0,
    )
    for x in (-0.35, 0.0, 0.3):
        yield (stroke([(x, 0.02), (x + 0.1, -0.1), (x + 0.2, -0.2)], 0.025, taper=1), darker(color, 0.3), 0.8)
        yield (stroke([(x, 0.02), (x + 0.1, 0.11), (x + 0.2, 0.19)], 0.025, taper=1), darker(color, 0.3), 0.8)


_MAKERS = {"hand": _hand, "microphone": _microphone, "cup": _cup, "ball": _ball, "leaf": _leaf}
