"""Drawn people and cartoon characters."""

from __future__ import annotations

import numpy as np

from .character import Character
from .eyes import Eye
from .heads import Look, Texture, both, contour, outlined, torso
from .shapes import Shape, darker, ellipse, lighter, mix, smooth, stroke


def person(ch: Character, rng) -> Look:
    """A person: soft skin, hair by family, beard, glasses, age lines."""
    style, t, skin = ch.species, ch.traits, ch.skin
    look, soft = Look(), _skin_texture(ch, rng).bake()
    look.back += torso(ch, darker(skin, 0.1), rng, neck=0.5 if "man" in t else 0.42)
    ear = ellipse(ch.head_width * 0.99, 0.06, 0.13, 0.24)
    hair_back(ch, look, style)
    if style != "headscarf":
        look.back += both(ear, darker(skin, 0.08), -0.1) + both(
            ellipse(ch.head_width, 0.07, 0.07, 0.14), darker(skin, 0.25), -0.1
        )
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


def cartoon(ch: Character, rng) -> Look:
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
        look.eyes.append(
            Eye(
                x,
                ch.eye_y,
                size * big,
                size * big * rng.uniform(1.05, 1.06) * 1.15,
                ch.iris,
                line,
                darker(skin, 0.2),
                iris_size=0.56,
                outline=width * 0.8 + 0.012,
                rim=0.07,
            )
        )
    if not one_eye:
        tilt = rng.uniform(-0.08, 0.08)
        brow = stroke(
            [(0.2, ch.eye_y - 0.42 + tilt), (0.42, ch.eye_y - 0.5), (0.66, ch.eye_y - 0.42 - tilt)], 0.09, taper=0.5
        )
        look.middle += both(brow, darker(ch.hair, 0.3), 0.6)
    if ch.species != "monster":
        look.middle.append(
            Shape(ellipse(0, 0.2, rng.uniform(0.1, 0.16), 0.1), mix(darker(skin, 0.16), (230, 90, 80), 0.22), 0.95)
        )
        look.middle.append(Shape(ellipse(-0.03, 0.17, 0.05, 0.03), lighter(skin, 0.5), 0.97))
    if "freckles" in ch.traits:
        freckles(ch, look, rng)
    if ch.species != "monster":
        _toon_hair(ch, look, rng, width, line)
    if "glasses" in ch.traits and not one_eye:
        glasses(ch, look, rng)
    return look


def _skin_texture(ch, rng):
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


def _eyes_and_brows(ch, look, rng):
    line = darker(mix(ch.hair, (40, 26, 24), 0.6), 0.4)
    rx, ry = rng.uniform(0.165, 0.2), rng.uniform(0.1, 0.135)
    rim = 0.11 if "makeup" in ch.traits else 0.07
    for x in (-ch.eye_x, ch.eye_x):
        look.eyes.append(Eye(x, ch.eye_y, rx, ry, ch.iris, line, darker(ch.skin, 0.2), iris_size=0.8, rim=rim))
    thick = rng.uniform(0.07, 0.11) if "man" in ch.traits else rng.uniform(0.045, 0.07)
    y, arch = ch.eye_y - ry * 1.2 - rng.uniform(0.1, 0.16), rng.uniform(0.02, 0.09)
    brow = smooth([(0.2, y + 0.03), (0.42, y - arch), (0.66, y + 0.06)], closed=False)
    look.middle += both(stroke(brow, thick, taper=0.65), mix(darker(ch.hair, 0.25), ch.skin, 0.12), 0.65)


def _nose(ch, look, rng):
    skin, wide, low = ch.skin, rng.uniform(0.13, 0.2), 0.3
    shade = darker(mix(skin, (170, 60, 50), 0.3), 0.3)
    side = rng.choice((-1, 1))
    ridge = np.array(
        [
            (0.05 * side, ch.eye_y + 0.02),
            (0.1 * side, 0.14),
            (wide * side, 0.24),
            (0.1 * side, low),
            (0.02 * side, 0.22),
        ]
    )
    look.middle.append(Shape(smooth(ridge), shade, 0.95, alpha=0.35))
    base = smooth(
        [(-wide, 0.25), (-wide * 0.6, low + 0.03), (0, low + 0.05), (wide * 0.6, low + 0.03), (wide, 0.25)],
        closed=False,
    )
    look.middle.append(Shape(stroke(base, 0.035, taper=0.8), shade, 0.98))
    look.middle += both(ellipse(wide * 0.5, low + 0.012, 0.04, 0.02), darker(shade, 0.4), 0.97)
    look.middle.append(Shape(ellipse(-0.03, 0.2, 0.05, 0.06), lighter(skin, 0.6), 1.0, alpha=0.4))


