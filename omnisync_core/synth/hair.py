"""Drawn hair and what is worn on it, behind the head and before it."""

from __future__ import annotations

import numpy as np

from .character import Character
from .heads import Look, both, contour
from .shapes import Shape, darker, ellipse, lighter, mix, smooth, stroke


def hair_back(ch: Character, look: Look, style: str) -> None:
    hair, dark, w, top = ch.hair, darker(ch.hair, 0.22), ch.head_width, ch.head_top
    if style in ("long", "bob"):
        low = 1.9 if style == "long" else 1.05
        shape = smooth([(-w * 1.22, -0.3), (-w * 0.95, -top * 0.98), (0, -top * 1.2), (w * 0.95, -top * 0.98),
            (w * 1.22, -0.3), (w * 1.28, 0.6), (w * 1.2, low), (w * 0.6, low + 0.1), (-w * 0.6, low + 0.1),
            (-w * 1.2, low), (-w * 1.28, 0.6)])
        look.back.insert(0, Shape(shape, dark, -0.4))
    elif style == "ponytail":
        tail = smooth([(w * 0.5, -0.9), (w * 1.35, -0.9), (w * 1.6, -0.1), (w * 1.45, 0.8), (w * 1.15, 1.3),
            (w * 1.1, 0.4), (w * 0.9, -0.2)])
        look.back.insert(0, Shape(tail, dark, -0.5))
    elif style == "bun":
        look.back.insert(0, Shape(ellipse(0, -top * 1.22, 0.42, 0.4), dark, -0.3))
        look.back.insert(1, Shape(stroke(ellipse(0, -top * 1.22, 0.26, 0.24)[:18], 0.03, taper=1), lighter(hair, 0.15),
            -0.3))
    elif style in ("afro", "curly"):
        r = 1.0 if style == "afro" else 0.78
        for i, a in enumerate(np.linspace(0.02, 0.98, 11 if style == "afro" else 9) * np.pi):
            s = 0.5 * r + 0.05 * (i % 3)
            look.back.insert(0, Shape(ellipse(np.cos(a) * w * (0.95 + 0.2 * r),
                0.1 - np.sin(a) * top * (0.85 + 0.3 * r), s, s), dark, -0.3))
    elif style == "braids":
        for side in (1, -1):
            for i in range(6):
                y = 0.3 + i * 0.26
                look.back.append(Shape(ellipse(side * (w * 1.08 + 0.03 * i), y, 0.19 - 0.012 * i, 0.18),
                    darker(hair, 0.1 + 0.12 * (i % 2)), 0.1))
    elif style == "headscarf":
        scarf = smooth([(-w * 1.2, 0), (-w * 0.92, -top), (0, -top * 1.2), (w * 0.92, -top), (w * 1.2, 0),
            (w * 1.12, 0.9), (w * 1.3, 1.9), (0, 2.3), (-w * 1.3, 1.9), (-w * 1.12, 0.9)])
        look.back.append(Shape(scarf, darker(ch.second, 0.15), -0.3))


def hair_front(ch: Character, look: Look, style: str) -> None:
    draw = FRONTS.get(style)
    if draw is not None:
        draw(ch, look.front)


def _short(ch: Character, f: list[Shape]) -> None:
    _hairline(ch, f, -0.66)
    _arc(ch, f)


def _parted(ch: Character, f: list[Shape]) -> None:
    w, top = ch.head_width, ch.head_top
    f.extend(both(smooth([(0, -top * 1.08), (0.55, -top * 1.05), (w * 1.02, -0.72), (w * 1.12, 0.0), (w * 1.12, 0.62),
        (w * 0.93, 0.1), (w * 0.8, -0.42), (0.3, -0.72), (0, -0.84)]), ch.hair, 0.15))
    _arc(ch, f, -0.98, 0.6)


def _bob(ch: Character, f: list[Shape]) -> None:
    w = ch.head_width
    _hairline(ch, f, -0.42, 0.1, -0.1)
    f.extend(both(smooth([(w * 0.86, -0.6), (w * 1.12, -0.3), (w * 1.2, 0.5), (w * 1.08, 0.98), (w * 0.84, 0.7),
        (w * 0.9, 0.1)]), ch.hair, 0.1))
    _arc(ch, f, -0.9, 0.6)


def _curls(ch: Character, f: list[Shape]) -> None:
    _hairline(ch, f, -0.66)
    for i, x in enumerate(np.linspace(-0.85, 0.85, 7)):
        f.append(Shape(ellipse(x * ch.head_width, -0.62 - 0.34 * (1 - x * x) ** 0.5 - 0.04 * (i % 2), 0.22, 0.2),
            mix(ch.hair, lighter(ch.hair, 0.22), 0.25 * (i % 2)), 0.2))


def _quiff(ch: Character, f: list[Shape]) -> None:
    _hairline(ch, f, -0.7)
    f.append(Shape(smooth([(-0.75, -0.7), (-0.8, -1.15), (-0.2, -1.5), (0.5, -1.45), (0.85, -1.05), (0.75, -0.72),
        (0.3, -0.86), (-0.3, -0.8)]), ch.hair, 0.3))
    _arc(ch, f, -1.18, 0.45)


def _receding(ch: Character, f: list[Shape]) -> None:
    w = ch.head_width
    side = smooth([(w * 1.02, 0.12), (w * 1.07, -0.3), (w * 0.97, -0.66), (w * 0.84, -0.64), (w * 0.88, -0.3),
        (w * 0.93, 0.02)])
    f.extend(both(side, ch.hair, 0.05))


