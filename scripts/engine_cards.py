"""Draws the pictures of templates whose weights never ran here, or are the user's: `python -m scripts.engine_cards`.

A card says what the engine is for, its licence and what memory it wants. It shows no result, for there is none. The
pack's icon is drawn too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from omnisync_core.sheets.drawing import INK, PAPER, RULE, SOFT, Color, Page, shortened

ROOT = Path(__file__).parents[1]
SIDE, EDGE, BAND = 576, 36, 214
QUALITY = 92
HUMO, LTX, LATENTSYNC, XDUB = (74, 124, 196), (38, 128, 140), (150, 92, 168), (176, 112, 40)
SPEAKER = (58, 132, 82)
LIPS, SKIN = (226, 92, 62), (250, 226, 204)
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
    honest: str = HONEST


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
        "OpenRAIL++, of the weights", "8 GB at 512, 6 GB at 256, estimated", "3 files, 5.5 GB", LATENTSYNC,
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
    Card(
        "Speaker LoRA", "LoRA of a speaker",
        ("A bundle with what was learned", "from minutes of one person."),
        "the bundle's", "the bundle's", "your bundle, your LoRA", SPEAKER, "A drawn card: the LoRA is yours.",
    ),
    Card(
        "Speaker LoRA on HuMo 1.7B", "LoRA on HuMo 1.7B",
        ("HuMo with what was learned", "from minutes of one person."),
        "Apache-2.0", "8 GB, estimated", "4 files, 14 GB, your LoRA", HUMO,
    ),
)  # fmt: skip


def main() -> None:
    for card in CARDS:
        options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        data = cv2.imencode(".jpg", draw(card).pixels[..., ::-1], options)[1]
        next((ROOT / "workflows").glob(f"* {card.name}.json")).with_suffix(".jpg").write_bytes(data.tobytes())
    icon().save(ROOT / "docs" / "icon.png")


def draw(card: Card) -> Page:
    page = Page(SIDE, SIDE)
    page.panel(0, 0, SIDE, BAND, _mixed(card.color, PAPER, 0.16), 1)
    SCENES[card.name](page, card)
    page.text(EDGE, 266, card.title, 34, INK, 700)
    for row, line in enumerate(card.purpose):
        page.text(EDGE, 304 + 28 * row, line, 20, INK)
    page.line(EDGE, 358, SIDE - EDGE, 358, RULE, 1.5)
    for row, (name, value) in enumerate((("licence", card.licence), ("memory", card.memory), ("files", card.files))):
        y = 394 + 36 * row
        page.text(EDGE, y, name, 17, SOFT)
        page.text(EDGE + 92, y, shortened(value, SIDE - 2 * EDGE - 92, 19), 19, INK, 600)
    page.panel(0, SIDE - 62, SIDE, 62, card.color, 1)
    page.text(SIDE / 2, SIDE - 25, card.honest, 18, (255, 255, 255), 600, "centre")
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


def _wave(page: Page, start: int, stop: int, y: int, color: Color, tall: float = 1.0) -> None:
    x = np.arange(start, stop, 9.0)
    share = (x - start) / (stop - start)
    high = 5 + 50 * tall * np.abs(np.sin(7.5 * share) * np.sin(23 * share + 0.6)) * np.sin(np.pi * share) ** 0.5
    for at, half in zip(x, high, strict=True):
        page.line(at, y - half, at, y + half, color, 4)


def _arrow(page: Page, x: int, y: int, color: Color) -> None:
    page.curve(np.array([x, x + 34]), np.array([y, y], float), color, 3)
    page.curve(np.array([x + 24, x + 34, x + 24]), np.array([y - 9.0, y, y + 9.0]), color, 3)


def _person(page: Page, x: float, y: float, tall: float, color: Color, opening: float = 0.5) -> None:
    """Head and shoulders down to the band's edge; the head's middle at x, y, `tall` from there to the chin."""
    dark, wide = _mixed(color, INK, 0.55), 0.76 * tall
    across = np.linspace(-1, 1, 80)
    shoulders = y + tall * (2.15 - np.sqrt(1 - across**2))
    seen = shoulders < BAND
    page.area(x + 1.75 * tall * across[seen], shoulders[seen], np.full(seen.sum(), float(BAND)), color)
    page.area(*_filled(x, y - 0.06 * tall, 1.14 * wide, 1.1 * tall), dark)
    neck = np.array([x - 0.3 * tall, x + 0.3 * tall])
    page.area(neck, np.full(2, y + 0.5 * tall), np.full(2, y + 1.32 * tall), _mixed(SKIN, INK, 0.86))
    for side in (-1, 1):
        page.area(*_filled(x + side * wide, y + 0.1 * tall, 0.12 * tall, 0.17 * tall), SKIN)
    page.area(*_filled(x, y, wide, tall), SKIN)
    round_head = tall * np.sqrt(1 - across**2)
    fringe = np.clip(y - tall * (0.42 + 0.16 * across), y - round_head, y + round_head)
    page.area(x + 1.04 * wide * across, y - 1.05 * round_head, fringe, dark)
    for side in (-1, 1):
        eye, brow = x + side * 0.31 * tall, np.linspace(-1, 1, 20)
        page.area(*_filled(eye, y - 0.08 * tall, 0.065 * tall, 0.085 * tall), INK)
        page.curve(eye + 0.15 * tall * brow, y - tall * (0.29 - 0.04 * brow**2), dark, 0.045 * tall)
    page.curve(x + tall * np.array([0, 0.07, 0.0]), y + tall * np.array([0.0, 0.22, 0.25]), _mixed(SKIN, INK, 0.7), 2)
    _mouth(page, x, y + 0.53 * tall, 0.27 * tall, 0.2 * tall * opening)


def _mouth(page: Page, x: float, y: float, half: float, open_by: float) -> None:
    page.area(*_filled(x, y, half, open_by + 0.2 * half), LIPS)
    if open_by > 1:
        page.area(*_filled(x, y, 0.8 * half, open_by), (92, 24, 30))
        page.area(*_filled(x, y - 0.55 * open_by, 0.6 * half, 0.3 * open_by), (255, 252, 246))


def _corners(page: Page, x: float, y: float, half: float, color: Color) -> None:
    """The four corners of a square."""
    for across in (-1, 1):
        for down in (-1, 1):
            x0, y0, leg = x + half * across, y + half * down, 0.35 * half
            page.curve(np.array([x0 - leg * across, x0, x0]), np.array([y0, y0, y0 - leg * down]), color, 3)


def _humo(page: Page, card: Card, tall: float) -> None:
    _wave(page, EDGE, 290, 146, card.color)
    _arrow(page, 302, 146, card.color)
    _person(page, 452, 196 - 1.15 * tall, tall, card.color)
    _corners(page, 452, 196 - 0.62 * tall, 0.4 * tall, INK)


def _latentsync(page: Page, card: Card) -> None:
    """The lower half of the face is drawn anew."""
    _wave(page, EDGE, 290, 146, card.color)
    _arrow(page, 302, 146, card.color)
    x, y, tall = 452, 112, 66
    _person(page, x, y, tall, card.color)
    left, right, top, low = x - 62, x + 62, y + 4, y + 74
    page.area(np.array([left, right]), np.full(2, float(top)), np.full(2, float(low)), (255, 255, 255), 0.35)
    page.curve(np.array([left, right, right, left, left]), np.array([top, top, low, low, top], float), INK, 2.5)


def _xdub(page: Page, card: Card) -> None:
    """The whole face is seen; nothing is covered."""
    soft = _mixed(card.color, PAPER, 0.5)
    for x, color, opening in ((292, soft, 0.0), (470, card.color, 0.8)):
        _person(page, x, 124, 54, color, opening)
        _corners(page, x, 128, 72, INK)
    _wave(page, EDGE, 190, 146, card.color, 0.8)
    _arrow(page, 364, 128, card.color)


def _speaker(page: Page, card: Card) -> None:
    """Many moments of one person, and the person who says something else."""
    soft = _mixed(card.color, PAPER, 0.5)
    for number in range(3):
        x, y = EDGE + 8 + 54 * number, 60 + 22 * number
        page.panel(x, y, 84, 84, (255, 255, 255), 6)
        small = Page(76, 76)
        small.panel(0, 0, 76, 76, soft, 1)
        _person(small, 38, 34, 24, card.color, 0.4 * number)
        page.picture(x + 4, y + 4, small.pixels, (76, 76), 4)
    _arrow(page, 302, 128, card.color)
    _person(page, 452, 112, 60, card.color, 0.8)
    _corners(page, 452, 146, 26, INK)


def _film(page: Page, color: Color) -> None:
    """A film's frame around what is right in the band."""
    page.panel(330, 22, 224, 170, INK, 10)
    page.panel(346, 48, 192, 118, _mixed(color, PAPER, 0.35), 4)
    for hole in range(10):
        for y in (29, 173):
            page.panel(342 + 21 * hole, y, 12, 12, PAPER, 3)


