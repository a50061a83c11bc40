"""Cartoon characters, human and monster."""

from __future__ import annotations

import numpy as np

from .character import Character
from .eyes import Eye
from .hair import cap_line
from .heads import Look, Texture, both, contour, outlined, torso
from .people import freckles, glasses
from .shapes import Color, Shape, darker, ellipse, lighter, mix, smooth, stroke


def cartoon(ch: Character, rng: np.random.Generator) -> Look:
    """A stylised character: bold or flat, human or monster."""
    bold, skin, line = "outline" in ch.traits, ch.skin, darker(ch.skin, 0.78)
    texture = Texture(skin, rng.choice((-1, 1)), flat=0.35 if bold else 0.7)
    texture.blob(0.6, 0.34, 0.2, 0.15, mix(skin, (240, 90, 100), 0.7), 0.6, both=True)
    look, soft = Look(), texture.bake()
    look.back += torso(ch, darker(skin, 0.1), rng, neck=0.34, wide=1.2)
    width = 0.05 if bold else 0.0
    face = contour(ch)
    if ch.species == "monster":
        _monster_top(ch, look, rng)
    else:
        for ear in both(ellipse(ch.head_width, 0.1, 0.17, 0.22), skin, -0.1):
            look.back += outlined(ear.points, skin, line, width, -0.1) if bold else [ear]
    if bold:
        look.head.append(Shape(contour(ch, wide=width), line, jaw=True))
    look.head.append(Shape(face, skin, fill=soft, behind=0.5, jaw=True))
    size = rng.uniform(0.2, 0.27)
    one_eye = ch.species == "monster" and rng.random() < 0.25
    for x in (0.0,) if one_eye else (-ch.eye_x, ch.eye_x):
        big = 1.5 if one_eye else 1.0
        look.eyes.append(Eye(x, ch.eye_y, size * big, size * big * rng.uniform(1.05, 1.06) * 1.15, ch.iris, line,
            darker(skin, 0.2), iris_size=0.56, outline=width * 0.8 + 0.012, rim=0.07))
    if not one_eye:
        tilt = rng.uniform(-0.08, 0.08)
        brow = stroke([(0.2, ch.eye_y - 0.42 + tilt), (0.42, ch.eye_y - 0.5), (0.66, ch.eye_y - 0.42 - tilt)], 0.09,
            taper=0.5)
        look.middle += both(brow, darker(ch.hair, 0.3), 0.6)
    if ch.species != "monster":
        look.middle.append(Shape(ellipse(0, 0.2, rng.uniform(0.1, 0.16), 0.1),
            mix(darker(skin, 0.16), (230, 90, 80), 0.22), 0.95))
        look.middle.append(Shape(ellipse(-0.03, 0.17, 0.05, 0.03), lighter(skin, 0.5), 0.97))
    if "freckles" in ch.traits:
        freckles(ch, look, rng)
    if ch.species != "monster":
        _toon_hair(ch, look, rng, width, line)
    if "glasses" in ch.traits and not one_eye:
        glasses(ch, look, rng)
    return look


def _monster_top(ch: Character, look: Look, rng: np.random.Generator) -> None:
    w, top, dark = ch.head_width, ch.head_top, darker(ch.skin, 0.2)
    kind = rng.integers(3)
    if kind == 0:
        horn = smooth([(w * 0.4, -top * 0.8), (w * 0.62, -top * 1.5), (w * 0.86, -top * 1.66), (w * 0.84, -top * 1.1),
            (w * 0.86, -top * 0.6)])
        look.back += both(horn, (240, 226, 196), -0.1)
    elif kind == 1:
        for x in (-0.4, 0.4):
            look.back.append(Shape(stroke(smooth([(x, -top * 0.8), (x * 1.3, -top * 1.25), (x * 1.7, -top * 1.5)],
                closed=False), 0.07), dark))
            look.back.append(Shape(ellipse(x * 1.7, -top * 1.52, 0.14, 0.14), ch.second))
    else:
        for i, x in enumerate(np.linspace(-0.7, 0.7, 5)):
            look.back.append(Shape(smooth([(x - 0.2, -top * 0.7), (x * 1.25, -top * (1.35 - 0.25 * x * x)),
                (x + 0.2, -top * 0.7)]), mix(dark, ch.second, 0.3 * (i % 2))))


def _toon_hair(ch: Character, look: Look, rng: np.random.Generator, width: float, line: Color) -> None:
    w, kind = ch.head_width, rng.integers(4)
    if kind == 0:
        points = smooth(cap_line(ch, -0.62, lift=0.06))
    elif kind == 1:
        spikes = [(-w * 1.02, -0.1), (-w * 1.3, -0.6), (-w * 0.95, -0.75), (-w * 0.95, -1.3), (-0.45, -1.1),
            (-0.1, -1.6), (0.3, -1.15), (w * 0.9, -1.35), (w * 0.95, -0.8), (w * 1.3, -0.6), (w * 1.02, -0.1),
            (w * 0.8, -0.55), (0.35, -0.6), (0.1, -0.72), (-0.3, -0.58), (-w * 0.8, -0.55)]
        points = np.array(spikes)
    elif kind == 2:
        points = smooth([(-w * 0.95, -0.55), (-w * 0.95, -1.1), (-0.3, -1.42), (0.5, -1.4), (w * 1.1, -1.0),
            (w * 1.02, -0.5), (0.4, -0.72), (-0.2, -0.9)])
    else:
        points = smooth([(-0.3, -ch.head_top * 0.94), (-0.34, -ch.head_top * 1.25), (0.0, -ch.head_top * 1.15),
            (0.2, -ch.head_top * 1.36), (0.3, -ch.head_top * 0.94)])
    look.front += outlined(points, ch.hair, line, width, 0.15) if width else [Shape(points, ch.hair, 0.15)]
