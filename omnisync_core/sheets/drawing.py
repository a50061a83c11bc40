"""Pictures of results: a page with text, frames and curves, drawn with OpenCV alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

Color = tuple[int, int, int]

PAPER, INK, SOFT, RULE = (250, 248, 244), (40, 42, 48), (128, 130, 138), (226, 222, 214)
SOURCE, RESULT, TRUTH = (150, 152, 160), (226, 92, 62), (38, 128, 140)
_FINE = 4
"""Curves are drawn this much larger and averaged down."""


class Page:
    """A light page, RGB; all lengths are pixels, y grows downwards."""

    def __init__(self, width: int, height: int) -> None:
        self.pixels = np.full((height, width, 3), PAPER, np.uint8)

    def save(self, path: Path) -> None:
        _, data = cv2.imencode(".png", self.pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
        Path(path).write_bytes(data.tobytes())

    def text(self, x: float, y: float, text: str, size: int = 16, color: Color = INK, weight: int = 400,
             align: str = "left") -> None:  # fmt: skip
        """A line of text, its baseline at y; align: left, centre or right of x."""
        shift = {"left": 0.0, "centre": 0.5, "right": 1.0}[align] * text_width(text, size, weight)
        at = (round(x - shift), round(y))
        if _FACE is not None:
            cv2.putText(self.pixels, text, at, color, _FACE, size, weight)
            return
        scale = _hershey_scale(size)
        thick = 2 if weight >= 600 else 1
        cv2.putText(self.pixels, _plain(text), at, cv2.FONT_HERSHEY_SIMPLEX, scale, color, thick, cv2.LINE_AA)

    def picture(self, x: int, y: int, rgb_HWC: np.ndarray, side: tuple[int, int], radius: int = 6) -> None:
        """A picture scaled to `side` (width, height), with round corners."""
        shrinks = rgb_HWC.shape[1] >= side[0]
        image = cv2.resize(rgb_HWC, side, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        mask = _round(side, radius)[..., None]
        part = self.pixels[y : y + side[1], x : x + side[0]]
        part[:] = np.rint(image * mask + part * (1 - mask)).astype(np.uint8)

    def panel(self, x: int, y: int, width: int, height: int, color: Color = (255, 255, 255), radius: int = 10) -> None:
        self.picture(x, y, np.full((4, 4, 3), color, np.uint8), (width, height), radius)

    def line(self, x0: float, y0: float, x1: float, y1: float, color: Color = RULE, width: float = 1) -> None:
        self.curve(np.array([x0, x1], float), np.array([y0, y1], float), color, width)

    def curve(self, x_N: np.ndarray, y_N: np.ndarray, color: Color, width: float = 2, alpha: float = 1.0) -> None:
        """A smooth line through the points."""
        self._paint(np.stack([x_N, y_N], -1), color, alpha, width)

    def area(self, x_N: np.ndarray, low_N: np.ndarray, high_N: np.ndarray, color: Color, alpha: float = 1.0) -> None:
        """What lies between two curves."""
        outline = np.concatenate([np.stack([x_N, low_N], -1), np.stack([x_N, high_N], -1)[::-1]])
        self._paint(outline, color, alpha, None)

    def _paint(self, points_N2: np.ndarray, color: Color, alpha: float, width: float | None) -> None:
        margin = 2 + (width or 0)
        low = np.maximum(np.floor(points_N2.min(0) - margin), 0).astype(int)
        high = np.minimum(np.ceil(points_N2.max(0) + margin), self.pixels.shape[1::-1]).astype(int)
        if (high <= low).any():
            return
        fine = np.zeros((high - low)[::-1] * _FINE, np.uint8)
        points = np.rint(((points_N2 - low) * _FINE - 0.5) * 16).astype(np.int32)
        if width is None:
            cv2.fillPoly(fine, [points], 255, cv2.LINE_AA, 4)
        else:
            cv2.polylines(fine, [points], False, 255, max(1, round(width * _FINE)), cv2.LINE_AA, 4)
        small = cv2.resize(fine, tuple(int(v) for v in high - low), interpolation=cv2.INTER_AREA)
        mask = small[..., None] / 255 * alpha
        part = self.pixels[low[1] : high[1], low[0] : high[0]]
        part[:] = np.rint(part * (1 - mask) + np.array(color) * mask).astype(np.uint8)


def shortened(text: str, width: float, size: int) -> str:
    """The first words that fit."""
    words = text.split()
    while len(words) > 1 and text_width(" ".join(words) + " …", size) > width:
        words.pop()
    return " ".join(words) if " ".join(words) == text else " ".join(words) + " …"


def text_width(text: str, size: int, weight: int = 400) -> float:
    if _FACE is not None:
        return cv2.getTextSize((8, 8), text, (0, 0), _FACE, size, weight)[2]
    return cv2.getTextSize(_plain(text), cv2.FONT_HERSHEY_SIMPLEX, _hershey_scale(size), 1)[0][0]


def close_up(frame_HWC: np.ndarray, x: float, y: float, side: float, pixels: int) -> np.ndarray:
    """A square around x, y, moved inside the frame where it overhangs, as `pixels` x `pixels`."""
    height, width = frame_HWC.shape[:2]
    side = min(side, width, height)
    x0, y0 = np.clip(x - side / 2, 0, width - side), np.clip(y - side / 2, 0, height - side)
    part = frame_HWC[round(y0) : round(y0 + side), round(x0) : round(x0 + side)]
    return cv2.resize(part, (pixels, pixels), interpolation=cv2.INTER_AREA if side > pixels else cv2.INTER_CUBIC)


def moments(source_T: np.ndarray, truth_T: np.ndarray, count: int) -> list[int]:
    """In each of `count` stretches of time a frame where the two mouths differ most, rather an open one."""
    parts = np.array_split(np.abs(np.asarray(source_T) - truth_T) + 0.5 * np.asarray(truth_T), count)
    starts = np.cumsum([0] + [len(part) for part in parts[:-1]])
    return [int(start + part.argmax()) for start, part in zip(starts, parts, strict=True)]


def curves(page: Page, x: int, y: int, width: int, height: int, openings: dict[str, np.ndarray]) -> None:
    """Openings over time: the true one as an area, the result's as a line, the source's thin."""
    top = max(1.0, *(float(np.max(values)) for values in openings.values()))
    base = y + height

    def place(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.linspace(x, x + width, len(values)), base - np.clip(values, 0, None) / top * height

    across, truth = place(openings["truth"])
    page.area(across, np.full(len(across), float(base)), truth, TRUTH, 0.16)
    page.curve(across, truth, TRUTH, 1.6)
    page.curve(*place(openings["source"]), SOURCE, 1.4, 0.8)
    page.curve(*place(openings["result"]), RESULT, 2.4)
    page.line(x, base, x + width, base, RULE, 1)


def legend(page: Page, x: int, y: int, size: int = 14) -> None:
    for label, color, wide in (("result", RESULT, 62), ("truth", TRUTH, 58), ("source", SOURCE, 66)):
        page.line(x, y - 5, x + 18, y - 5, color, 3)
        page.text(x + 24, y, label, size, SOFT)
        x += 24 + wide


def _round(side: tuple[int, int], radius: int) -> np.ndarray:
    """A rectangle with round corners, 0..1."""
    fine = np.zeros((side[1] * _FINE, side[0] * _FINE), np.uint8)
    r, (w, h) = radius * _FINE, (side[0] * _FINE - 1, side[1] * _FINE - 1)
    cv2.rectangle(fine, (r, 0), (w - r, h), 255, -1)
    cv2.rectangle(fine, (0, r), (w, h - r), 255, -1)
    for x, y in ((r, r), (w - r, r), (r, h - r), (w - r, h - r)):
        cv2.circle(fine, (x, y), r, 255, -1)
    return cv2.resize(fine, side, interpolation=cv2.INTER_AREA) / 255


def _hershey_scale(size: int) -> float:
    return size / 30


def _plain(text: str) -> str:
    """OpenCV before 5 draws ASCII alone."""
    return text.translate(str.maketrans("–·×“”…", '-|x"".')).encode("ascii", "replace").decode()


_FACE = cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None
"""OpenCV 5 brings a typeface."""
