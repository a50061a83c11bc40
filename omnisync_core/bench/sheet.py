"""The contact sheet of a bench: the mouth at some moments of each clip, source above result (and the truth below)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..manifest import Row
from ..sheets.drawing import INK, RESULT, SOFT, SOURCE, TRUTH, Page, close_up, shortened
from .clip import Clip, like, nearest, read_frames
from .registry import COLUMNS

WIDTH, EDGE, GAP, TOP = 1600, 40, 8, 112
MOMENTS, TILE = 7, 176
FRAME = (232, 148)
"""Room for a whole frame, left of the mouth's moments."""
MOUTHS = 1.8
"""Side of a tile, in mouth widths."""
CHANGED, LEAST = 12, 32
"""Levels of 255 that count as a change, and the least side, pixels, of the region that shows it."""
SHOWN = 8
"""Clips."""
FIGURES = ("share", "sync_r", "leak", "mouth_ssim", "lse_c", "lse_d", "csim", "ssim", "psnr", "cycle", "speed")
"""Figures that a clip's line shows, the first five that are there."""


def write_sheet(path: Path, records: Sequence[Mapping[str, Any]], name: str) -> None:
    """Records of clips that are done, evenly chosen."""
    chosen = [records[at] for at in np.unique(np.linspace(0, len(records) - 1, SHOWN).round().astype(int))]
    blocks = [_block(record) for record in chosen]
    page = Page(WIDTH, TOP + sum(height for height, _ in blocks))
    page.text(EDGE, 58, name, 28, weight=700)
    page.text(EDGE, 86, f"{len(chosen)} of {len(records)} clips", 16, SOFT)
    top = TOP
    for height, draw in blocks:
        draw(page, top)
        top += height
    page.save(path)


def _block(record: Mapping[str, Any]) -> tuple[int, Callable[[Page, int], None]]:
    """A clip's height on the page and what draws it there."""
    clip = _clip(record)
    videos = [("source", clip.source, SOURCE), ("result", clip.result, RESULT)]
    videos += [("truth", clip.truth, TRUTH)] if clip.truth else []
    result = clip.result
    times = result.times_N[np.linspace(0, result.frame_count - 1, MOMENTS).round().astype(int)]
    rows = [list(read_frames(video, nearest(video.times_N, times))) for _, video, _ in videos]
    rows = [[like(picture, rows[0][0]) for picture in row] for row in rows]
    places_T3 = _places(clip, clip.at_source(times), rows)

    def draw(page: Page, top: int) -> None:
        for (label, _, color), pictures in zip(videos, rows, strict=True):
            _draw_frame(page, top, pictures[0], places_T3[0])
            page.text(EDGE, top + TILE - 6, label, 16, color, 600)
            for column, (picture, (x, y, side)) in enumerate(zip(pictures, places_T3, strict=True)):
                left = EDGE + FRAME[0] + GAP + column * (TILE + GAP)
                page.picture(left, top, close_up(picture, x, y, side, TILE), (TILE, TILE))
            top += TILE + GAP
        page.text(EDGE, top + 20, shortened(record["id"], 600, 18), 18, weight=600)
        page.text(WIDTH - EDGE, top + 20, _figures(record), 16, INK, align="right")
        page.line(EDGE, top + 40, WIDTH - EDGE, top + 40)

    return len(videos) * (TILE + GAP) + 60, draw


def _clip(record: Mapping[str, Any]) -> Clip:
    mouth, truth = record["job"]["mouth"], record["truth"]
    row = Row(
        record["number"], record["id"], Path(record["video"]), Path(record["audio"]), truth and Path(truth),
        None if mouth is None else (mouth[0], mouth[1]),
    )  # fmt: skip
    return Clip(row, Path(record["made"]["path"]))


def _places(clip: Clip, numbers_T: np.ndarray, rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """What a tile shows at each moment: middle x, y and side in pixels of the source, of one size in a clip.

    The mouth where it is known, else what the result changed, else the whole frame.
    """
    height, width = rows[0][0].shape[:2]
    try:
        track = clip.track
    except InputError:  # nobody's mouth is found
        return np.tile(_changed(*rows[:2]), (len(numbers_T), 1))
    known_N = np.flatnonzero(track.confidence_N > 0)
    if not len(known_N):
        return np.tile(_changed(*rows[:2]), (len(numbers_T), 1))
    at_T = known_N[nearest(known_N, numbers_T)]
    centers_T2 = track.center_N2[at_T] * (width, height)
    side = MOUTHS * float(np.median(track.width_N[at_T])) * width
    return np.column_stack([centers_T2, np.full(len(at_T), side)])


def _changed(source: Sequence[np.ndarray], result: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """A square around what differs: middle x, y and side."""
    height, width = source[0].shape[:2]
    differs = np.zeros((height, width), bool)
    for one, other in zip(source, result, strict=True):
        differs |= np.abs(one.astype(np.int16) - other).max(-1) >= CHANGED
    y_N, x_N = np.nonzero(differs)
    if not len(x_N):
        return width / 2, height / 2, min(width, height)
    (left, right), (top, bottom) = (np.percentile(values, (1, 99)) for values in (x_N, y_N))
    return (left + right) / 2, (top + bottom) / 2, max(LEAST, 1.1 * max(right - left, bottom - top))


def _draw_frame(page: Page, top: int, picture: np.ndarray, place: np.ndarray) -> None:
    """The whole frame, and in it the square that the first tile shows."""
    height, width = picture.shape[:2]
    scale = min(FRAME[0] / width, FRAME[1] / height)
    page.picture(EDGE, top, picture, (max(1, round(width * scale)), max(1, round(height * scale))))
    side = min(place[2], width, height)
    x, y = (np.clip(place[:2] - side / 2, 0, (width - side, height - side)) * scale + (EDGE, top)).tolist()
    far_x, far_y = x + side * scale, y + side * scale
    page.curve(np.array([x, far_x, far_x, x, x]), np.array([y, y, far_y, far_y, y]), (255, 255, 255), 1.6)


def _figures(record: Mapping[str, Any]) -> str:
    values = {k: v for kept in record["metrics"].values() for k, v in kept["values"].items()}
    shown = [COLUMNS[name] for name in FIGURES if name in values][:5]
    return "   ".join(f"{one.label} {values[one.name] * one.scale:.{min(one.digits, 2)}f}" for one in shown)
