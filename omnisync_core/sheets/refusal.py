"""A point that is no mouth, as a picture: the frame, where the user pointed, and the mouths that are seen."""

from __future__ import annotations

import cv2
import numpy as np

from ..errors import NoMouthHereError
from .drawing import SOFT, Page

POINT, MOUTH, DARK = (255, 96, 60), (63, 193, 207), (30, 30, 34)
LARGEST = 900
EDGE = 28


def draw_refusal(error: NoMouthHereError) -> np.ndarray:
    """uint8 RGB; the frame at most LARGEST pixels on its longer side."""
    height, width = error.rgb_HWC.shape[:2]
    scale = min(2.0, LARGEST / max(height, width))
    size = round(width * scale), round(height * scale)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = np.ascontiguousarray(cv2.resize(error.rgb_HWC, size, interpolation=interpolation))
    for x, y, wide, _ in error.seen:
        _oval(image, x * scale, y * scale, wide * scale)
    _cross(image, error.point[0] * scale, error.point[1] * scale)
    page = Page(max(size[0], 420) + 2 * EDGE, size[1] + 132)
    page.text(EDGE, 46, "No mouth at the point", 24, weight=700)
    page.picture(EDGE, 66, image, size)
    foot = 66 + size[1] + 30
    for x, color, label in ((EDGE, POINT, "the point"), (EDGE + 130, MOUTH, "a mouth is seen here")):
        page.panel(x, foot - 11, 12, 12, color, 6)
        page.text(x + 20, foot, label, 15, SOFT)
    return page.pixels


def _oval(image: np.ndarray, x: float, y: float, wide: float) -> None:
    middle, axes = (round(x), round(y)), (max(6, round(0.65 * wide)), max(4, round(0.4 * wide)))
    for color, line in ((DARK, 5), (MOUTH, 3)):
        cv2.ellipse(image, middle, axes, 0, 0, 360, color, line, cv2.LINE_AA)


def _cross(image: np.ndarray, x: float, y: float) -> None:
    """Four ticks around the point, which itself stays free."""
    for color, line in ((DARK, 6), (POINT, 3)):
        for across, down in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            ends = [(round(x + far * across), round(y + far * down)) for far in (9, 26)]
            cv2.line(image, *ends, color, line, cv2.LINE_AA)
