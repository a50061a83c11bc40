"""What drawn shapes are made of: each rounded, lit and grained, painted once and then only moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .relief import Light, column, noise, pixels_of
from .shapes import Color, Picture, Shape

_SMALLEST = 0.02  # head units squared; smaller shapes stay flat


@dataclass(frozen=True)
class Material:
    """A surface: its noise, how strong that is, how round its edges are (in units) and how it shines."""

    noise: str = "soft"
    strength: float = 0.03
    round: float = 0.1
    shine: float = 0.0
    sharp: float = 30.0
    bump: float = 0.0  # of the noise, in units of relief


SKIN = Material("soft", 0.03, 0.1, 12.0, 12.0)
CLOTH = Material("weave", 0.05, 0.14)
HAIR = Material("strands", 0.2, 0.1)
FUR = Material("strands", 0.11, 0.16)
CLAY = Material("soft", 0.012, 0.12, 26.0, 14.0, bump=0.006)
VINYL = Material("fine", 0.006, 0.16, 70.0, 40.0)
METAL = Material("weave", 0.02, 0.06, 110.0, 50.0)


def sprite(
    shapes: list[Shape], rng: np.random.Generator, light: Light, unit: float, material: Callable[[Shape], Material]
) -> Picture:
    """Shapes as one lit picture."""
    points = np.concatenate([s.points for s in shapes])
    left, top = np.maximum(points.min(0), -2.4) - 0.05
    right, bottom = np.minimum(points.max(0), (2.4, 3.4)) + 0.05
    width, height = int((right - left) * unit), int((bottom - top) * unit)
    rgb, cover = np.zeros((3, height, width), np.float32), np.zeros((height, width), np.float32)
    for shape in shapes:
        pixels = np.round(((shape.points - (left, top)) * unit - 0.5) * 16).astype(np.int32)
        mask = np.zeros((height, width), np.uint8)
        cv2.fillPoly(mask, [pixels], 255, cv2.LINE_AA, 4)
        x, y, w, h = cv2.boundingRect(mask)
        if not w or not h:
            continue
        area = mask[y : y + h, x : x + w].astype(np.float32) * (1 / 255)
        part = rgb[:, y : y + h, x : x + w]
        part += (_lit(shape.color, area, rng, light, unit, material(shape)) - part) * (area * np.float32(shape.alpha))
        if shape.alpha == 1:
            np.maximum(cover[y : y + h, x : x + w], area, out=cover[y : y + h, x : x + w])
    return Picture(pixels_of(rgb, cover), float(left), float(top), unit)


def lit(shape: Shape, rng: np.random.Generator, light: Light, unit: float, material: Material) -> Shape:
    """The shape filled with its own lit picture; small, moving, sheer or already filled shapes stay as they are."""
    if shape.fill or shape.points.ndim == 3 or shape.alpha < 1:
        return shape
    (left, top), (right, bottom) = shape.points.min(0), np.minimum(shape.points.max(0), 3.4)
    if (right - left) * (bottom - top) < _SMALLEST:
        return shape
    picture = sprite([shape], rng, light, unit, lambda _: material)
    picture.pixels[..., 3] = 255
    return replace(shape, fill=picture)


def _lit(
    color: Color, area: np.ndarray, rng: np.random.Generator, light: Light, unit: float, material: Material
) -> np.ndarray:
    """Planes (3, H, W) of a rounded thing of one colour."""
    form = cv2.GaussianBlur(area, (0, 0), max(material.round * unit, 0.5))
    grain = noise(material.noise, area.shape, rng)
    relief = 2.0 * material.round * form + material.bump * grain
    factors, gloss = light.shade(relief, unit, wrap=(0.38, 0.32, 0.3))
    out = column(color) * factors * (1 + material.strength * grain)
    return out + material.shine * light.shine * cv2.pow(gloss, material.sharp) if material.shine else out


__all__ = ["CLAY", "CLOTH", "FUR", "HAIR", "METAL", "SKIN", "VINYL", "Material", "lit", "sprite"]
