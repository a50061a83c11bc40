"""A mouth track as one picture: frames with the mouth and the crop marked, and over time who says where it is."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np

from ..crop import region
from ..mouth import MouthTrack
from ..spec import VideoSpec
from .drawing import INK, RULE, SOFT, Page, shortened

WIDTH, EDGE, GAP = 1280, 32, 12
TILES, TALLEST = 12, 340
"""How many frames are shown, and the most pixels of their height."""
SMALL = 640
MOUTH, CROP = (255, 96, 60), (255, 255, 255)
COLORS = {
    "user": (226, 92, 62), "landmarks": (38, 128, 140), "detector": (74, 124, 196), "finder": (112, 164, 74),
    "filled": (214, 164, 60), "fallback": (170, 170, 178), "none": (222, 218, 212),
}  # fmt: skip
"""By who says so; `none`: no mouth to edit."""
WARNINGS = 3


class Samples:
    """Some frames of a video of unknown length, evenly spread, small: at most twice `count` are held."""

    def __init__(self, count: int = TILES) -> None:
        self._count, self._every, self._seen = count, 1, 0
        self._kept: list = []

    def add(self, rgb_HWC: np.ndarray) -> None:
        """The next frame: uint8 or float 0..1."""
        if self._seen % self._every == 0:
            self._kept.append((self._seen, _small(rgb_HWC)))
            if len(self._kept) > 2 * self._count:
                self._kept, self._every = self._kept[::2], 2 * self._every
        self._seen += 1

    def chosen(self) -> list[tuple[int, np.ndarray]]:
        """At most `count` frames with their numbers, the first among them."""
        places = np.linspace(0, len(self._kept) - 1, min(self._count, len(self._kept)))
        return [self._kept[round(place)] for place in places]


def draw(track: MouthTrack, frames: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """The sheet, uint8 RGB, at most 1280 pixels wide and some 900 high."""
    regions = region.plan_crops(track, VideoSpec())
    across, along = frames[0][1].shape[1::-1]
    columns = min(4 if across > 1.2 * along else 6, max(3, len(frames)))
    wide = (WIDTH - 2 * EDGE - GAP * (columns - 1)) // columns
    ratio = min(wide / across, TALLEST / along)
    tile = max(8, round(across * ratio)), max(8, round(along * ratio))
    rows = -(-len(frames) // columns)
    notes = track.warnings[:WARNINGS]
    bottom = 96 + rows * (tile[1] + 34)
    page = Page(WIDTH, bottom + 110 + 24 * len(notes))
    page.text(EDGE, 52, "Mouth track", 26, weight=700)
    page.text(WIDTH - EDGE, 50, _summary(track), 16, SOFT, align="right")
    for place, (number, picture) in enumerate(frames):
        x, y = EDGE + place % columns * (wide + GAP), 80 + place // columns * (tile[1] + 34)
        page.picture(x, y, _marked(picture, track, regions, number, tile), tile)
        who = _who(track, number)
        page.panel(x, y + tile[1] + 9, 10, 10, COLORS[who], 5)
        label = f"{track.pts_N[number]:.2f} s · {'no mouth' if who == 'none' else who}"
        page.text(x + 16, y + tile[1] + 19, label, 13, SOFT)
    _strip(page, track, bottom + 14)
    for row, note in enumerate(notes):
        page.text(EDGE, bottom + 106 + 24 * row, "! " + shortened(note, WIDTH - 2 * EDGE - 20, 14), 14, INK)
    return page.pixels


def _summary(track: MouthTrack) -> str:
    frames, shots = len(track.pts_N), len(np.unique(track.shot_N))
    counts = f"{frames} frame{'s' * (frames != 1)}, {shots} shot{'s' * (shots != 1)}"
    return f"{counts}, {track.frame_size[0]}×{track.frame_size[1]}"


def _who(track: MouthTrack, number: int) -> str:
    return str(track.source_N[number]) if track.confidence_N[number] > 0 else "none"


def _marked(
    picture: np.ndarray, track: MouthTrack, regions: list[region.ShotCrop], number: int, tile: tuple[int, int]
) -> np.ndarray:
    """A frame, twice as large as its tile, with its mouth's ellipse and its crop's square."""
    size = 2 * tile[0], 2 * tile[1]
    image = np.ascontiguousarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    if _who(track, number) == "none":
        return (image * 0.45 + 140).astype(np.uint8)
    box = next(r for r in regions if r.start <= number < r.stop).box(number)
    scale = np.array(size) / track.frame_size
    low, high = (tuple(np.rint(v * scale).astype(int).tolist()) for v in _corners(box))
    middle = tuple(np.rint(track.center_N2[number] * size).astype(int).tolist())
    half = max(2, round(track.width_N[number] * size[0] / 2))
    for color, width in (((30, 30, 34), 2), (None, 0)):
        cv2.rectangle(image, low, high, color or CROP, 2 + width, cv2.LINE_AA)
        cv2.ellipse(image, middle, (half, max(1, half // 2)), 0, 0, 360, color or MOUTH, 3 + width, cv2.LINE_AA)
    return image


def _corners(box: region.Box) -> tuple[np.ndarray, np.ndarray]:
    low = np.array([box.x0, box.y0])
    return low, low + box.side


def _strip(page: Page, track: MouthTrack, y: int) -> None:
    """The whole track over time: a colour per frame by who says so, ticks at cuts, and the colours' names."""
    wide, frames = WIDTH - 2 * EDGE, len(track.pts_N)
    who_N = np.array([_who(track, number) for number in range(frames)])
    shown = who_N[np.minimum(np.arange(wide) * frames // wide, frames - 1)]
    page.picture(EDGE, y, np.array([COLORS[who] for who in shown], np.uint8)[None], (wide, 20))
    for cut in np.flatnonzero(np.diff(track.shot_N)) + 1:
        at = EDGE + wide * float(cut) / frames
        page.line(at, y - 5, at, y + 25, INK, 1.5)
    page.line(EDGE, y + 34, WIDTH - EDGE, y + 34, RULE)
    x = EDGE
    for who, count in Counter(who_N.tolist()).most_common():
        page.panel(x, y + 46, 12, 12, COLORS[who], 6)
        page.text(x + 20, y + 57, f"{'no mouth' if who == 'none' else who} {count}", 14, SOFT)
        x += 150


def _small(rgb_HWC: np.ndarray) -> np.ndarray:
    """At most SMALL on its longer side, uint8."""
    height, width = rgb_HWC.shape[:2]
    ratio = min(1.0, SMALL / max(width, height))
    if ratio < 1:
        size = max(1, round(width * ratio)), max(1, round(height * ratio))
        rgb_HWC = cv2.resize(rgb_HWC, size, interpolation=cv2.INTER_AREA)
    if rgb_HWC.dtype != np.uint8:
        rgb_HWC = (np.clip(rgb_HWC, 0, 1) * 255 + 0.5).astype(np.uint8)
    return rgb_HWC
