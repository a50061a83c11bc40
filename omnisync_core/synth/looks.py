"""How a character is pictured: rendered and clay bodies, anime faces, flat colours; `photo` has the photographic."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from .character import Character
from .eyes import Eye
from .hair import hair_back, hair_front
from .heads import Look, both, contour, torso
from .interior import paint_interior
from .materials import CLAY, CLOTH, FUR, HAIR, METAL, SKIN, VINYL, Material, lit
from .people import glasses
from .relief import TILE, Light, column, noise, pixels_of, resized, tiles
from .shapes import Color, Picture, Shape, darker, lighter, mix, ramp, smooth, stroke

_SIDE, _REACH = 256, 1.7  # pixels of a rendered face; head units to its edge


def restyle(look: Look, ch: Character, rng: np.random.Generator) -> Look:
    """The drawn look in the character's own manner."""
    if ch.look == "flat":
        look.head = [replace(s, fill=None) if s.fill else s for s in look.head]
    if ch.look in ("render", "clay"):
        return _solid(look, ch, rng)
    return look


def _solid(look: Look, ch: Character, rng: np.random.Generator) -> Look:
    """Every large part rounded and lit; teeth and tongue too."""
    light, clay = Light.random(rng), ch.look == "clay"
    skin = CLAY if clay else {"animal": FUR, "robot": METAL, "person": SKIN}.get(ch.kind, VINYL)
    if ch.species == "frog" and not clay:
        skin = replace(VINYL, noise="soft", strength=0.03, bump=0.004)
    other = CLAY if clay else {"animal": FUR, "robot": METAL, "person": HAIR}.get(ch.kind, VINYL)

    def made(shape: Shape) -> Shape:
        if shape.fill:
            return replace(shape, fill=_face(shape, ch, rng, light, skin))
        cloth = shape.space == "body" and not clay and ch.kind != "robot"
        return lit(shape, rng, light, 80, CLOTH if cloth else other)

    look.back, look.head, look.front = ([made(s) for s in part] for part in (look.back, look.head, look.front))
    look.middle = [lit(s, rng, light, 110, replace(skin, round=0.06)) for s in look.middle]
    look.interior = paint_interior(ch.mouth, rng, light)
    return look


