"""From a character's traits to its drawn parts: people and cartoons here, animals and robots beside."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .character import Character
from .eyes import Eye
from .mouths import Interior
from .shapes import Color, Picture, Shape, darker, grow, lighter, mirror, mix, ramp, smooth, stroke

TEXTURE_SIZE, TEXTURE_REACH = 128, 1.7  # pixels; head units from the centre to the texture's edge
_AXIS = ((np.arange(TEXTURE_SIZE) + 0.5) / TEXTURE_SIZE * 2 - 1) * TEXTURE_REACH
_X, _Y = np.meshgrid(_AXIS.astype(np.float32), _AXIS.astype(np.float32))


@dataclass(eq=False)
class Look:
    """Parts of a drawn character in drawing order; the mouth comes between `middle` and `front`."""

    back: list[Shape] = field(default_factory=list)
    head: list[Shape] = field(default_factory=list)
    eyes: list[Eye] = field(default_factory=list)
    middle: list[Shape] = field(default_factory=list)  # after the eyes, before the mouth
    front: list[Shape] = field(default_factory=list)
    interior: Interior | None = None
    painted_lips: bool = False  # in the head's picture, which follows the mouth


def contour(ch: Character, *, wide: float = 0.0) -> np.ndarray:
    """The head's outline (96, 2)."""
    a = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    c, s, e = np.cos(a), np.sin(a), 2 / ch.boxy
    x = (ch.head_width + wide) * np.sign(c) * np.abs(c) ** e
    y = np.sign(s) * np.abs(s) ** e * np.where(s > 0, ch.mouth.chin_y + wide, ch.head_top + wide)
    return np.stack([x * (1 - ch.taper * np.clip(y / ch.mouth.chin_y, 0, 1) ** 2), y], -1)


class Texture:
    """A small soft picture in head coordinates, painted by blobs; fills the face."""

    def __init__(self, color: Color, light: float, flat: float = 1.0) -> None:
        self.x, self.y = _X, _Y
        base = np.broadcast_to(np.array(color, np.float32), (TEXTURE_SIZE, TEXTURE_SIZE, 3)).copy()
        radius = np.hypot(self.x, self.y * 0.82)
        self.pixels = base
        self.tint(darker(mix(color, (150, 50, 60), 0.25), 0.3), flat * 0.62 * ramp(radius, 0.5, 1.2))
        lit = np.exp(-((self.x - 0.45 * light) ** 2 + (self.y + 0.45) ** 2) / 0.55)
        self.tint(lighter(color, 0.4), flat * 0.5 * lit)
        self.tint(darker(color, 0.45), flat * 0.4 * ramp(-self.x * light, 0.15, 1.15))

    def blob(self, x: float, y: float, rx: float, ry: float, color: Color, share: float, *, both: bool = False) -> None:
        """Mixes in a soft ellipse."""
        for side in (1, -1) if both else (1,):
            across = np.exp(-(((_X[0] - side * x) / rx) ** 2))
            down = np.exp(-(((_Y[:, 0] - y) / ry) ** 2))
            self.tint(color, share * down[:, None] * across)

    def tint(self, color: Color, share_HW: ArrayLike) -> None:
        """Mixes in a colour by a share of each pixel."""
        self.pixels += (np.array(color, np.float32) - self.pixels) * np.asarray(share_HW, np.float32)[..., None]

    def bake(self) -> Picture:
        """The painted face."""
        pixels = np.full((TEXTURE_SIZE, TEXTURE_SIZE, 4), 255, np.uint8)
        pixels[..., :3] = np.clip(self.pixels + 0.5, 0, 255)
        return Picture(pixels, -TEXTURE_REACH, -TEXTURE_REACH, TEXTURE_SIZE / (2 * TEXTURE_REACH))


def torso(
    ch: Character, skin: Color, rng: np.random.Generator, *, neck: float = 0.46, wide: float = 1.5
) -> list[Shape]:
    """Neck, shoulders and a collar."""
    cloth, dark = ch.accent, darker(ch.accent, 0.25)
    chin = ch.mouth.chin_y
    body = smooth([(-wide, 4), (-wide * 1.02, 2.3), (-wide * 0.8, chin + 0.62), (-neck, chin + 0.4), (neck, chin + 0.4),
        (wide * 0.8, chin + 0.62), (wide * 1.02, 2.3), (wide, 4)])
    shapes = [Shape(body, cloth, space="body")]
    shapes.append(Shape(smooth([(-neck, 0.5), (-neck, chin + 0.25), (-neck * 1.25, chin + 0.5), (0, chin + 0.72),
        (neck * 1.25, chin + 0.5), (neck, chin + 0.25), (neck, 0.5)]), skin, space="body"))
    shade = smooth([(-neck, 0.6), (-neck, chin + 0.05), (0, chin + 0.34), (neck, chin + 0.05), (neck, 0.6)])
    shapes.append(Shape(shade, darker(skin, 0.28), space="body", alpha=0.7))
    kind = rng.integers(3)
    if kind == 0:
        arc = smooth([(-neck * 1.3, chin + 0.42), (-neck * 0.7, chin + 0.68), (0, chin + 0.78),
            (neck * 0.7, chin + 0.68), (neck * 1.3, chin + 0.42)], closed=False)
        shapes.append(Shape(stroke(arc, 0.1), dark, space="body"))
    elif kind == 1:
        for side in (1, -1):
            flap = np.array([(side * neck * 1.35, chin + 0.34), (0, chin + 0.76), (side * 0.36, chin + 1.02),
                (side * 0.82, chin + 0.55)])
            shapes.append(Shape(flap, lighter(cloth, 0.3), space="body"))
    else:
        for y in np.arange(chin + 0.95, 3.6, 0.34):
            reach = wide * np.interp(y, (chin + 0.62, 2.0, 2.6), (0.72, 0.93, 1.0)) - 0.05
            shapes.append(Shape(stroke([(-reach, y), (0, y + 0.08), (reach, y)], 0.12), ch.second, space="body"))
    return shapes


@lru_cache(maxsize=2)
def build_look(ch: Character) -> Look:
    """All drawn parts of the character except its mouth; kept while its clips are drawn."""
    from . import looks, photo

    rng = np.random.default_rng([ch.seed, 3])
    if ch.look == "photo":
        return photo.person(ch, rng)
    if ch.look == "anime":
        return looks.anime(ch, rng)
    return looks.restyle(_drawn(ch, rng), ch, np.random.default_rng([ch.seed, 4]))


def _drawn(ch: Character, rng: np.random.Generator) -> Look:
    from . import cartoons, creatures, people

    if ch.kind == "person":
        return people.person(ch, rng)
    if ch.kind == "cartoon":
        return cartoons.cartoon(ch, rng)
    return creatures.robot(ch, rng) if ch.kind == "robot" else creatures.animal(ch, rng)


def both(points: np.ndarray, color: Color, depth: float = 0.0, **more: Any) -> list[Shape]:
    """The shape and its mirror image."""
    return [Shape(points, color, depth, **more), Shape(mirror(points), color, depth, **more)]


def outlined(
    points: np.ndarray, color: Color, line: Color, width: float, depth: float = 0.0, **more: Any
) -> list[Shape]:
    """The shape over a bold outline."""
    return [Shape(grow(points, width), line, depth, **more), Shape(points, color, depth, **more)]
