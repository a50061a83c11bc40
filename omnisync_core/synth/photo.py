"""Photographic people: heads painted like lit 3D, with pores, creased lips, folds, beards and strands of hair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .character import Character
from .eyes import Eye
from .hair import hair_back
from .heads import Look, both, contour, torso
from .interior import paint_interior
from .materials import CLOTH, HAIR, SKIN, Material, sprite
from .people import glasses
from .photo_face import head_picture
from .relief import Light
from .shapes import Shape, darker, ellipse, mirror, mix


def person(ch: Character, rng: np.random.Generator) -> Look:
    """A photographic person."""
    light = Light.random(rng)
    skin_dark = darker(ch.skin, rng.uniform(0.2, 0.3))
    body = torso(ch, skin_dark, rng, neck=0.56 if "man" in ch.traits else 0.46, wide=rng.uniform(1.5, 1.75))

    def cloth(shape: Shape) -> Material:
        return SKIN if shape.color in (skin_dark, darker(skin_dark, 0.28)) else CLOTH

    def strands(_: Shape) -> Material:
        return CLOTH if ch.species == "headscarf" else HAIR

    look = Look(interior=paint_interior(ch.mouth, rng, light), painted_lips=True)
    picture = sprite(body, rng, light, 80, cloth)
    look.back.append(Shape(picture.corners, skin_dark, space="body", fill=picture))
    behind = back_shapes(ch)
    if behind:
        picture = sprite(behind, rng, light, 80, strands)
        look.back.append(Shape(picture.corners, ch.hair, -0.25, fill=picture))
    if ch.species != "headscarf":
        ear = [Shape(ellipse(ch.head_width * 0.98, 0.1, 0.11, 0.23, turn=8), darker(ch.skin, 0.08)),
            Shape(ellipse(ch.head_width, 0.1, 0.055, 0.14, turn=8), darker(mix(ch.skin, (170, 60, 50), 0.2), 0.3))]
        ear += [replace(s, points=mirror(s.points)) for s in ear]
        picture = sprite(ear, rng, light, 80, lambda _: SKIN)
        look.back.append(Shape(picture.corners, ch.skin, -0.1, fill=picture))
        if "earrings" in ch.traits:
            look.back += both(ellipse(ch.head_width * 1.0, 0.37, 0.05, 0.07), (226, 190, 100), -0.05)
    picture = head_picture(ch, rng, light)
    wide = 0.32 if ch.traits & {"beard", "goatee"} else 0.06
    look.head.append(Shape(contour(ch, wide=wide), ch.skin, fill=picture, warped=True, jaw=True))
    line = darker(mix(ch.hair, (40, 26, 24), 0.6), 0.5)
    rx, ry = rng.uniform(0.15, 0.175), rng.uniform(0.066, 0.085)
    white = mix((236, 230, 224), ch.skin, 0.12)
    for x in (-ch.eye_x, ch.eye_x):
        look.eyes.append(Eye(x, ch.eye_y, rx, ry, darker(ch.iris, 0.2), line, darker(ch.skin, 0.2), white=white,
            iris_size=1.12, rim=0.13 if "makeup" in ch.traits else 0.08, shaded=True))
    if "glasses" in ch.traits:
        glasses(ch, look, rng)
    return look


def back_shapes(ch: Character) -> list[Shape]:
    """Hair and ears behind the head."""
    look = Look()
    hair_back(ch, look, ch.species)
    return look.back