def _age(ch, look):
    line = darker(mix(ch.skin, (150, 60, 50), 0.3), 0.3)
    fold = smooth([(0.24, 0.26), (0.4, 0.42), (0.47, 0.6)], closed=False)
    look.middle += both(stroke(fold, 0.03, taper=1), line, 0.7, alpha=0.75)
    for y, w in ((-0.62, 0.4), (-0.5, 0.48)):
        wrinkle = smooth([(-w, y + 0.03), (0, y), (w, y + 0.03)], closed=False)
        look.middle.append(Shape(stroke(wrinkle, 0.022, taper=1), line, 0.5, alpha=0.6))
    bag = smooth([(ch.eye_x - 0.15, 0.09), (ch.eye_x, 0.15), (ch.eye_x + 0.17, 0.08)], closed=False)
    look.middle += both(stroke(bag, 0.022, taper=1), line, 0.62, alpha=0.6)


def freckles(ch, look, rng):
    color = mix(darker(ch.skin, 0.3), (170, 80, 40), 0.4)
    for _ in range(14):
        x, y = rng.uniform(0.22, 0.68) * rng.choice((-1, 1)), rng.uniform(0.14, 0.38)
        look.middle.append(Shape(ellipse(x, y, 0.018, 0.016, n=8), color, 0.7, alpha=0.7))


def _beard(ch, look):
    m, hair, t = ch.mouth, darker(ch.hair, 0.08), ch.traits
    if "beard" in t:
        w = ch.head_width
        edge = smooth(
            [
                (w * 1.0, 0.12),
                (w * 0.86, 0.34),
                (w * 0.62, 0.5),
                (0.3, 0.42),
                (0, 0.4),
                (-0.3, 0.42),
                (-w * 0.62, 0.5),
                (-w * 0.86, 0.34),
                (-w * 1.0, 0.12),
                (-w * 1.0, 0.6),
                (-w * 0.78, 1.02),
                (-0.34, m.chin_y + 0.13),
                (0, m.chin_y + 0.18),
                (0.34, m.chin_y + 0.13),
                (w * 0.78, 1.02),
                (w * 1.0, 0.6),
            ]
        )
        look.head.append(Shape(edge, hair, 0.1, jaw=True))
        inner = ellipse(0, m.center_y + 0.06, m.size * 0.62, m.size * 0.3)
        look.head.append(Shape(inner, mix(hair, darker(ch.skin, 0.2), 0.4), 0.6, jaw=True))
    if "goatee" in t:
        goat = smooth(
            [
                (0.2, 0.88),
                (0.25, m.chin_y - 0.04),
                (0, m.chin_y + 0.13),
                (-0.25, m.chin_y - 0.04),
                (-0.2, 0.88),
                (0, 0.93),
            ]
        )
        look.head.append(Shape(goat, hair, 0.4, jaw=True))
    if "moustache" in t or "beard" in t:
        y = m.center_y - m.size * 0.1
        half = smooth(
            [(0, y - 0.16), (0.24, y - 0.13), (0.43, y + 0.02), (0.5, y + 0.12), (0.28, y + 0.03), (0, y - 0.02)]
        )
        look.front += both(half, mix(hair, ch.skin, 0.05), 0.95)


def glasses(ch, look, rng):
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


def _cap_line(ch, y, *, lift=0.0, sag=0.0):
    """Upper part of the head above a hairline at `y`, grown by `lift`."""
    w, top = ch.head_width + lift, -(ch.head_top + lift)
    return [
        (-w, 0.06),
        (-w * 1.01, -0.4),
        (-w * 0.8, top * 0.8),
        (-w * 0.36, top * 1.0),
        (w * 0.36, top * 1.0),
        (w * 0.8, top * 0.8),
        (w * 1.01, -0.4),
        (w, 0.06),
        (w * 0.9, -0.1),
        (w * 0.82, y + 0.06 + sag),
        (w * 0.4, y),
        (0, y - 0.04),
        (-w * 0.4, y),
        (-w * 0.82, y + 0.06 + sag),
        (-w * 0.9, -0.1),
    ]


