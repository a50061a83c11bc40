"""Drawn people: soft skin, a nose, a beard, glasses, lines of age."""

from __future__ import annotations

import numpy as np

from .character import Character
from .eyes import Eye
from .hair import hair_back, hair_front
from .heads import Look, Texture, both, contour, torso
from .shapes import Shape, darker, ellipse, lighter, mix, smooth, stroke


def person(ch: Character, rng: np.random.Generator) -> Look:
    """A person: soft skin, hair by family, beard, glasses, age lines."""
    style, t, skin = ch.species, ch.traits, ch.skin
    look, soft = Look(), _skin_texture(ch, rng).bake()
    look.back += torso(ch, darker(skin, 0.1), rng, neck=0.5 if "man" in t else 0.42)
    ear = ellipse(ch.head_width * 0.99, 0.06, 0.13, 0.24)
    hair_back(ch, look, style)
    if style != "headscarf":
        look.back += both(ear, darker(skin, 0.08), -0.1) + both(ellipse(ch.head_width, 0.07, 0.07, 0.14),
            darker(skin, 0.25), -0.1)
        if "earrings" in t:
            look.back += both(ellipse(ch.head_width * 1.02, 0.38, 0.07, 0.09), (236, 196, 92), -0.05)
    look.head.append(Shape(contour(ch), skin, fill=soft, behind=0.5, jaw=True))
    _beard(ch, look)
    if "elder" in t:
        _age(ch, look)
    if "freckles" in t:
        freckles(ch, look, rng)
    _eyes_and_brows(ch, look, rng)
    _nose(ch, look, rng)
    hair_front(ch, look, style)
    if "glasses" in t:
        glasses(ch, look, rng)
    return look


def _skin_texture(ch: Character, rng: np.random.Generator) -> Texture:
    skin, m = ch.skin, ch.mouth
    warm = mix(skin, (206, 60, 62), 0.5)
    texture = Texture(skin, rng.choice((-1, 1)))
    texture.blob(0.56, 0.3, 0.24, 0.2, warm, 0.62 if "makeup" in ch.traits else 0.36, both=True)
    texture.blob(ch.eye_x, ch.eye_y - 0.02, 0.26, 0.18, darker(mix(skin, warm, 0.3), 0.3), 0.45, both=True)
    texture.blob(0, 0.27, 0.17, 0.1, warm, 0.3)
    texture.blob(0, m.center_y + m.size * 0.32, 0.22, 0.07, darker(skin, 0.4), 0.35)
    texture.blob(0, m.chin_y - 0.15, 0.2, 0.12, lighter(skin, 0.4), 0.35)
    texture.blob(0.36, 0.42, 0.08, 0.14, darker(skin, 0.4), 0.18, both=True)
    if "makeup" in ch.traits:
        shadow = mix(ch.second, darker(skin, 0.3), 0.45)
        texture.blob(ch.eye_x, ch.eye_y - 0.12, 0.2, 0.1, shadow, 0.6, both=True)
    if "stubble" in ch.traits:
        hair = mix(darker(ch.hair, 0.2), skin, 0.35)
        low = np.clip((texture.y - 0.36) / 0.4, 0, 1) * np.clip(1.4 - np.hypot(texture.x * 0.7, texture.y - 0.85), 0, 1)
        texture.tint(hair, 0.5 * low)
    return texture


def _eyes_and_brows(ch: Character, look: Look, rng: np.random.Generator) -> None:
    line = darker(mix(ch.hair, (40, 26, 24), 0.6), 0.4)
    rx, ry = rng.uniform(0.165, 0.2), rng.uniform(0.1, 0.135)
    rim = 0.11 if "makeup" in ch.traits else 0.07
    for x in (-ch.eye_x, ch.eye_x):
        look.eyes.append(Eye(x, ch.eye_y, rx, ry, ch.iris, line, darker(ch.skin, 0.2), iris_size=0.8, rim=rim))
    thick = rng.uniform(0.07, 0.11) if "man" in ch.traits else rng.uniform(0.045, 0.07)
    y, arch = ch.eye_y - ry * 1.2 - rng.uniform(0.1, 0.16), rng.uniform(0.02, 0.09)
    brow = smooth([(0.2, y + 0.03), (0.42, y - arch), (0.66, y + 0.06)], closed=False)
    look.middle += both(stroke(brow, thick, taper=0.65), mix(darker(ch.hair, 0.25), ch.skin, 0.12), 0.65)