def _mohawk(ch: Character, f: list[Shape]) -> None:
    w = ch.head_width
    f.append(Shape(smooth([(-0.26, -0.78), (-0.34, -1.3), (-0.2, -1.72), (0.2, -1.72), (0.34, -1.3), (0.26, -0.78),
        (0, -0.7)]), ch.hair, 0.3))
    f.extend(both(smooth([(w * 0.99, 0.02), (w * 1.02, -0.4), (w * 0.87, -0.76), (w * 0.56, -1.02),
        (w * 0.5, -0.86), (w * 0.8, -0.46), (w * 0.93, -0.02)]), mix(ch.hair, ch.skin, 0.45), 0.05))


def _turban(ch: Character, f: list[Shape]) -> None:
    w = ch.head_width
    f.append(Shape(smooth([(-w * 1.1, -0.25), (-w * 1.22, -0.8), (-w * 0.7, -1.5), (0, -1.68), (w * 0.7, -1.5),
        (w * 1.22, -0.8), (w * 1.1, -0.25), (w * 0.5, -0.55), (0, -0.72), (-w * 0.5, -0.55)]), ch.second, 0.2))
    for k in range(3):
        fold = smooth([(-w * 1.05, -0.42 - 0.28 * k), (-0.1, -0.98 - 0.2 * k), (w * 0.8, -1.35 - 0.05 * k)],
            closed=False)
        f.append(Shape(stroke(fold, 0.05, taper=1), darker(ch.second, 0.25), 0.25))


def _headscarf(ch: Character, f: list[Shape]) -> None:
    f.append(Shape(_band(contour(ch, wide=0.1), contour(ch, wide=-0.1)), ch.second, 0.05, jaw=True))


def _hairline(ch: Character, f: list[Shape], y: float, lift: float = 0.05, sag: float = 0.0) -> None:
    line = smooth(cap_line(ch, y, lift=lift, sag=sag))
    f.append(Shape(line * (0.97, 1) + (0, 0.055), darker(ch.skin, 0.5), 0.12, alpha=0.35))
    f.append(Shape(line, ch.hair, 0.15))


def _arc(ch: Character, f: list[Shape], y: float = -0.92, span: float = 0.5) -> None:
    """Light on the hair."""
    f.append(Shape(stroke(smooth([(-span, y + 0.16), (-0.1, y), (span, y + 0.12)], closed=False), 0.07, taper=1),
        lighter(ch.hair, 0.22), 0.2, alpha=0.6))


def _cap(ch: Character, f: list[Shape]) -> None:
    w, dark = ch.head_width, darker(ch.second, 0.25)
    _crown(ch, f)
    f.append(Shape(smooth([(-w * 1.02, -0.5), (0, -0.78), (w * 1.02, -0.5), (w * 0.95, -0.3), (0, -0.46),
        (-w * 0.95, -0.3)]), dark, 0.9))
    f.append(Shape(ellipse(0, -1.42, 0.1, 0.06), dark, 0.2))


def _beanie(ch: Character, f: list[Shape]) -> None:
    w, dark = ch.head_width, darker(ch.second, 0.25)
    _crown(ch, f)
    f.append(Shape(smooth([(-w * 1.1, -0.36), (-w * 1.1, -0.64), (0, -0.86), (w * 1.1, -0.64), (w * 1.1, -0.36),
        (0, -0.56)]), dark, 0.2))
    f.append(Shape(ellipse(0, -1.52, 0.24, 0.22), lighter(ch.second, 0.3), 0.2))


def _crown(ch: Character, f: list[Shape]) -> None:
    """Of a hat, and the hair below it."""
    w = ch.head_width
    f.extend(both(smooth([(w * 1.0, 0.12), (w * 1.06, -0.4), (w * 0.84, -0.5), (w * 0.92, 0.0)]), ch.hair, 0.05))
    f.append(Shape(smooth([(-w * 1.06, -0.42), (-w * 1.02, -1.0), (-0.45, -1.42), (0.45, -1.42), (w * 1.02, -1.0),
        (w * 1.06, -0.42), (0, -0.62)]), ch.second, 0.15))


FRONTS = {
    "short": _short, "bun": _short, "ponytail": _short, "long": _parted, "braids": _parted, "bob": _bob,
    "curly": _curls, "afro": _curls, "quiff": _quiff, "receding": _receding, "mohawk": _mohawk, "cap": _cap,
    "beanie": _beanie, "turban": _turban, "headscarf": _headscarf,
}


def cap_line(ch: Character, y: float, *, lift: float = 0.0, sag: float = 0.0) -> list[tuple[float, float]]:
    """Upper part of the head above a hairline at `y`, grown by `lift`."""
    w, top = ch.head_width + lift, -(ch.head_top + lift)
    return [(-w, 0.06), (-w * 1.01, -0.4), (-w * 0.8, top * 0.8), (-w * 0.36, top * 1.0), (w * 0.36, top * 1.0),
        (w * 0.8, top * 0.8), (w * 1.01, -0.4), (w, 0.06), (w * 0.9, -0.1), (w * 0.82, y + 0.06 + sag), (w * 0.4, y),
        (0, y - 0.04), (-w * 0.4, y), (-w * 0.82, y + 0.06 + sag), (-w * 0.9, -0.1)]


def _band(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Outer and inner outline as one ring."""
    return np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])
