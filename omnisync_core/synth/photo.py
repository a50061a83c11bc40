"""Photographic people: heads painted like lit 3D, with pores, creased lips, folds, beards and strands of hair."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from .character import Character
from .eyes import Eye
from .heads import Look, both, contour, torso
from .interior import paint_interior
from .materials import CLOTH, HAIR, SKIN, sprite
from .mouths import mouth_curves
from .people import glasses, hair_back, hair_front
from .relief import Light, column, hollow, noise, pixels_of, resized, tiles
from .shapes import Picture, Shape, darker, ellipse, lighter, mirror, mix, ramp, smooth, stroke
from .warp import REST

UNIT = 120  # pixels of the head's picture per head unit
LEFT, TOP, WIDTH, HEIGHT = -1.34, -1.84, 322, 418
_LOW = (WIDTH // 2, HEIGHT // 2)


def _axes(width, height):
    x = LEFT + (np.arange(width, dtype=np.float32) + 0.5) / width * (WIDTH / UNIT)
    y = TOP + (np.arange(height, dtype=np.float32) + 0.5) / height * (HEIGHT / UNIT)
    return x[None], y[:, None]


def _bump(x, width):
    return np.exp(-((x / width) ** 2))


def head_picture(ch: Character, rng, light: Light) -> Picture:
    """The resting head with closed lips, hair and beard; eyes are left to be drawn over it."""
    painter = _Head(ch, rng, light)
    painter.skin()
    painter.lips()
    painter.folds()
    painter.nostrils()
    painter.brows()
    painter.beard()
    painter.hair()
    return painter.finish()


class _Head:
    def __init__(self, ch: Character, rng, light: Light):
        self.ch, self.rng, self.light = ch, rng, light
        self.x, self.y = _axes(*_LOW)
        self.full_x, self.full_y = _axes(WIDTH, HEIGHT)
        self.mask = self.filled([contour(ch)])
        self.old = 1.0 if "elder" in ch.traits else 0.0

    def filled(self, outlines, size=(WIDTH, HEIGHT)) -> np.ndarray:
        """(H, W) float32 0..1 of polygons in head units."""
        mask = np.zeros((size[1], size[0]), np.uint8)
        for points in outlines:
            pixels = (np.asarray(points) - (LEFT, TOP)) * UNIT * (size[0] / WIDTH) - 0.5
            cv2.fillPoly(mask, [np.round(pixels * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        return mask.astype(np.float32) * (1 / 255)

    def relief(self):
        ch, x, y, rng = self.ch, self.x, self.y, self.rng
        m, ax = ch.mouth, np.abs(self.x)
        wide = ch.head_width * (1 - ch.taper * np.clip(y / m.chin_y, 0, 1) ** 2) * 1.02
        tall = np.where(y < 0, ch.head_top, m.chin_y + 0.03)
        z = 0.9 * np.sqrt(np.clip(1.02 - np.abs(x / wide) ** 2.4 - np.abs(y / tall) ** 2.6, 0.0, 1))
        low, wing = rng.uniform(0.2, 0.27), rng.uniform(0.1, 0.16)
        z += (
            rng.uniform(0.12, 0.2)
            * _bump(x, 0.075)
            * ramp(y, ch.eye_y - 0.12, low).astype(np.float32)
            * (y < 0.5)
            * _bump(np.maximum(y - low, 0), 0.05)
        )
        z += rng.uniform(0.14, 0.2) * _bump(x, 0.11) * _bump(y - low, 0.085)
        z += 0.1 * _bump(ax - wing, 0.055) * _bump(y - low - 0.035, 0.06)
        z += rng.uniform(0.03, 0.08) * _bump(y - ch.eye_y + 0.2, 0.1) * _bump(ax - 0.36, 0.3)
        z -= rng.uniform(0.1, 0.16) * _bump(ax - ch.eye_x, 0.24) * _bump(y - ch.eye_y, 0.13)
        z += rng.uniform(0.05, 0.11) * _bump(ax - 0.54, 0.24) * _bump(y - 0.2, 0.2)
        z += 0.08 * _bump(x, 0.46) * _bump(y - m.center_y, 0.26)
        z += rng.uniform(0.06, 0.12) * _bump(x, 0.26) * _bump(y - m.chin_y + 0.17, 0.15)
        z -= 0.06 * _bump(x, 0.24) * _bump(y - m.center_y - 0.27 * m.size, 0.06)
        z -= 0.02 * _bump(x, 0.03) * _bump(y - 0.42, 0.08)
        z -= 0.03 * _bump(ax - m.size * 0.54, 0.06) * _bump(y - m.center_y, 0.08)
        self.nose_low, self.wing = low, wing
        fold = self._fold(x, y)
        deep = 0.012 + 0.03 * self.old + rng.uniform(0, 0.012)
        z += deep * fold
        if self.old or rng.random() < 0.3:
            for level in (-0.66, -0.56, -0.45):
                wavy = y - level - 0.03 * np.cos(3 * x + rng.uniform(0, 6)) + 0.02 * x * x
                z -= (0.004 + 0.008 * self.old) * _bump(wavy, 0.016) * _bump(x, 0.5)
            z -= (
                0.02
                * self.old
                * _bump(y - ch.eye_y - 0.17 + 0.3 * (ax - ch.eye_x) ** 2, 0.02)
                * _bump(ax - ch.eye_x, 0.2)
            )
        return z * rng.uniform(0.75, 1.0)

    def _fold(self, x, y):
        """The crease from the nose to beside the mouth: a groove below a bulge."""
        m, ax = self.ch.mouth, np.abs(x)
        t = np.clip((y - 0.24) / (m.center_y + 0.12 - 0.24), 0, 1.0)
        at = 0.19 + (m.size * 0.66 - 0.19) * t**0.85
        window = ramp(y, 0.2, 0.32).astype(np.float32) * (
            1 - ramp(y, m.center_y + 0.02, m.center_y + 0.2).astype(np.float32)
        )
        return (1.1 * _bump(ax - at - 0.09, 0.09) - _bump(ax - at, 0.03)) * window

    def skin(self):
        ch, rng, x, y = self.ch, self.rng, self.x, self.y
        m, ax, base = ch.mouth, np.abs(self.x), np.array(ch.skin, np.float32)
        z = self.relief()
        dark_skin = np.clip((430 - sum(ch.skin)) / 300, 0, 1)
        red = rng.uniform(0.25, 1.0) * (1 - 0.6 * dark_skin)
        made = "makeup" in ch.traits
        warm = red * (
            0.5 * _bump(ax - 0.55, 0.22) * _bump(y - 0.3, 0.2) * (1.6 if made else 1)
            + 0.5 * _bump(x, 0.14) * _bump(y - 0.22, 0.1)
            + 0.2 * _bump(x, 0.3) * _bump(y - m.chin_y + 0.1, 0.15)
        )
        warm = warm + 0.05 * noise("blotches", (HEIGHT // 2, WIDTH // 2), rng)
        shade = 0.28 * _bump(ax - ch.eye_x, 0.25) * _bump(y - ch.eye_y - 0.03, 0.14) + 0.1 * _bump(ax - 0.95, 0.3)
        if "stubble" in ch.traits:
            shade = shade + 0.2 * self.beard_area(x, y)
        factors, gloss = self.light.shade(z, UNIT / 2, wrap=(0.4, 0.29, 0.25))
        factors *= hollow(z, 7, 4.5) * hollow(z, 2.5, 6.0)
        tint = column((0.03, -0.24, -0.2))
        color = column(base) * (1 + warm * tint) * (1 - shade * column((0.8, 0.95, 0.9)))
        lit = color * factors
        if made:
            eye = 0.5 * _bump(ax - ch.eye_x, 0.19) * _bump(y - ch.eye_y + 0.11, 0.08)
            lit += (column(darker(ch.second, 0.3)) - lit) * eye
        shiny = self.light.shine * rng.uniform(0.3, 1.0) * (1 + 0.5 * dark_skin)
        lit += shiny * (30 * cv2.pow(gloss, 24) + 12 * cv2.pow(gloss, 8)) * hollow(z, 7, 4.0)
        self.rgb = resized(_soft(lit).astype(np.float32), WIDTH, HEIGHT)
        grain = rng.uniform(0.012, 0.03) * (1 - 0.5 * made) * (1 + 0.5 * self.old)
        self.rgb *= 1 + np.float32(grain) * noise("pores", (HEIGHT, WIDTH), rng)
        if "freckles" in ch.traits or rng.random() < 0.3:
            self._freckles(60 if "freckles" in ch.traits else 4)

    def _freckles(self, count):
        rng, ch = self.rng, self.ch
        spots = [
            ellipse(rng.normal(0, 0.42), rng.normal(0.28, 0.22), *rng.uniform(0.006, 0.016, 2), n=8)
            for _ in range(count)
        ]
        mask = cv2.GaussianBlur(self.filled(spots), (0, 0), 0.8) * rng.uniform(0.35, 0.7)
        self.blend(mix(darker(ch.skin, 0.45), (120, 60, 30), 0.4), mask)

    def blend(self, color, share):
        """Mixes a colour in by a share of each pixel."""
        x, y, w, h = cv2.boundingRect((share > 0.004).view(np.uint8))
        part = self.rgb[:, y : y + h, x : x + w]
        part += (column(color) - part) * share[y : y + h, x : x + w].astype(np.float32)

    def beard_area(self, x, y):
        """0..1 over moustache, chin and jaw."""
        m, ax = self.ch.mouth, np.abs(x)
        cheek = y - (0.5 - 0.1 * ramp(ax, 0.3, 0.9) - 0.5 * ramp(ax, 0.72, 0.98))
        jaw = np.clip(cheek / 0.12, 0, 1) * np.clip((ax - 0.05) / 0.2 + (y > m.center_y), 0, 1)
        lip = np.clip(1.6 - np.abs(y - m.center_y + 0.15) / 0.09, 0, 1) * np.clip((0.5 - ax) / 0.12, 0, 1)
        return np.maximum(jaw, lip).astype(np.float32)

    def lips(self):
        ch, rng = self.ch, self.rng
        m, rest = ch.mouth, mouth_curves(ch.mouth, REST)
        outer = rest.upper_outer[0, -1, 0]
        x0, y0 = int((-outer - 0.06 - LEFT) * UNIT), int((m.center_y - 0.24 - TOP) * UNIT)
        x1, y1 = int((outer + 0.06 - LEFT) * UNIT), int((m.center_y + 0.32 - TOP) * UNIT)
        part = self.rgb[:, y0:y1, x0:x1]
        x, y = self.full_x[0, x0:x1], self.full_y[y0:y1]
        top, middle, bottom = (
            np.interp(x, c[0, :, 0], c[0, :, 1]).astype(np.float32)
            for c in (rest.upper_outer, rest.upper_inner, rest.lower_outer)
        )
        above = np.clip((y - top) / np.maximum(middle - top, 0.008), -1, 2)
        below = np.clip((y - middle) / np.maximum(bottom - middle, 0.008), -1, 2)
        inside = self.filled([np.concatenate([rest.upper_outer[0], rest.lower_outer[0, ::-1]])])[y0:y1, x0:x1]
        soft = cv2.GaussianBlur(inside, (0, 0), 2.2 if "makeup" not in ch.traits else 1.0)
        plump = 0.055 * np.maximum(np.sin(np.pi * np.clip(above, 0, 1)), 0) ** 0.8 * (y < middle) + 0.085 * np.maximum(
            np.sin(np.pi * np.clip(below, 0, 1)), 0
        ) ** 0.8 * (y >= middle)
        z = (0.25 * np.sqrt(np.clip(1.1 - (x / 0.75) ** 2, 0, 1)) + plump).astype(np.float32)
        creases = noise("creases", part.shape[1:], rng)
        z += 0.0016 * creases * soft
        z = cv2.GaussianBlur(z, (0, 0), 1.2)
        factors, gloss = self.light.shade(z, UNIT, wrap=(0.5, 0.3, 0.25), strength=0.8)
        color = np.where(y < middle, column(m.upper), column(m.lower)) * (1 + 0.04 * creases)
        rim = np.abs(np.where(y < middle, above - 0, below - 1))
        color = color + (column(lighter(ch.skin, 0.1)) - color) * (0.25 * np.exp(-((rim / 0.2) ** 2)))
        lit = color * factors * 1.02
        wet = self.light.shine * rng.uniform(0.3, 1.1) * (1.5 if "makeup" in ch.traits else 1)
        lit += (
            wet
            * (60 * cv2.pow(gloss, 40) + 18 * cv2.pow(gloss, 10))
            * np.clip(0.7 + 0.5 * noise("fine", part.shape[1:], rng), 0, 1.6)
        )
        seam = np.exp(-(((y - middle) / (0.014 + 0.01 * (1 - np.abs(x / outer)))) ** 2)) * (np.abs(x) < outer + 0.015)
        around = 0.16 * np.exp(-(((below - 1.35) / 0.35) ** 2)) * _bump(x, 0.8 * outer)
        part *= 1 - around
        part += (_soft(lit) - part) * soft
        part += (column(m.line) * 0.7 - part) * (0.75 * seam)

    def folds(self):
        """The thin dark line within the fold; the broad form is in the relief."""
        m = self.ch.mouth
        deep = (0.1 + 0.3 * self.old) * self.rng.uniform(0.5, 1.2)
        t = np.linspace(0, 1, 14)
        line = np.stack([0.2 + (m.size * 0.66 - 0.2) * t**0.85, 0.28 + (m.center_y - 0.2) * t], -1)
        crease = stroke(line, 0.02 + 0.01 * self.old, taper=1)
        mask = cv2.GaussianBlur(self.filled([crease, crease * (-1, 1)]), (0, 0), 1.6)
        self.blend(darker(mix(self.ch.skin, (150, 60, 50), 0.25), 0.5), deep * mask)

    def nostrils(self):
        low, wing = self.nose_low, self.wing
        hole = ellipse(wing * 0.55, low + 0.085, 0.042, 0.02, turn=-14)
        mask = cv2.GaussianBlur(self.filled([hole, hole * (-1, 1)]), (0, 0), 1.3)
        self.blend(darker(mix(self.ch.skin, (90, 20, 20), 0.5), 0.75), 0.85 * mask)
        shadow = ellipse(-self.light.x * 0.1, low + 0.13, wing * 1.1, 0.05)
        self.blend(
            darker(self.ch.skin, 0.8), 0.32 * self.light.key * cv2.GaussianBlur(self.filled([shadow]), (0, 0), 5)
        )

    def brows(self):
        ch, rng = self.ch, self.rng
        thick = rng.uniform(0.08, 0.13) if "man" in ch.traits else rng.uniform(0.05, 0.08)
        y, arch = ch.eye_y - 0.14 - rng.uniform(0.08, 0.14), rng.uniform(0.02, 0.07)
        brow = stroke(smooth([(0.2, y + 0.03), (0.42, y - arch), (0.66, y + 0.06)], closed=False), thick, taper=0.65)
        mask = cv2.GaussianBlur(self.filled([brow, brow * (-1, 1)]), (0, 0), 2.0)
        hairs = noise("bristles", (WIDTH, HEIGHT), rng).T
        self.blend(darker(ch.hair, 0.3), np.clip(mask * (0.75 + 0.35 * hairs), 0, 0.92))

    def beard(self):
        ch, rng, t = self.ch, self.rng, self.ch.traits
        m = ch.mouth
        if t & {"beard", "goatee", "moustache", "stubble"}:
            lips = mouth_curves(m, REST)
            lips = self.filled([np.concatenate([lips.upper_outer[0], lips.lower_outer[0, ::-1]])])
        if "stubble" in t:
            dots = np.clip(noise("bristles", (HEIGHT, WIDTH), rng) - 0.3, 0, 2)
            area = cv2.resize(self.beard_area(self.x, self.y), (WIDTH, HEIGHT)) * (1 - lips) * self.mask
            self.blend(darker(mix(ch.hair, ch.skin, 0.3), 0.3), np.clip(0.4 * dots * area, 0, 0.7))
            return
        shapes = []
        if "beard" in t:
            w = ch.head_width
            long = rng.uniform(0.06, 0.3)
            shapes.append(
                smooth(
                    [
                        (w * 0.99, 0.1),
                        (w * 0.88, 0.36),
                        (w * 0.66, 0.52),
                        (0.5, 0.56),
                        (0.3, 0.6),
                        (0, 0.66),
                        (-0.3, 0.6),
                        (-0.5, 0.56),
                        (-w * 0.66, 0.52),
                        (-w * 0.88, 0.36),
                        (-w * 0.99, 0.1),
                        (-w * 1.0, 0.6),
                        (-w * 0.8, 1.02),
                        (-0.36, m.chin_y + long),
                        (0, m.chin_y + long * 1.2),
                        (0.36, m.chin_y + long),
                        (w * 0.8, 1.02),
                        (w * 1.0, 0.6),
                    ]
                )
            )
        if "goatee" in t:
            shapes.append(
                smooth(
                    [
                        (0.24, 0.84),
                        (0.27, m.chin_y - 0.04),
                        (0, m.chin_y + 0.14),
                        (-0.27, m.chin_y - 0.04),
                        (-0.24, 0.84),
                        (0, 0.86),
                    ]
                )
            )
        if t & {"beard", "moustache"}:
            y = m.center_y - m.size * 0.12
            half = smooth(
                [(0, y - 0.15), (0.24, y - 0.12), (0.44, y + 0.04), (0.5, y + 0.16), (0.3, y + 0.05), (0, y + 0.0)]
            )
            shapes += [half, half * (-1, 1)]
        if not shapes:
            return
        area = self.filled(shapes)
        area = cv2.GaussianBlur(area, (0, 0), 3.5)
        keep = 1 - cv2.GaussianBlur(np.where(self.full_y > m.center_y - 0.02, lips, 0.6 * lips), (0, 0), 1.5)
        hairs = self.strands(
            "bristles" if rng.random() < 0.6 else "strands", center=(0.0, 0.2), coarse=rng.uniform(0.8, 1.3)
        )
        cover = np.clip(area * 1.5 + 0.3 * (hairs - 0.4) * (area > 0.03), 0, 1) * keep
        form = np.clip(cv2.GaussianBlur(area, (0, 0), 9), 0, 1)
        self.paint_hair(ch.hair, hairs, cover * rng.uniform(0.85, 1.0), form)
        self.mask = np.maximum(self.mask, (cover > 0.4) * (self.full_y > 0.3))

    def strands(self, name, center, coarse=1.0, curl=0.0):
        """Noise (H, W) combed away from a point."""
        x, y = self.x - center[0], self.y - center[1]
        radius = np.sqrt(x * x + y * y)
        angle = np.arctan2(x, y) * (380 * coarse)
        start = self.rng.integers(0, 512, 2)
        across = angle + start[0] + curl * np.sin(radius * 9)
        along = radius * (UNIT * 0.8) + start[1]
        maps = [cv2.resize(a.astype(np.float32), (WIDTH, HEIGHT)) for a in (across, along)]
        return cv2.remap(tiles()[name], *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)

    def paint_hair(self, color, hairs, cover, form):
        """Hair of a colour where `cover`; `form` 0..1 is its bulk, lit from above."""
        light, cover = self.light, cover.astype(np.float32)
        x, y, w, h = cv2.boundingRect((cover > 0.004).view(np.uint8))
        span = slice(y, y + h), slice(x, x + w)
        facing, gloss = light.shade(0.25 * form[span][::2, ::2], UNIT / 2, wrap=(0.3, 0.3, 0.3))
        facing, gloss = resized(facing, w, h), cv2.resize(gloss, (w, h))
        color, hairs, part = column(color), np.clip(hairs[span], -2.2, 2.2), self.rgb[:, y : y + h, x : x + w]
        facing *= 0.78 + 0.2 * hairs
        facing *= color
        facing += (16 + 0.22 * float(color.mean())) * light.shine * cv2.pow(gloss, 14) * (0.75 + 0.25 * hairs)
        facing -= part
        facing *= cover[span]
        part += facing

    def hair(self):
        ch, rng = self.ch, self.rng
        style, look = ch.species, Look()
        hair_front(ch, look, style)
        shapes = [s for s in look.front if s.alpha == 1]
        if not shapes:
            return
        cloth = style in ("cap", "beanie", "turban", "headscarf")
        area = self.filled([s.points for s in shapes])
        shadow = cv2.GaussianBlur(area, (0, 0), 7)
        shadow = np.roll(shadow, (9, int(-8 * self.light.x)), (0, 1))
        self.rgb *= 1 - np.float32(0.45) * shadow
        if cloth:
            self._cloth(shapes)
            return
        curly = style in ("curly", "afro") or rng.random() < 0.2
        hairs = (
            self.strands("curls", (0, -1.1), 0.9, 20)
            if curly
            else self.strands("strands", (rng.uniform(-0.3, 0.3), -1.5 * ch.head_top), 1.2, rng.uniform(0, 12))
        )
        edge = cv2.GaussianBlur(area, (0, 0), 2.2)
        cover = np.clip(1.9 * edge - 0.45 + 0.3 * hairs * (edge > 0.02) * (edge < 0.98), 0, 1)
        form = cv2.GaussianBlur(area, (0, 0), 13)
        self.paint_hair(ch.hair, hairs, cover, form)
        self.mask = np.maximum(self.mask, cover > 0.5)

    def _cloth(self, shapes):
        for shape in shapes:
            area = self.filled([shape.points])
            factors, _ = self.light.shade(0.22 * cv2.GaussianBlur(area, (0, 0), 9)[::2, ::2], UNIT / 2, wrap=(0.3,) * 3)
            wave = 0.035 * noise("weave", (HEIGHT, WIDTH), self.rng) + 0.05 * noise(
                "blotches", (HEIGHT, WIDTH), self.rng
            )
            lit = column(shape.color) * resized(factors, WIDTH, HEIGHT) * (1 + wave)
            self.rgb += (lit - self.rgb) * area
            self.mask = np.maximum(self.mask, area)

    def finish(self) -> Picture:
        return Picture(pixels_of(self.rgb, self.mask.astype(np.float32)), LEFT, TOP, UNIT)


def _soft(planes):
    """Bright places keep their form."""
    over = np.maximum(planes - 165, 0)
    return planes - over + over / (1 + over * (1 / 90))


def back_shapes(ch: Character) -> list[Shape]:
    """Hair and ears behind the head."""
    look = Look()
    hair_back(ch, look, ch.species)
    return look.back


def person(ch: Character, rng) -> Look:
    """A photographic person."""
    light = Light.random(rng)
    skin_dark = darker(ch.skin, rng.uniform(0.2, 0.3))
    body = torso(ch, skin_dark, rng, neck=0.56 if "man" in ch.traits else 0.46, wide=rng.uniform(1.5, 1.75))

    def cloth(shape):
        return SKIN if shape.color in (skin_dark, darker(skin_dark, 0.28)) else CLOTH

    def strands(_):
        return CLOTH if ch.species == "headscarf" else HAIR

    look = Look(interior=paint_interior(ch.mouth, rng, light), painted_lips=True)
    picture = sprite(body, rng, light, 80, cloth)
    look.back.append(Shape(picture.corners, skin_dark, space="body", fill=picture))
    behind = back_shapes(ch)
    if behind:
        picture = sprite(behind, rng, light, 80, strands)
        look.back.append(Shape(picture.corners, ch.hair, -0.25, fill=picture))
    if ch.species != "headscarf":
        ear = [
            Shape(ellipse(ch.head_width * 0.98, 0.1, 0.11, 0.23, turn=8), darker(ch.skin, 0.08)),
            Shape(ellipse(ch.head_width, 0.1, 0.055, 0.14, turn=8), darker(mix(ch.skin, (170, 60, 50), 0.2), 0.3)),
        ]
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
        look.eyes.append(
            Eye(
                x,
                ch.eye_y,
                rx,
                ry,
                darker(ch.iris, 0.2),
                line,
                darker(ch.skin, 0.2),
                white=white,
                iris_size=1.12,
                rim=0.13 if "makeup" in ch.traits else 0.08,
                shaded=True,
            )
        )
    if "glasses" in ch.traits:
        glasses(ch, look, rng)
    return look