def _nose(ch: Character, look: Look, rng: np.random.Generator) -> None:
    skin, wide, low = ch.skin, rng.uniform(0.13, 0.2), 0.3
    shade = darker(mix(skin, (170, 60, 50), 0.3), 0.3)
    side = rng.choice((-1, 1))
    ridge = np.array([(0.05 * side, ch.eye_y + 0.02), (0.1 * side, 0.14), (wide * side, 0.24), (0.1 * side, low),
        (0.02 * side, 0.22)])
    look.middle.append(Shape(smooth(ridge), shade, 0.95, alpha=0.35))
    base = smooth([(-wide, 0.25), (-wide * 0.6, low + 0.03), (0, low + 0.05), (wide * 0.6, low + 0.03), (wide, 0.25)],
        closed=False)
    look.middle.append(Shape(stroke(base, 0.035, taper=0.8), shade, 0.98))
    look.middle += both(ellipse(wide * 0.5, low + 0.012, 0.04, 0.02), darker(shade, 0.4), 0.97)
    look.middle.append(Shape(ellipse(-0.03, 0.2, 0.05, 0.06), lighter(skin, 0.6), 1.0, alpha=0.4))


def _age(ch: Character, look: Look) -> None:
    line = darker(mix(ch.skin, (150, 60, 50), 0.3), 0.3)
    fold = smooth([(0.24, 0.26), (0.4, 0.42), (0.47, 0.6)], closed=False)
    look.middle += both(stroke(fold, 0.03, taper=1), line, 0.7, alpha=0.75)
    for y, w in ((-0.62, 0.4), (-0.5, 0.48)):
        wrinkle = smooth([(-w, y + 0.03), (0, y), (w, y + 0.03)], closed=False)
        look.middle.append(Shape(stroke(wrinkle, 0.022, taper=1), line, 0.5, alpha=0.6))
    bag = smooth([(ch.eye_x - 0.15, 0.09), (ch.eye_x, 0.15), (ch.eye_x + 0.17, 0.08)], closed=False)
    look.middle += both(stroke(bag, 0.022, taper=1), line, 0.62, alpha=0.6)


def _beard(ch: Character, look: Look) -> None:
    m, hair, t = ch.mouth, darker(ch.hair, 0.08), ch.traits
    if "beard" in t:
        w = ch.head_width
        edge = smooth([(w * 1.0, 0.12), (w * 0.86, 0.34), (w * 0.62, 0.5), (0.3, 0.42), (0, 0.4), (-0.3, 0.42),
            (-w * 0.62, 0.5), (-w * 0.86, 0.34), (-w * 1.0, 0.12), (-w * 1.0, 0.6), (-w * 0.78, 1.02),
            (-0.34, m.chin_y + 0.13), (0, m.chin_y + 0.18), (0.34, m.chin_y + 0.13), (w * 0.78, 1.02), (w * 1.0, 0.6)])
        look.head.append(Shape(edge, hair, 0.1, jaw=True))
        inner = ellipse(0, m.center_y + 0.06, m.size * 0.62, m.size * 0.3)
        look.head.append(Shape(inner, mix(hair, darker(ch.skin, 0.2), 0.4), 0.6, jaw=True))
    if "goatee" in t:
        goat = smooth([(0.2, 0.88), (0.25, m.chin_y - 0.04), (0, m.chin_y + 0.13), (-0.25, m.chin_y - 0.04),
            (-0.2, 0.88), (0, 0.93)])
        look.head.append(Shape(goat, hair, 0.4, jaw=True))
    if "moustache" in t or "beard" in t:
        y = m.center_y - m.size * 0.1
        half = smooth([(0, y - 0.16), (0.24, y - 0.13), (0.43, y + 0.02), (0.5, y + 0.12), (0.28, y + 0.03),
            (0, y - 0.02)])
        look.front += both(half, mix(hair, ch.skin, 0.05), 0.95)


def freckles(ch: Character, look: Look, rng: np.random.Generator) -> None:
    color = mix(darker(ch.skin, 0.3), (170, 80, 40), 0.4)
    for _ in range(14):
        x, y = rng.uniform(0.22, 0.68) * rng.choice((-1, 1)), rng.uniform(0.14, 0.38)
        look.middle.append(Shape(ellipse(x, y, 0.018, 0.016, n=8), color, 0.7, alpha=0.7))


def glasses(ch: Character, look: Look, rng: np.random.Generator) -> None:
    color = darker(ch.second, 0.5) if rng.random() < 0.6 else (38, 34, 40)
    r, power = rng.uniform(0.27, 0.32), rng.choice((2.0, 3.2))
    for x in (-ch.eye_x, ch.eye_x):
        lens = ellipse(x, ch.eye_y + 0.02, r, r * 0.85, power=power)
        look.middle.append(Shape(lens, (225, 240, 250), 0.9, alpha=0.16))
        ring = np.concatenate([lens, lens[:1]])
        look.middle.append(Shape(stroke(ring, 0.045), color, 0.9))
    gap = ch.eye_x - r
    look.middle.append(Shape(stroke([(-gap, ch.eye_y), (0, ch.eye_y - 0.04), (gap, ch.eye_y)], 0.045), color, 0.92))
    look.middle += both(stroke([(ch.eye_x + r, ch.eye_y - 0.02), (ch.head_width, ch.eye_y)], 0.05), color, 0.5)