def hair_back(ch, look, style):
    hair, dark, w, top = ch.hair, darker(ch.hair, 0.22), ch.head_width, ch.head_top
    if style in ("long", "bob"):
        low = 1.9 if style == "long" else 1.05
        shape = smooth(
            [
                (-w * 1.22, -0.3),
                (-w * 0.95, -top * 0.98),
                (0, -top * 1.2),
                (w * 0.95, -top * 0.98),
                (w * 1.22, -0.3),
                (w * 1.28, 0.6),
                (w * 1.2, low),
                (w * 0.6, low + 0.1),
                (-w * 0.6, low + 0.1),
                (-w * 1.2, low),
                (-w * 1.28, 0.6),
            ]
        )
        look.back.insert(0, Shape(shape, dark, -0.4))
    elif style == "ponytail":
        tail = smooth(
            [
                (w * 0.5, -0.9),
                (w * 1.35, -0.9),
                (w * 1.6, -0.1),
                (w * 1.45, 0.8),
                (w * 1.15, 1.3),
                (w * 1.1, 0.4),
                (w * 0.9, -0.2),
            ]
        )
        look.back.insert(0, Shape(tail, dark, -0.5))
    elif style == "bun":
        look.back.insert(0, Shape(ellipse(0, -top * 1.22, 0.42, 0.4), dark, -0.3))
        look.back.insert(
            1, Shape(stroke(ellipse(0, -top * 1.22, 0.26, 0.24)[:18], 0.03, taper=1), lighter(hair, 0.15), -0.3)
        )
    elif style in ("afro", "curly"):
        r = 1.0 if style == "afro" else 0.78
        for i, a in enumerate(np.linspace(0.02, 0.98, 11 if style == "afro" else 9) * np.pi):
            s = 0.5 * r + 0.05 * (i % 3)
            look.back.insert(
                0,
                Shape(
                    ellipse(np.cos(a) * w * (0.95 + 0.2 * r), 0.1 - np.sin(a) * top * (0.85 + 0.3 * r), s, s),
                    dark,
                    -0.3,
                ),
            )
    elif style == "braids":
        for side in (1, -1):
            for i in range(6):
                y = 0.3 + i * 0.26
                look.back.append(
                    Shape(
                        ellipse(side * (w * 1.08 + 0.03 * i), y, 0.19 - 0.012 * i, 0.18),
                        darker(hair, 0.1 + 0.12 * (i % 2)),
                        0.1,
                    )
                )
    elif style == "headscarf":
        scarf = smooth(
            [
                (-w * 1.2, 0),
                (-w * 0.92, -top),
                (0, -top * 1.2),
                (w * 0.92, -top),
                (w * 1.2, 0),
                (w * 1.12, 0.9),
                (w * 1.3, 1.9),
                (0, 2.3),
                (-w * 1.3, 1.9),
                (-w * 1.12, 0.9),
            ]
        )
        look.back.append(Shape(scarf, darker(ch.second, 0.15), -0.3))