def _ltx_voice(page: Page, card: Card) -> None:
    _wave(page, EDGE, 262, 146, card.color)
    _arrow(page, 276, 146, card.color)
    _film(page, card.color)
    frame = Page(192, BAND)
    frame.panel(0, 0, 192, BAND, _mixed(card.color, PAPER, 0.35), 1)
    _person(frame, 96, 62, 46, card.color)
    page.picture(346, 48, frame.pixels[:118], (192, 118), 4)


def _ltx_edit(page: Page, card: Card) -> None:
    """Words change the picture and its sound."""
    page.panel(EDGE, 96, 206, 84, PAPER, 14)
    for row, wide in enumerate((170, 150, 96)):
        page.line(EDGE + 18, 116 + 22 * row, EDGE + 18 + wide, 116 + 22 * row, card.color if row == 1 else RULE, 7)
    _arrow(page, 276, 138, card.color)
    _film(page, card.color)
    x = np.linspace(346, 538, 60)
    page.area(x, 166 - 34 * np.exp(-(((x - 400) / 44) ** 2)), np.full(60, 166.0), _mixed(card.color, INK, 0.7))
    page.area(*_filled(500, 76, 13, 13), (246, 190, 84))
    _wave(page, 352, 536, 138, PAPER, 0.42)


def _filled(x: float, y: float, wide: float, tall: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    across = np.linspace(-1, 1, 80)
    high = tall * np.sqrt(1 - across**2)
    return x + wide * across, y + high, y - high


def _mixed(color: Color, other: Color, share: float) -> Color:
    return tuple(round(share * one + (1 - share) * two) for one, two in zip(color, other, strict=True))


SCENES: dict[str, Callable[[Page, Card], None]] = {
    "Real person with HuMo 1.7B": partial(_humo, tall=50),
    "Real person with HuMo 17B fp8": partial(_humo, tall=72),
    "Real person with LatentSync": _latentsync,
    "Real person with X-Dub": _xdub,
    "LTX-2 own voice": _ltx_voice,
    "LTX-2 audio-visual edit": _ltx_edit,
    "Speaker LoRA": _speaker,
    "Speaker LoRA on HuMo 1.7B": _speaker,
}

if __name__ == "__main__":
    main()
