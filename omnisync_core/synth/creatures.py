"""Drawn animals and robots."""

from __future__ import annotations

import numpy as np

from .character import Character
from .eyes import Eye
from .heads import Look, Texture, both, contour, torso
from .shapes import Color, Shape, darker, ellipse, grow, lighter, mix, smooth, stroke


def animal(ch: Character, rng: np.random.Generator) -> Look:
    """An animal: ears, markings, muzzle or beak by species."""
    fur, species, m = ch.skin, ch.species, ch.mouth
    pale, line = mix(lighter(fur, 0.55), (255, 244, 230), 0.3), darker(fur, 0.8)
    texture = Texture(fur, rng.choice((-1, 1)), flat=0.75)
    bird = m.beak
    if not bird and species != "frog":
        texture.blob(0, m.center_y - 0.02, 0.6, 0.46, pale, 1.0)
        texture.blob(0, m.center_y + 0.1, 0.45, 0.36, pale, 0.9)
    _markings(ch, texture, species, pale, rng)
    texture.blob(0.66, 0.36, 0.18, 0.14, mix(fur, (240, 110, 110), 0.6), 0.4, both=True)
    look, soft = Look(), texture.bake()
    look.back += torso(ch, darker(fur, 0.12), rng, neck=0.6, wide=1.3)
    _ears(ch, look, species, pale, rng)
    look.head.append(Shape(contour(ch), fur, fill=soft, behind=0.5, jaw=True))
    if species == "panda":
        look.head += both(ellipse(ch.eye_x + 0.02, ch.eye_y + 0.06, 0.25, 0.31, turn=28), (48, 43, 50), 0.55)
    _animal_eyes(ch, look, species, line, rng)
    if species == "frog":
        look.middle += both(ellipse(0.1, 0.12, 0.035, 0.025), darker(fur, 0.5), 0.8)
    elif bird:
        _bird(ch, look, fur)
    else:
        _muzzle(ch, look, species, line, rng)
    return look


def robot(ch: Character, rng: np.random.Generator) -> Look:
    """A robot: metal shell, glowing eyes, mouth plate."""
    metal, m, w, top = ch.skin, ch.mouth, ch.head_width, ch.head_top
    dark, glow = darker(metal, 0.4), ch.iris
    texture = Texture(metal, rng.choice((-1, 1)), flat=0.9)
    look, soft = Look(), texture.bake()
    look.back += torso(ch, darker(metal, 0.45), rng, neck=0.4, wide=1.4)
    for y in (0.15, 0.3, 0.45):
        look.back.append(Shape(ellipse(0, m.chin_y + y - 0.08, 0.52, 0.06), darker(metal, 0.6), space="body"))
    x = rng.uniform(-0.5, 0.5) if rng.random() < 0.5 else 0.0
    look.back.append(Shape(stroke([(x, -top * 0.8), (x * 1.1, -top * 1.2), (x * 1.2, -top * 1.42)], 0.07), dark))
    look.back.append(Shape(ellipse(x * 1.2, -top * 1.45, 0.17, 0.17), glow, alpha=0.35))
    look.back.append(Shape(ellipse(x * 1.2, -top * 1.45, 0.1, 0.1), glow))
    look.back += both(ellipse(w * 1.06, 0.05, 0.16, 0.3, power=4), dark, -0.1) + both(
        ellipse(w * 1.12, 0.05, 0.1, 0.18, power=4), ch.accent, -0.1
    )
    look.head.append(Shape(contour(ch, wide=0.03), darker(metal, 0.5)))
    look.head.append(Shape(contour(ch), metal, fill=soft, behind=0.5))
    _plates(ch, look, rng, dark)
    if ch.species in ("screen", "capsule"):
        visor = ellipse(0, ch.eye_y, w * 0.86, 0.36, power=4 if ch.species == "screen" else 2.6)
        look.head.append(Shape(grow(visor, 0.04), dark, 0.4))
        look.head.append(Shape(visor, (26, 30, 44), 0.42))
    else:
        look.head += both(ellipse(ch.eye_x, ch.eye_y, 0.31, 0.29, power=2.4), dark, 0.5)
        look.head += both(ellipse(ch.eye_x, ch.eye_y, 0.26, 0.24, power=2.4), (26, 30, 44), 0.52)
    r = rng.uniform(0.13, 0.18)
    tall = rng.choice((0.8, 1.0, 1.25))
    for side in (-1, 1):
        look.eyes.append(Eye(side * ch.eye_x, ch.eye_y, r, r * tall, glow, dark, dark, glow=True))
    plate = ellipse(0, m.center_y + 0.02, m.size * 0.66, m.size * 0.4, power=5)
    look.middle.append(Shape(grow(plate, 0.035), darker(metal, 0.45), 0.7))
    look.middle.append(Shape(plate, (34, 38, 50) if "led" in ch.traits else lighter(metal, 0.18), 0.72))
    return look