def hair_front(ch, look, style):
    hair, w, top = ch.hair, ch.head_width, ch.head_top
    shine, f = lighter(hair, 0.22), look.front

    def hairline(y, lift=0.05, sag=0.0, color=hair):
        line = smooth(_cap_line(ch, y, lift=lift, sag=sag))
        f.append(Shape(line * (0.97, 1) + (0, 0.055), darker(ch.skin, 0.5), 0.12, alpha=0.35))
        f.append(Shape(line, color, 0.15))

    def arc(y=-0.92, span=0.5):
        f.append(
            Shape(
                stroke(smooth([(-span, y + 0.16), (-0.1, y), (span, y + 0.12)], closed=False), 0.07, taper=1),
                shine,
                0.2,
                alpha=0.6,
            )
        )

    if style in ("short", "bun", "ponytail"):
        hairline(-0.66)
        arc()
    elif style in ("long", "braids"):
        for half in both(
            smooth(
                [
                    (0, -top * 1.08),
                    (0.55, -top * 1.05),
                    (w * 1.02, -0.72),
                    (w * 1.12, 0.0),
                    (w * 1.12, 0.62),
                    (w * 0.93, 0.1),
                    (w * 0.8, -0.42),
                    (0.3, -0.72),
                    (0, -0.84),
                ]
            ),
            hair,
            0.15,
        ):
            f.append(half)
        arc(-0.98, 0.6)
    elif style == "bob":
        hairline(-0.42, 0.1, -0.1)
        f.extend(
            both(
                smooth(
                    [
                        (w * 0.86, -0.6),
                        (w * 1.12, -0.3),
                        (w * 1.2, 0.5),
                        (w * 1.08, 0.98),
                        (w * 0.84, 0.7),
                        (w * 0.9, 0.1),
                    ]
                ),
                hair,
                0.1,
            )
        )
        arc(-0.9, 0.6)
    elif style in ("curly", "afro"):
        hairline(-0.66)
        for i, x in enumerate(np.linspace(-0.85, 0.85, 7)):
            f.append(
                Shape(
                    ellipse(x * w, -0.62 - 0.34 * (1 - x * x) ** 0.5 - 0.04 * (i % 2), 0.22, 0.2),
                    mix(hair, shine, 0.25 * (i % 2)),
                    0.2,
                )
            )
    elif style == "quiff":
        hairline(-0.7)
        f.append(
            Shape(
                smooth(
                    [
                        (-0.75, -0.7),
                        (-0.8, -1.15),
                        (-0.2, -1.5),
                        (0.5, -1.45),
                        (0.85, -1.05),
                        (0.75, -0.72),
                        (0.3, -0.86),
                        (-0.3, -0.8),
                    ]
                ),
                hair,
                0.3,
            )
        )
        arc(-1.18, 0.45)
    elif style == "receding":
        side = smooth(
            [
                (w * 1.02, 0.12),
                (w * 1.07, -0.3),
                (w * 0.97, -0.66),
                (w * 0.84, -0.64),
                (w * 0.88, -0.3),
                (w * 0.93, 0.02),
            ]
        )
        f.extend(both(side, hair, 0.05))
    elif style == "mohawk":
        f.append(
            Shape(
                smooth(
                    [(-0.26, -0.78), (-0.34, -1.3), (-0.2, -1.72), (0.2, -1.72), (0.34, -1.3), (0.26, -0.78), (0, -0.7)]
                ),
                hair,
                0.3,
            )
        )
        f.extend(
            both(
                smooth(
                    [
                        (w * 0.99, 0.02),
                        (w * 1.02, -0.4),
                        (w * 0.87, -0.76),
                        (w * 0.56, -1.02),
                        (w * 0.5, -0.86),
                        (w * 0.8, -0.46),
                        (w * 0.93, -0.02),
                    ]
                ),
                mix(hair, ch.skin, 0.45),
                0.05,
            )
        )
    elif style in ("cap", "beanie"):
        _hat(ch, f, style)
    elif style == "turban":
        f.append(
            Shape(
                smooth(
                    [
                        (-w * 1.1, -0.25),
                        (-w * 1.22, -0.8),
                        (-w * 0.7, -1.5),
                        (0, -1.68),
                        (w * 0.7, -1.5),
                        (w * 1.22, -0.8),
                        (w * 1.1, -0.25),
                        (w * 0.5, -0.55),
                        (0, -0.72),
                        (-w * 0.5, -0.55),
                    ]
                ),
                ch.second,
                0.2,
            )
        )
        for k in range(3):
            fold = smooth(
                [(-w * 1.05, -0.42 - 0.28 * k), (-0.1, -0.98 - 0.2 * k), (w * 0.8, -1.35 - 0.05 * k)], closed=False
            )
            f.append(Shape(stroke(fold, 0.05, taper=1), darker(ch.second, 0.25), 0.25))
    elif style == "headscarf":
        f.append(Shape(_band(contour(ch, wide=0.1), contour(ch, wide=-0.1)), ch.second, 0.05, jaw=True))


