"""What an open mouth shows: rows of teeth with gaps, a tongue with a groove, a throat that gets dark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .mouths import Interior, MouthStyle
from .relief import Light, column, noise, pixels_of
from .shapes import Picture, darker, mix

UNIT = 200  # pixels per head unit
_UPPER = (1.0, 0.78, 0.92, 0.76, 0.74, 0.66)  # widths of teeth from the middle outwards, central incisor 1
_LOWER = (0.62, 0.66, 0.74, 0.72, 0.72, 0.7)


def paint_interior(style: MouthStyle, rng: np.random.Generator, light: Light) -> Interior:
    """The inside of one mouth."""
    return Interior(
        _teeth(style, rng, light, _UPPER, 1),
        _teeth(style, rng, light, _LOWER, -1),
        _tongue(style, rng, light),
        _throat(style),
    )


def _teeth(style: MouthStyle, rng: np.random.Generator, light: Light, widths: Sequence[float], down: int) -> Picture:
    """A row; `down` 1 hangs from above, -1 stands below."""
    high, wide = int(0.3 * style.size * UNIT), int(1.0 * style.size * UNIT)
    first = 0.125 * style.size * rng.uniform(0.92, 1.1)
    apart = rng.uniform(0.0, 0.003) if rng.random() < 0.8 else rng.uniform(0.01, 0.025)
    crooked = rng.uniform(0.0, 1.0) ** 2 * (1.0 if down > 0 else 1.6)
    x = (np.arange(wide, dtype=np.float32) + 0.5 - wide / 2) / UNIT
    y = (np.arange(high, dtype=np.float32)[:, None] + 0.5 - high * (0.72 if down > 0 else 0.28)) / UNIT * down
    rgb = np.zeros((3, high, wide), np.float32)
    cover = np.zeros((high, wide), np.float32)
    gum, tooth = column(mix(style.tongue, (196, 88, 92), 0.5)), column(style.teeth)
    for side in (-1, 1):
        at = apart / 2
        for k, share in enumerate(widths):
            w = first * share * (0.75 + 0.25 * np.cos(min(at / (0.5 * style.size), 1) * 1.5))
            center, tip = side * (at + w / 2), rng.normal(0, 0.005 * crooked) - (0.012 if k in (1, 3) else 0.0)
            at += w + apart
            tip -= 0.10 * at * at * (1 if down > 0 else 0.3)
            u = (x - center + rng.normal(0, 0.02 * crooked) * y) / (w / 2)
            edge = np.clip(1 - np.abs(u), 0, 1)
            bottom = tip - 0.012 * np.clip(np.abs(u) - 0.55, 0, 1) ** 2 / 0.2
            if k == 2:
                bottom = bottom - 0.03 * np.abs(u) * (1 - crooked * 0.3)
            inside = np.clip((bottom - y) * UNIT + 0.5, 0, 1) * np.clip(edge * w / 2 * UNIT + 0.5, 0, 1)
            back = 1 - 0.62 * min(at / (0.55 * style.size), 1) ** 1.7
            form = (0.74 + 0.26 * np.sqrt(np.clip(1 - u * u, 0, 1))) * (1 + 0.09 * u * light.x)
            form = form * back * (1 - 0.1 * np.exp(-(((bottom - y) / 0.012) ** 2))) * rng.uniform(0.95, 1.02)
            color = tooth * form
            color = color + (gum * back - color) * np.clip((-y - 0.155 - 0.03 * u * u) / 0.02, 0, 1)
            gloss = np.exp(-(((u + 0.35 * np.sign(light.x) * -1) / 0.25) ** 2) - ((y + 0.06) / 0.03) ** 2)
            color = color + 34 * light.shine * back * gloss
            rgb += (color - rgb) * inside
            cover = np.maximum(cover, inside)
    if down < 0:
        rgb *= 0.84
    gaps = (cover < 0.5) & (y < -0.02)
    rgb = np.where(gaps, gum * 0.5, rgb)
    cover = np.where(y < -0.03, (np.abs(x) < 0.47 * style.size) * 1.0, cover)
    return Picture(
        pixels_of(rgb.astype(np.float32), cover.astype(np.float32)),
        -wide / 2 / UNIT,
        -(0.72 if down > 0 else 0.28) * high / UNIT,
        UNIT,
    )


def _tongue(style: MouthStyle, rng: np.random.Generator, light: Light) -> Picture:
    high, wide = int(0.6 * style.size * UNIT), int(1.1 * style.size * UNIT)
    x = ((np.arange(wide, dtype=np.float32) + 0.5) / wide - 0.5)[None] * 2
    y = ((np.arange(high, dtype=np.float32) + 0.5) / high)[:, None]
    form = 0.8 + 0.3 * np.sqrt(np.clip(1 - (x / 0.9) ** 2, 0, 1)) - 0.16 * np.exp(-((x / 0.05) ** 2))
    form = form * (0.62 + 0.5 * np.exp(-(((y - 0.25) / 0.35) ** 2)))
    bumps = noise("soft", (high, wide), rng)
    color = column(darker(mix(style.tongue, (150, 84, 84), 0.5), 0.1)) * (form * (1 + 0.06 * bumps))
    wet = np.exp(-(((x - 0.25 * np.sign(light.x)) / 0.2) ** 2) - ((y - 0.14) / 0.07) ** 2)
    color += 45 * light.shine * wet * np.clip(1 + 0.8 * bumps, 0, 2)
    return Picture(pixels_of(color, np.ones((high, wide), np.float32)), -wide / 2 / UNIT, 0.0, UNIT)


def _throat(style: MouthStyle) -> Picture:
    high, wide = int(0.9 * style.size * UNIT), int(1.4 * style.size * UNIT)
    x = ((np.arange(wide, dtype=np.float32) + 0.5) / wide - 0.5)[None] * 2
    y = ((np.arange(high, dtype=np.float32) + 0.5) / high)[:, None]
    deep = np.exp(-((x / 0.55) ** 2) - ((y - 0.3) / 0.3) ** 2)
    color = column(style.inside) * (1.08 - 0.35 * deep)
    return Picture(pixels_of(color, np.ones((high, wide), np.float32)), -wide / 2 / UNIT, 0.0, UNIT)