def _plates(ch: Character, look: Look, rng: np.random.Generator, dark: Color) -> None:
    w, metal = ch.head_width, ch.skin
    band = stroke([(-w * 0.9, -0.5), (0, -0.56), (w * 0.9, -0.5)], 0.035)
    look.head.append(Shape(band, dark, 0.3, alpha=0.7))
    if rng.random() < 0.6:
        stripe = ellipse(0, -ch.head_top * 0.74, 0.16, 0.2, power=5)
        look.head.append(Shape(stripe, ch.accent, 0.4))
    for x, y in ((0.78, -0.66), (0.76, 0.72)):
        look.head += both(ellipse(x * w, y, 0.05, 0.05, n=14), darker(metal, 0.35), 0.3)
        look.head += both(ellipse(x * w - 0.01, y - 0.012, 0.026, 0.026, n=12), lighter(metal, 0.5), 0.3)


def _ears(ch: Character, look: Look, species: str, pale: Color, rng: np.random.Generator) -> None:
    fur, w, top = ch.skin, ch.head_width, ch.head_top
    inner, dark, b = mix(pale, (236, 150, 150), 0.5), darker(fur, 0.2), look.back

    def pair(outline: np.ndarray, shrink: float, color: Color = fur, inside: Color = inner) -> None:
        b.extend(both(outline, color, -0.15))
        center = outline.mean(0)
        b.extend(both((outline - center) * shrink + center + (0, 0.03), inside, -0.13))

    if species in ("cat", "fox"):
        tall = 1.5 if species == "cat" else 1.72
        pair(smooth([(w * 0.2, -top * 0.85), (w * 0.62, -top * 1.2), (w * 0.86, -top * tall), (w * 1.04, -top * 0.95),
            (w * 1.0, -0.3), (w * 0.6, -0.5)]), 0.6)
    elif species == "rabbit":
        lean = rng.uniform(0.0, 0.35)
        pair(smooth([(0.12, -top * 0.8), (0.14, -top * 1.5), (0.42 + lean, -top * 2.1), (0.72 + lean, -top * 1.6),
            (0.68, -top * 0.7)]), 0.62)
    elif species == "dog":
        flop = smooth([(w * 0.5, -top * 0.92), (w * 1.0, -top * 0.9), (w * 1.36, -0.2), (w * 1.3, 0.5),
            (w * 1.06, 0.52), (w * 0.92, -0.1)])
        look.front += both(flop, darker(fur, 0.3), 0.05)
    elif species == "mouse":
        pair(ellipse(w * 0.92, -top * 0.85, 0.55, 0.55), 0.68)
    elif species == "lion":
        mane = mix(darker(fur, 0.35), (150, 70, 30), 0.4)
        for i, a in enumerate(np.linspace(0, 2 * np.pi, 18, endpoint=False)):
            color = mix(mane, darker(mane, 0.3), 0.5 * (i % 2))
            b.append(Shape(ellipse(np.cos(a) * w * 1.14, 0.05 + np.sin(a) * top * 1.1, 0.4, 0.4), color, -0.35))
        pair(ellipse(w * 0.72, -top * 0.9, 0.28, 0.28), 0.6)
    elif species in ("bear", "panda"):
        color = fur if species == "bear" else (44, 40, 46)
        pair(ellipse(w * 0.78, -top * 0.86, 0.34, 0.34), 0.58, color, inner if species == "bear" else (70, 62, 70))
    elif species == "owl":
        b.extend(both(smooth([(w * 0.3, -top * 0.85), (w * 0.8, -top * 1.42), (w * 0.98, -top * 0.6)]), dark, 0))
    elif species in ("parrot", "duck"):
        for i, x in enumerate((-0.22, 0.0, 0.22)):
            tuft = smooth([(x - 0.12, -top * 0.85), (x * 2.2, -top * (1.42 - 0.08 * abs(i - 1))),
                (x + 0.14, -top * 0.85)])
            b.append(Shape(tuft, mix(fur, ch.second, 0.5 * (i % 2)) if species == "parrot" else fur, -0.05))
    elif species == "frog":
        b.extend(both(ellipse(ch.eye_x * 1.12, -top * 0.8, 0.38, 0.4), fur, 0.1))


