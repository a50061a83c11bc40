"""Strands of hair, beards and cloth on a photographic head."""

from __future__ import annotations

import cv2
import numpy as np

from .hair import hair_front
from .heads import Look
from .mouths import mouth_curves
from .photo_canvas import HEIGHT, UNIT, WIDTH, Canvas
from .relief import column, noise, resized
from .shapes import Shape, darker, mix, ramp, smooth
from .warp import REST


class HairyHead(Canvas):
    def beard(self) -> None:
        ch, rng, t = self.ch, self.rng, self.ch.traits
        m = ch.mouth
        if t & {"beard", "goatee", "moustache", "stubble"}:
            rest = mouth_curves(m, REST)
            lips = self.filled([np.concatenate([rest.upper_outer[0], rest.lower_outer[0, ::-1]])])
        if "stubble" in t:
            dots = np.clip(noise("bristles", (HEIGHT, WIDTH), rng) - 0.3, 0, 2)
            area = cv2.resize(self.beard_area(self.x, self.y), (WIDTH, HEIGHT)) * (1 - lips) * self.mask
            self.blend(darker(mix(ch.hair, ch.skin, 0.3), 0.3), np.clip(0.4 * dots * area, 0, 0.7))
            return
        shapes = []
        if "beard" in t:
            w = ch.head_width
            long = rng.uniform(0.06, 0.3)
            shapes.append(smooth([(w * 0.99, 0.1), (w * 0.88, 0.36), (w * 0.66, 0.52), (0.5, 0.56), (0.3, 0.6),
                (0, 0.66), (-0.3, 0.6), (-0.5, 0.56), (-w * 0.66, 0.52), (-w * 0.88, 0.36), (-w * 0.99, 0.1),
                (-w * 1.0, 0.6), (-w * 0.8, 1.02), (-0.36, m.chin_y + long), (0, m.chin_y + long * 1.2),
                (0.36, m.chin_y + long), (w * 0.8, 1.02), (w * 1.0, 0.6)]))
        if "goatee" in t:
            shapes.append(smooth([(0.24, 0.84), (0.27, m.chin_y - 0.04), (0, m.chin_y + 0.14), (-0.27, m.chin_y - 0.04),
                (-0.24, 0.84), (0, 0.86)]))
        if t & {"beard", "moustache"}:
            y = m.center_y - m.size * 0.12
            half = smooth([(0, y - 0.15), (0.24, y - 0.12), (0.44, y + 0.04), (0.5, y + 0.16), (0.3, y + 0.05),
                (0, y + 0.0)])
            shapes += [half, half * (-1, 1)]
        if not shapes:
            return
        area = self.filled(shapes)
        area = cv2.GaussianBlur(area, (0, 0), 3.5)
        keep = 1 - cv2.GaussianBlur(np.where(self.full_y > m.center_y - 0.02, lips, 0.6 * lips), (0, 0), 1.5)
        hairs = self.strands("bristles" if rng.random() < 0.6 else "strands", center=(0.0, 0.2),
            coarse=rng.uniform(0.8, 1.3))
        cover = np.clip(area * 1.5 + 0.3 * (hairs - 0.4) * (area > 0.03), 0, 1) * keep
        form = np.clip(cv2.GaussianBlur(area, (0, 0), 9), 0, 1)
        self.paint_hair(ch.hair, hairs, cover * rng.uniform(0.85, 1.0), form)
        self.mask = np.maximum(self.mask, (cover > 0.4) * (self.full_y > 0.3))

    def beard_area(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """0..1 over moustache, chin and jaw."""
        m, ax = self.ch.mouth, np.abs(x)
        cheek = y - (0.5 - 0.1 * ramp(ax, 0.3, 0.9) - 0.5 * ramp(ax, 0.72, 0.98))
        jaw = np.clip(cheek / 0.12, 0, 1) * np.clip((ax - 0.05) / 0.2 + (y > m.center_y), 0, 1)
        lip = np.clip(1.6 - np.abs(y - m.center_y + 0.15) / 0.09, 0, 1) * np.clip((0.5 - ax) / 0.12, 0, 1)
        return np.maximum(jaw, lip).astype(np.float32)

    def hair(self) -> None:
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
        hairs = (self.strands("curls", (0, -1.1), 0.9, 20) if curly else self.strands("strands",
            (rng.uniform(-0.3, 0.3), -1.5 * ch.head_top), 1.2, rng.uniform(0, 12)))
        edge = cv2.GaussianBlur(area, (0, 0), 2.2)
        cover = np.clip(1.9 * edge - 0.45 + 0.3 * hairs * (edge > 0.02) * (edge < 0.98), 0, 1)
        form = cv2.GaussianBlur(area, (0, 0), 13)
        self.paint_hair(ch.hair, hairs, cover, form)
        self.mask = np.maximum(self.mask, cover > 0.5)

    def _cloth(self, shapes: list[Shape]) -> None:
        for shape in shapes:
            area = self.filled([shape.points])
            factors, _ = self.light.shade(0.22 * cv2.GaussianBlur(area, (0, 0), 9)[::2, ::2], UNIT / 2, wrap=(0.3,) * 3)
            wave = 0.035 * noise("weave", (HEIGHT, WIDTH), self.rng) + 0.05 * noise(
                "blotches", (HEIGHT, WIDTH), self.rng
            )
            lit = column(shape.color) * resized(factors, WIDTH, HEIGHT) * (1 + wave)
            self.rgb += (lit - self.rgb) * area
            self.mask = np.maximum(self.mask, area)
