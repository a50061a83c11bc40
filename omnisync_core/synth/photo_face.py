"""Skin with pores and folds, creased lips, a nose and brows: the face of a photographic person."""

from __future__ import annotations

import cv2
import numpy as np

from .character import Character
from .mouths import mouth_curves
from .photo_canvas import HEIGHT, LEFT, TOP, UNIT, WIDTH, bump, softened
from .photo_hair import HairyHead
from .relief import Light, column, hollow, noise, resized
from .shapes import Picture, darker, ellipse, lighter, mix, ramp, smooth, stroke
from .warp import REST


def head_picture(ch: Character, rng: np.random.Generator, light: Light) -> Picture:
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


class _Head(HairyHead):
    def skin(self) -> None:
        ch, rng, x, y = self.ch, self.rng, self.x, self.y
        m, ax, base = ch.mouth, np.abs(self.x), np.array(ch.skin, np.float32)
        z = self.relief()
        dark_skin = np.clip((430 - sum(ch.skin)) / 300, 0, 1)
        red = rng.uniform(0.25, 1.0) * (1 - 0.6 * dark_skin)
        made = "makeup" in ch.traits
        warm = red * (
            0.5 * bump(ax - 0.55, 0.22) * bump(y - 0.3, 0.2) * (1.6 if made else 1)
            + 0.5 * bump(x, 0.14) * bump(y - 0.22, 0.1)
            + 0.2 * bump(x, 0.3) * bump(y - m.chin_y + 0.1, 0.15)
        )
        warm = warm + 0.05 * noise("blotches", (HEIGHT // 2, WIDTH // 2), rng)
        shade = 0.28 * bump(ax - ch.eye_x, 0.25) * bump(y - ch.eye_y - 0.03, 0.14) + 0.1 * bump(ax - 0.95, 0.3)
        if "stubble" in ch.traits:
            shade = shade + 0.2 * self.beard_area(x, y)
        factors, gloss = self.light.shade(z, UNIT / 2, wrap=(0.4, 0.29, 0.25))
        factors *= hollow(z, 7, 4.5) * hollow(z, 2.5, 6.0)
        tint = column((0.03, -0.24, -0.2))
        color = column(base) * (1 + warm * tint) * (1 - shade * column((0.8, 0.95, 0.9)))
        lit = color * factors
        if made:
            eye = 0.5 * bump(ax - ch.eye_x, 0.19) * bump(y - ch.eye_y + 0.11, 0.08)
            lit += (column(darker(ch.second, 0.3)) - lit) * eye
        shiny = self.light.shine * rng.uniform(0.3, 1.0) * (1 + 0.5 * dark_skin)
        lit += shiny * (30 * cv2.pow(gloss, 24) + 12 * cv2.pow(gloss, 8)) * hollow(z, 7, 4.0)
        self.rgb = resized(softened(lit).astype(np.float32), WIDTH, HEIGHT)
        grain = rng.uniform(0.012, 0.03) * (1 - 0.5 * made) * (1 + 0.5 * self.old)
        self.rgb *= 1 + np.float32(grain) * noise("pores", (HEIGHT, WIDTH), rng)
        if "freckles" in ch.traits or rng.random() < 0.3:
            self._freckles(60 if "freckles" in ch.traits else 4)

    def relief(self) -> np.ndarray:
        ch, x, y, rng = self.ch, self.x, self.y, self.rng
        m, ax = ch.mouth, np.abs(self.x)
        wide = ch.head_width * (1 - ch.taper * np.clip(y / m.chin_y, 0, 1) ** 2) * 1.02
        tall = np.where(y < 0, ch.head_top, m.chin_y + 0.03)
        z = 0.9 * np.sqrt(np.clip(1.02 - np.abs(x / wide) ** 2.4 - np.abs(y / tall) ** 2.6, 0.0, 1))
        low, wing = rng.uniform(0.2, 0.27), rng.uniform(0.1, 0.16)
        z += (
            rng.uniform(0.12, 0.2)
            * bump(x, 0.075)
            * ramp(y, ch.eye_y - 0.12, low).astype(np.float32)
            * (y < 0.5)
            * bump(np.maximum(y - low, 0), 0.05)
        )
        z += rng.uniform(0.14, 0.2) * bump(x, 0.11) * bump(y - low, 0.085)
        z += 0.1 * bump(ax - wing, 0.055) * bump(y - low - 0.035, 0.06)
        z += rng.uniform(0.03, 0.08) * bump(y - ch.eye_y + 0.2, 0.1) * bump(ax - 0.36, 0.3)
        z -= rng.uniform(0.1, 0.16) * bump(ax - ch.eye_x, 0.24) * bump(y - ch.eye_y, 0.13)
        z += rng.uniform(0.05, 0.11) * bump(ax - 0.54, 0.24) * bump(y - 0.2, 0.2)
        z += 0.08 * bump(x, 0.46) * bump(y - m.center_y, 0.26)
        z += rng.uniform(0.06, 0.12) * bump(x, 0.26) * bump(y - m.chin_y + 0.17, 0.15)
        z -= 0.06 * bump(x, 0.24) * bump(y - m.center_y - 0.27 * m.size, 0.06)
        z -= 0.02 * bump(x, 0.03) * bump(y - 0.42, 0.08)
        z -= 0.03 * bump(ax - m.size * 0.54, 0.06) * bump(y - m.center_y, 0.08)
        self.nose_low, self.wing = low, wing
        fold = self._fold(x, y)
        deep = 0.012 + 0.03 * self.old + rng.uniform(0, 0.012)
        z += deep * fold
        if self.old or rng.random() < 0.3:
            for level in (-0.66, -0.56, -0.45):
                wavy = y - level - 0.03 * np.cos(3 * x + rng.uniform(0, 6)) + 0.02 * x * x
                z -= (0.004 + 0.008 * self.old) * bump(wavy, 0.016) * bump(x, 0.5)
            z -= (
                0.02
                * self.old
                * bump(y - ch.eye_y - 0.17 + 0.3 * (ax - ch.eye_x) ** 2, 0.02)
                * bump(ax - ch.eye_x, 0.2)
            )
        return z * rng.uniform(0.75, 1.0)

    def _fold(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The crease from the nose to beside the mouth: a groove below a bulge."""
        m, ax = self.ch.mouth, np.abs(x)
        t = np.clip((y - 0.24) / (m.center_y + 0.12 - 0.24), 0, 1.0)
        at = 0.19 + (m.size * 0.66 - 0.19) * t**0.85
        window = ramp(y, 0.2, 0.32).astype(np.float32) * (
            1 - ramp(y, m.center_y + 0.02, m.center_y + 0.2).astype(np.float32)
        )
        return (1.1 * bump(ax - at - 0.09, 0.09) - bump(ax - at, 0.03)) * window

    def _freckles(self, count: int) -> None:
        rng, ch = self.rng, self.ch
        spots = [ellipse(rng.normal(0, 0.42), rng.normal(0.28, 0.22), *rng.uniform(0.006, 0.016, 2),
            n=8) for _ in range(count)]
        mask = cv2.GaussianBlur(self.filled(spots), (0, 0), 0.8) * rng.uniform(0.35, 0.7)
        self.blend(mix(darker(ch.skin, 0.45), (120, 60, 30), 0.4), mask)

    def lips(self) -> None:
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
        around = 0.16 * np.exp(-(((below - 1.35) / 0.35) ** 2)) * bump(x, 0.8 * outer)
        part *= 1 - around
        part += (softened(lit) - part) * soft
        part += (column(m.line) * 0.7 - part) * (0.75 * seam)

    def folds(self) -> None:
        """The thin dark line within the fold; the broad form is in the relief."""
        m = self.ch.mouth
        deep = (0.1 + 0.3 * self.old) * self.rng.uniform(0.5, 1.2)
        t = np.linspace(0, 1, 14)
        line = np.stack([0.2 + (m.size * 0.66 - 0.2) * t**0.85, 0.28 + (m.center_y - 0.2) * t], -1)
        crease = stroke(line, 0.02 + 0.01 * self.old, taper=1)
        mask = cv2.GaussianBlur(self.filled([crease, crease * (-1, 1)]), (0, 0), 1.6)
        self.blend(darker(mix(self.ch.skin, (150, 60, 50), 0.25), 0.5), deep * mask)

    def nostrils(self) -> None:
        low, wing = self.nose_low, self.wing
        hole = ellipse(wing * 0.55, low + 0.085, 0.042, 0.02, turn=-14)
        mask = cv2.GaussianBlur(self.filled([hole, hole * (-1, 1)]), (0, 0), 1.3)
        self.blend(darker(mix(self.ch.skin, (90, 20, 20), 0.5), 0.75), 0.85 * mask)
        shadow = ellipse(-self.light.x * 0.1, low + 0.13, wing * 1.1, 0.05)
        self.blend(darker(self.ch.skin, 0.8),
            0.32 * self.light.key * cv2.GaussianBlur(self.filled([shadow]), (0, 0), 5))

    def brows(self) -> None:
        ch, rng = self.ch, self.rng
        thick = rng.uniform(0.08, 0.13) if "man" in ch.traits else rng.uniform(0.05, 0.08)
        y, arch = ch.eye_y - 0.14 - rng.uniform(0.08, 0.14), rng.uniform(0.02, 0.07)
        brow = stroke(smooth([(0.2, y + 0.03), (0.42, y - arch), (0.66, y + 0.06)], closed=False), thick, taper=0.65)
        mask = cv2.GaussianBlur(self.filled([brow, brow * (-1, 1)]), (0, 0), 2.0)
        hairs = noise("bristles", (WIDTH, HEIGHT), rng).T
        self.blend(darker(ch.hair, 0.3), np.clip(mask * (0.75 + 0.35 * hairs), 0, 0.92))