def _face(shape: Shape, ch: Character, rng: np.random.Generator, light: Light, material: Material) -> Picture:
    """The painted face with relief: a rounded head, a muzzle, cheeks, fur or prints."""
    unit = _SIDE / (2 * _REACH)
    mask = np.zeros((_SIDE, _SIDE), np.uint8)
    cv2.fillPoly(mask, [np.round(((shape.points + _REACH) * unit - 0.5) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    area = mask.astype(np.float32) / 255
    x = ((np.arange(_SIDE, dtype=np.float32) + 0.5) / unit - _REACH)[None]
    y = x.T
    form = 0.5 * cv2.GaussianBlur(area, (0, 0), 0.22 * unit) + 0.5 * cv2.GaussianBlur(area, (0, 0), 0.45 * unit)
    m = ch.mouth
    height = 1.3 * form + 0.1 * np.exp(-((x / 0.5) ** 2) - ((y - m.center_y + 0.05) / 0.32) ** 2)
    height += 0.06 * np.exp(-(((np.abs(x) - 0.55) / 0.22) ** 2) - ((y - 0.25) / 0.2) ** 2)
    grain = combed(x, y, (0.0, 0.2), 150, rng) if material is FUR else noise(material.noise, (_SIDE, _SIDE), rng)
    height += material.bump * grain
    if material is CLAY:
        height += 0.012 * noise("blotches", (_SIDE, _SIDE), rng)
    factors, gloss = light.shade(height, unit, wrap=(0.4, 0.32, 0.28))
    colors = np.moveaxis(shape.fill.pixels[..., :3], -1, 0).astype(np.float32)
    planes = resized(colors, _SIDE, _SIDE) * factors * (1 + material.strength * grain) * 1.05
    planes += material.shine * 0.5 * light.shine * gloss**material.sharp
    pixels = pixels_of(planes.astype(np.float32), np.ones((_SIDE, _SIDE), np.float32))
    return Picture(pixels, -_REACH, -_REACH, unit)


def combed(
    x: np.ndarray, y: np.ndarray, center: tuple[float, float], density: float, rng: np.random.Generator
) -> np.ndarray:
    """Noise over the points x (1, W), y (H, 1), combed away from a centre; `density` strands to the radian or so."""
    x, y = x - center[0], y - center[1]
    start = rng.integers(0, TILE, 2)
    across = np.arctan2(x, y) * density + start[0]
    along = np.sqrt(x * x + y * y) * (0.8 * density) + start[1]
    maps = [a.astype(np.float32) for a in (across, along)]
    return cv2.remap(tiles()["strands"], *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def anime(ch: Character, rng: np.random.Generator) -> Look:
    """A person with large eyes, hardly a nose, hair in flat tones and shadows with hard edges."""
    look, skin, style = Look(), ch.skin, ch.species
    line, shade = darker(mix(skin, ch.hair, 0.4), 0.55), mix(darker(skin, 0.16), (220, 110, 120), 0.16)
    side = rng.choice((-1, 1))
    look.back += torso(ch, mix(skin, shade, 0.35), rng, neck=0.32, wide=1.2)
    hair_back(ch, look, style)
    look.head.append(Shape(contour(ch, wide=0.018), line, jaw=True))
    look.head.append(Shape(contour(ch), skin, fill=_cel(ch, shade, side), behind=0.4, jaw=True))
    tall, wide = rng.uniform(0.2, 0.28), rng.uniform(0.17, 0.22)
    for x in (-ch.eye_x, ch.eye_x):
        look.eyes.append(Eye(x, ch.eye_y + 0.06, wide, tall, mix(ch.iris, (90, 120, 220), rng.uniform(0, 0.5)), line,
            shade, iris_size=1.05, rim=0.16, outline=0.0))  # fmt: skip
    y = ch.eye_y - tall - 0.12
    brow = smooth([(0.22, y + 0.02), (0.42, y - 0.05), (0.64, y + 0.04)], closed=False)
    look.middle += both(stroke(brow, 0.035, taper=0.8), darker(ch.hair, 0.4), 0.6)
    nose = stroke([(0.015 * side, 0.22), (0.045 * side, 0.27), (0.0, 0.29)], 0.02, taper=0.8)
    look.middle.append(Shape(nose, line, 0.95))
    for k in range(3) if rng.random() < 0.4 else ():
        dash = stroke([(0.5 + 0.06 * k, 0.3), (0.49 + 0.06 * k, 0.33), (0.47 + 0.06 * k, 0.36)], 0.014)
        look.middle += both(dash, mix(skin, (235, 80, 90), 0.6), 0.7)
    hair_front(ch, look, style)
    if style not in ("cap", "beanie", "turban", "headscarf", "bald", "receding", "mohawk"):
        _fringe(ch, look, rng, line)
    if "glasses" in ch.traits:
        glasses(ch, look, rng)
    return look


def _fringe(ch: Character, look: Look, rng: np.random.Generator, line: Color) -> None:
    w, top = ch.head_width, ch.head_top
    x = np.linspace(-0.95, 0.95, int(rng.integers(6, 10))) * w
    tips = np.stack([x, rng.uniform(-0.46, -0.24, len(x)) + 0.2 * (x / w) ** 2], -1)
    roots = np.stack([(x[1:] + x[:-1]) / 2, np.full(len(x) - 1, -0.66)], -1)
    lower = np.empty((2 * len(x) - 1, 2))
    lower[::2], lower[1::2] = tips, roots
    upper = smooth([(w * 1.04, -0.5), (w * 0.8, -top * 0.9), (0, -top * 1.08), (-w * 0.8, -top * 0.9),
        (-w * 1.04, -0.5)], closed=False)  # fmt: skip
    outline = np.concatenate([lower, upper])
    look.front += [Shape(outline * 1.012, line, 0.2), Shape(outline, ch.hair, 0.21)]
    shine = stroke(smooth([(-0.6 * w, -0.86), (-0.1, -0.98), (0.6 * w, -0.88)], closed=False), 0.09, taper=1)
    look.front.append(Shape(shine, lighter(ch.hair, 0.4), 0.22, alpha=0.75))


def _cel(ch: Character, shade: Color, side: int) -> Picture:
    """Two tones with a hard edge: under the hair, beside the face, below the nose."""
    unit = _SIDE / (2 * _REACH)
    x = ((np.arange(_SIDE, dtype=np.float32) + 0.5) / unit - _REACH)[None]
    y = x.T
    edge = np.maximum(x * side - 0.62 + 0.22 * y, -0.5 - y + 0.08 * np.cos(9 * x))
    edge = np.maximum(edge, 0.05 - np.hypot(x - 0.03 * side, (y - 0.32) * 1.6))
    dark = ramp(edge, -0.01, 0.01).astype(np.float32)
    blush = 0.5 * np.exp(-(((np.abs(x) - 0.54) / 0.16) ** 2) - ((y - 0.32) / 0.08) ** 2)
    planes = column(ch.skin) + (column(shade) - column(ch.skin)) * dark
    planes += (column(mix(ch.skin, (240, 90, 100), 0.5)) - planes) * blush
    return Picture(pixels_of(planes.astype(np.float32), np.ones((_SIDE, _SIDE), np.float32)), -_REACH, -_REACH, unit)