def _markings(ch: Character, texture: Texture, species: str, pale: Color, rng: np.random.Generator) -> None:
    fur = ch.skin
    if species == "fox":
        texture.blob(0.62, 0.42, 0.36, 0.34, (250, 242, 230), 1.0, both=True)
        texture.blob(0, -0.6, 0.16, 0.5, darker(fur, 0.2), 0.4)
    elif species == "panda":
        texture.blob(ch.eye_x, ch.eye_y + 0.06, 0.34, 0.38, darker(fur, 0.3), 0.3, both=True)
    elif species in ("cat", "dog", "mouse", "rabbit") and rng.random() < 0.6:
        patch = _contrast(fur)
        texture.blob(rng.choice((-1, 1)) * 0.48, -0.3, 0.36, 0.42, patch, 0.85)
        if species == "cat":
            for x in (-0.28, 0.0, 0.28):
                texture.blob(x, -0.8, 0.07, 0.26, darker(fur, 0.5), 0.8)
    elif species == "owl":
        texture.blob(ch.eye_x, ch.eye_y, 0.44, 0.44, pale, 0.95, both=True)
    elif species == "frog":
        texture.blob(0, 1.1, 0.9, 0.42, lighter(mix(fur, (250, 244, 180), 0.6), 0.2), 0.95)
    elif species == "parrot":
        texture.blob(ch.eye_x, ch.eye_y + 0.05, 0.34, 0.3, (250, 246, 238), 0.9, both=True)
        texture.blob(0, -1.0, 0.7, 0.34, ch.second, 0.9)


def _contrast(fur: Color) -> Color:
    return darker(fur, 0.4) if sum(fur) > 420 else lighter(fur, 0.5)


def _animal_eyes(ch: Character, look: Look, species: str, line: Color, rng: np.random.Generator) -> None:
    size = {"owl": 0.3, "frog": 0.26, "mouse": 0.17, "bear": 0.15, "panda": 0.15, "duck": 0.17}.get(species, 0.2)
    y = -ch.head_top * 0.82 if species == "frog" else ch.eye_y
    x = ch.eye_x * (1.12 if species == "frog" else 1.0)
    slit = {"cat": 0.45, "fox": 0.5, "frog": 1.5}.get(species, 1.0)
    dark = species in ("bear", "mouse", "rabbit", "panda", "duck", "dog")
    iris = (54, 34, 26) if dark else mix(ch.iris, (214, 176, 60), 0.45)
    for side in (-1, 1):
        look.eyes.append(Eye(side * x, y, size, size * 1.05, iris, line, darker(ch.skin, 0.25), slit=slit, outline=0.03,
            iris_size=0.86 if dark or species in ("cat", "fox") else 0.7, rim=0.06))


def _bird(ch: Character, look: Look, fur: Color) -> None:
    m = ch.mouth
    y = m.center_y - m.size * (0.3 if ch.species != "duck" else 0.16)
    look.front += both(ellipse(m.size * 0.13, y, 0.035, 0.025), darker(m.upper, 0.6), 0.95)
    glint = smooth([(-0.04, y - 0.12), (-0.12, y + 0.06), (-0.1, y + 0.2), (-0.04, y + 0.02)])
    look.front.append(Shape(glint, (255, 250, 235), 0.92, alpha=0.35))


def _muzzle(ch: Character, look: Look, species: str, line: Color, rng: np.random.Generator) -> None:
    m = ch.mouth
    pink = mix((222, 140, 140), ch.skin, 0.2)
    nose = pink if species in ("rabbit", "mouse") or (species == "cat" and rng.random() < 0.5) else (52, 40, 44)
    y, r = m.center_y - 0.3, 0.13 if species in ("cat", "rabbit", "mouse") else 0.18
    look.front.append(Shape(stroke([(0, y), (0, y + 0.12), (0, m.center_y - 0.02)], 0.03), line, 0.9))
    shape = smooth([(-r, y - 0.06), (0, y - 0.1), (r, y - 0.06), (r * 0.6, y + 0.07), (0, y + 0.12),
        (-r * 0.6, y + 0.07)])
    look.front.append(Shape(shape, nose, 1.0))
    look.front.append(Shape(ellipse(-r * 0.3, y - 0.045, r * 0.32, 0.025), (255, 255, 255), 1.02, alpha=0.55))
    if species in ("cat", "mouse", "rabbit", "lion", "fox"):
        for k in (-1, 0, 1):
            hair = smooth([(0.5, 0.42 + 0.07 * k), (0.85, 0.38 + 0.13 * k), (1.22, 0.4 + 0.2 * k)], closed=False)
            look.front += both(stroke(hair, 0.022, taper=1), lighter(line, 0.5), 0.7, alpha=0.7)
    for k, x in enumerate((0.24, 0.33, 0.28)):
        look.middle += both(ellipse(x, m.center_y - 0.15 + 0.05 * k, 0.018, 0.018, n=8), line, 0.85, alpha=0.6)
