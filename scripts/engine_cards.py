"""Draws the pictures of templates whose weights never ran here, and the pack's icon: `python -m scripts.engine_cards`.

A card says what the engine is for, its licence and what memory it wants. It shows no result, for there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from omnisync_core.sheets.drawing import INK, PAPER, RULE, SOFT, Color, Page, shortened

ROOT = Path(__file__).parents[1]
SIDE, EDGE = 576, 36
QUALITY = 92
HUMO, LTX, LATENTSYNC, XDUB = (74, 124, 196), (38, 128, 140), (150, 92, 168), (176, 112, 40)
LIPS = (226, 92, 62)
HONEST = "A drawn card: these weights were never run here."


@dataclass(frozen=True)
class Card:
    name: str
    """The template's."""
    title: str
    purpose: tuple[str, ...]
    licence: str
    memory: str
    files: str
    color: Color


CARDS = (
    Card(
        "Real person with HuMo 1.7B", "HuMo 1.7B", ("A real person says your sound.", "The small one of the two."),
        "Apache-2.0", "8 GB, estimated", "4 files, 14 GB", HUMO,
    ),
    Card(
        "Real person with HuMo 17B fp8", "HuMo 17B fp8",
        ("A real person says your sound.", "The large one of the two."),
        "Apache-2.0", "24 GB, 12 GB offloaded, estimated", "4 files, 27 GB", HUMO,
    ),
    Card(
        "Real person with LatentSync", "LatentSync 1.5, 1.6",
        ("A real person says your sound.", "The face must be seen."),
        "OpenRAIL++ (weights)", "8 GB at 512, 6 GB at 256, estimated", "3 files, 5.5 GB", LATENTSYNC,
    ),
    Card(
        "Real person with X-Dub", "X-Dub", ("A real person says your sound,", "with no mask over the mouth."),
        "academic research, demonstration", "16 GB, estimated", "5 files, 26 GB", XDUB,
    ),
    Card(
        "LTX-2 own voice", "LTX-2, own voice", ("Your own voice on your own video.", "The sound stays as it is."),
        "LTX-2 Community License", "32 GB, 24 GB offloaded, estimated", "2 files, 36 GB", LTX,
    ),
    Card(
        "LTX-2 audio-visual edit", "LTX-2, picture and sound",
        ("Change what is seen and heard", "by words, up to 121 frames."),
        "LTX-2 Community License", "32 GB, 24 GB offloaded, estimated", "2 files, 36 GB", LTX,
    ),
)  # fmt: skip


def main() -> None:
    for card in CARDS:
        options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        data = cv2.imencode(".jpg", draw(card).pixels[..., ::-1], options)[1]
        (ROOT / "workflows" / f"{card.name}.jpg").write_bytes(data.tobytes())
    icon().save(ROOT / "docs" / "icon.png")


def draw(card: Card) -> Page:
    page = Page(SIDE, SIDE)
    page.panel(0, 0, SIDE, 214, _mixed(card.color, PAPER, 0.16), 1)
    _wave(page, EDGE, 300, 107, card.color)
    _face(page, 440, 107, 78, card.color)
    page.text(EDGE, 266, card.title, 34, INK, 700)
    for row, line in enumerate(card.purpose):
        page.text(EDGE, 304 + 28 * row, line, 20, INK)
    page.line(EDGE, 358, SIDE - EDGE, 358, RULE, 1.5)
    for row, (name, value) in enumerate((("licence", card.licence), ("memory", card.memory), ("files", card.files))):
        y = 394 + 36 * row
        page.text(EDGE, y, name, 17, SOFT)
        page.text(EDGE + 92, y, shortened(value, SIDE - 2 * EDGE - 92, 19), 19, INK, 600)
    page.panel(0, SIDE - 62, SIDE, 62, card.color, 1)
    page.text(SIDE / 2, SIDE - 25, HONEST, 18, (255, 255, 255), 600, "centre")
    return page


def icon() -> Page:
    """A mouth in its square, and the sound that it says."""
    side = 400
    page = Page(side, side)
    page.panel(0, 0, side, side, (28, 34, 46), 1)
    for offset, alpha in ((0, 1.0), (26, 0.45), (52, 0.2)):
        x = np.linspace(40, 360, 200)
        bell = np.exp(-(((x - 200) / 90) ** 2))
        for sign in (-1, 1):
            page.curve(x, 200 + sign * (8 + (70 + offset) * bell), LIPS, 9 if not offset else 4, alpha)
    x = np.linspace(70, 330, 400)
    page.curve(x, 200 + 34 * np.sin(x / 9) * np.exp(-(((x - 200) / 62) ** 2)), (240, 236, 228), 6)
    for across in (-1, 1):
        for down in (-1, 1):
            x0, y0 = 200 + 170 * across, 200 + 150 * down
            page.curve(np.array([x0 - 46 * across, x0, x0]), np.array([y0, y0, y0 - 46 * down]), (143, 180, 255), 7)
    return page


def _wave(page: Page, start: int, stop: int, y: int, color: Color) -> None:
    x = np.arange(start, stop, 9.0)
    share = (x - start) / (stop - start)
    tall = 8 + 58 * np.abs(np.sin(7.5 * share) * np.sin(23 * share + 0.6)) * np.sin(np.pi * share) ** 0.5
    for at, high in zip(x, tall, strict=True):
        page.line(at, y - high, at, y + high, color, 4)
    page.curve(np.array([stop + 8, stop + 40]), np.array([y, y], float), color, 3)
    page.curve(np.array([stop + 30, stop + 40, stop + 30]), np.array([y - 9.0, y, y + 9.0]), color, 3)


def _face(page: Page, x: int, y: int, tall: int, color: Color) -> None:
    turn = np.linspace(0, 2 * np.pi, 120)
    page.area(*_filled(x, y, 0.78 * tall, tall), (255, 255, 255))
    page.curve(x + 0.78 * tall * np.cos(turn), y + tall * np.sin(turn), color, 3)
    for side in (-1, 1):
        page.area(*_filled(x + side * 0.32 * tall, y - 0.22 * tall, 5, 7), INK)
    page.area(*_filled(x, y + 0.42 * tall, 0.27 * tall, 0.14 * tall), LIPS)
    half, middle = 0.4 * tall, y + 0.42 * tall
    for low in np.linspace(-half, half, 9)[:-1]:
        low, high = low, low + half / 7
        for edge in (-half, half):
            page.line(x + low, middle + edge * 0.8, x + high, middle + edge * 0.8, color, 2)
            page.line(x + edge, middle + low * 0.8, x + edge, middle + high * 0.8, color, 2)


def _filled(x: float, y: float, wide: float, tall: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    across = np.linspace(-1, 1, 80)
    high = tall * np.sqrt(1 - across**2)
    return x + wide * across, y + high, y - high


def _mixed(color: Color, other: Color, share: float) -> Color:
    return tuple(round(share * one + (1 - share) * two) for one, two in zip(color, other, strict=True))


if __name__ == "__main__":
    main()