def _hat(ch, f, style):
    w = ch.head_width
    color, dark = ch.second, darker(ch.second, 0.25)
    f.extend(both(smooth([(w * 1.0, 0.12), (w * 1.06, -0.4), (w * 0.84, -0.5), (w * 0.92, 0.0)]), ch.hair, 0.05))
    f.append(
        Shape(
            smooth(
                [
                    (-w * 1.06, -0.42),
                    (-w * 1.02, -1.0),
                    (-0.45, -1.42),
                    (0.45, -1.42),
                    (w * 1.02, -1.0),
                    (w * 1.06, -0.42),
                    (0, -0.62),
                ]
            ),
            color,
            0.15,
        )
    )
    if style == "cap":
        f.append(
            Shape(
                smooth(
                    [(-w * 1.02, -0.5), (0, -0.78), (w * 1.02, -0.5), (w * 0.95, -0.3), (0, -0.46), (-w * 0.95, -0.3)]
                ),
                dark,
                0.9,
            )
        )
        f.append(Shape(ellipse(0, -1.42, 0.1, 0.06), dark, 0.2))
    else:
        f.append(
            Shape(
                smooth(
                    [(-w * 1.1, -0.36), (-w * 1.1, -0.64), (0, -0.86), (w * 1.1, -0.64), (w * 1.1, -0.36), (0, -0.56)]
                ),
                dark,
                0.2,
            )
        )
        f.append(Shape(ellipse(0, -1.52, 0.24, 0.22), lighter(color, 0.3), 0.2))


def _band(outer, inner):
    """Outer and inner outline as one ring."""
    return np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])


def _monster_top(ch, look, rng):
    w, top, dark = ch.head_width, ch.head_top, darker(ch.skin, 0.2)
    kind = rng.integers(3)
    if kind == 0:
        horn = smooth(
            [
                (w * 0.4, -top * 0.8),
                (w * 0.62, -top * 1.5),
                (w * 0.86, -top * 1.66),
                (w * 0.84, -top * 1.1),
                (w * 0.86, -top * 0.6),
            ]
        )
        look.back += both(horn, (240, 226, 196), -0.1)
    elif kind == 1:
        for x in (-0.4, 0.4):
            look.back.append(
                Shape(
                    stroke(
                        smooth([(x, -top * 0.8), (x * 1.3, -top * 1.25), (x * 1.7, -top * 1.5)], closed=False), 0.07
                    ),
                    dark,
                )
            )
            look.back.append(Shape(ellipse(x * 1.7, -top * 1.52, 0.14, 0.14), ch.second))
    else:
        for i, x in enumerate(np.linspace(-0.7, 0.7, 5)):
            look.back.append(
                Shape(
                    smooth([(x - 0.2, -top * 0.7), (x * 1.25, -top * (1.35 - 0.25 * x * x)), (x + 0.2, -top * 0.7)]),
                    mix(dark, ch.second, 0.3 * (i % 2)),
                )
            )


def _toon_hair(ch, look, rng, width, line):
    w, kind = ch.head_width, rng.integers(4)
    if kind == 0:
        points = smooth(_cap_line(ch, -0.62, lift=0.06))
    elif kind == 1:
        spikes = [
            (-w * 1.02, -0.1),
            (-w * 1.3, -0.6),
            (-w * 0.95, -0.75),
            (-w * 0.95, -1.3),
            (-0.45, -1.1),
            (-0.1, -1.6),
            (0.3, -1.15),
            (w * 0.9, -1.35),
            (w * 0.95, -0.8),
            (w * 1.3, -0.6),
            (w * 1.02, -0.1),
            (w * 0.8, -0.55),
            (0.35, -0.6),
            (0.1, -0.72),
            (-0.3, -0.58),
            (-w * 0.8, -0.55),
        ]
        points = np.array(spikes)
    elif kind == 2:
        points = smooth(
            [
                (-w * 0.95, -0.55),
                (-w * 0.95, -1.1),
                (-0.3, -1.42),
                (0.5, -1.4),
                (w * 1.1, -1.0),
                (w * 1.02, -0.5),
                (0.4, -0.72),
                (-0.2, -0.9),
            ]
        )
    else:
        points = smooth(
            [
                (-0.3, -ch.head_top * 0.94),
                (-0.34, -ch.head_top * 1.25),
                (0.0, -ch.head_top * 1.15),
                (0.2, -ch.head_top * 1.36),
                (0.3, -ch.head_top * 0.94),
            ]
        )
    look.front += outlined(points, ch.hair, line, width, 0.15) if width else [Shape(points, ch.hair, 0.15)]
