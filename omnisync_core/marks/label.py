"""The visible label: a short text in a corner of every frame."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from ..media.frame import Frame
from .options import Marks

SHARE = 0.035
"""Height of the letters, of the frame's shorter side."""
HDR_WHITE = 0.6
"""Of PQ's range: what lamps show as white, not as the sun."""
_FONT, _BASE_HEIGHT = cv2.FONT_HERSHEY_SIMPLEX, 22


def draw_label(frame: Frame, marks: Marks) -> Frame:
    """The frame with the label; beside it every sample stays."""
    box, ink_HW, shade_HW = _place(frame.width, frame.height, marks.label, marks.corner)
    before_HWC = frame.rgb(box)
    white = HDR_WHITE if frame.is_hdr else 1.0
    dark_HWC = before_HWC * (1 - marks.opacity * shade_HW[..., None])
    after_HWC = dark_HWC + marks.opacity * ink_HW[..., None] * (white - dark_HWC)
    return frame.add_rgb(box, after_HWC - before_HWC)


@lru_cache(maxsize=2)
def _place(width: int, height: int, text: str, corner: str) -> tuple[tuple[int, int, int, int], np.ndarray, np.ndarray]:
    """The label's box in the frame, how much of each pixel is letter and how much is their dark rim, 0..1."""
    scale = max(8.0, SHARE * min(width, height)) / _BASE_HEIGHT
    thick = max(1, round(2 * scale))
    (wide, tall), below = cv2.getTextSize(text, _FONT, scale, thick)
    margin = 2 * thick + 1
    size = tall + below + 2 * margin, wide + 2 * margin
    ink_HW = np.zeros(size, np.uint8)
    cv2.putText(ink_HW, text, (margin, margin + tall), _FONT, scale, 255, thick, cv2.LINE_AA)
    # Of these very letters: drawn once more, thicker, OpenCV 5 sets them wider apart.
    shade_HW = cv2.dilate(ink_HW, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * thick + 1, 2 * thick + 1)))
    rows, columns = min(size[0], height), min(size[1], width)
    top = 0 if corner.startswith("top") else height - rows
    left = 0 if corner.endswith("left") else width - columns
    ink, shade = (mask[:rows, :columns].astype(np.float32) / 255 for mask in (ink_HW, shade_HW))
    return (left, top, left + columns, top + rows), ink, shade
