"""The contact sheet of a bench: some moments of each clip, source above result (and the truth below)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import media
from ..sheets.drawing import INK, RESULT, SOFT, SOURCE, TRUTH, Page, shortened
from .clip import nearest, read_frames

WIDTH, EDGE, LEFT, COLUMNS, GAP, HIGH = 1600, 40, 140, 8, 8, 150
SHOWN = 12
"""Clips."""
FIGURES = ("share", "sync_r", "leak", "lse_c", "lse_d", "ssim", "psnr", "cycle", "speed")
"""Figures that a clip's line shows, the first three that are there."""


def write_sheet(path: Path, records: Sequence[Mapping[str, Any]], name: str) -> None:
    """Records of clips that are done, evenly chosen."""
    chosen = [records[at] for at in np.unique(np.linspace(0, len(records) - 1, SHOWN).round().astype(int))]
    blocks = [_block(record) for record in chosen]
    page = Page(WIDTH, 110 + sum(height for height, _ in blocks))
    page.text(EDGE, 58, name, 28, weight=700)
    page.text(EDGE, 86, f"{len(chosen)} of {len(records)} clips", 16, SOFT)
    top = 110
    for height, draw in blocks:
        draw(page, top)
        top += height
    page.save(path)


def _block(record: Mapping[str, Any]) -> tuple[int, Callable[[Page, int], None]]:
    """A clip's height on the page and what draws it there."""
    kinds = [("source", record["video"], SOURCE), ("result", record["made"]["path"], RESULT)]
    kinds += [("truth", record["truth"], TRUTH)] if record["truth"] else []
    videos = [(label, media.probe_video(path), color) for label, path, color in kinds]
    result = videos[1][1]
    times = result.times_N[np.linspace(0, result.frame_count - 1, COLUMNS).round().astype(int)]
    wide = (WIDTH - EDGE - LEFT - (COLUMNS - 1) * GAP) // COLUMNS
    first = videos[0][1]
    high = max(40, min(HIGH, round(wide * first.height / first.width)))

    def draw(page: Page, top: int) -> None:
        page.line(EDGE, top, WIDTH - EDGE, top)
        page.text(EDGE, top + 26, shortened(record["id"], 500, 18), 18, weight=600)
        page.text(WIDTH - EDGE, top + 26, _figures(record), 15, INK, align="right")
        for row, (label, video, color) in enumerate(videos):
            y = top + 42 + row * (high + GAP)
            page.text(EDGE, y + high / 2, label, 16, color, 600)
            for column, picture in enumerate(read_frames(video, nearest(video.times_N, times))):
                page.picture(LEFT + column * (wide + GAP), y, _fitted(picture, wide, high), (wide, high))

    return 50 + len(videos) * (high + GAP), draw


def _figures(record: Mapping[str, Any]) -> str:
    values = {k: v for kept in record["metrics"].values() for k, v in kept["values"].items()}
    return " · ".join(
        f"{name.replace('_', ' ')} {values[name]:.2f}" for name in [n for n in FIGURES if n in values][:3]
    )


def _fitted(picture: np.ndarray, wide: int, high: int) -> np.ndarray:
    """The middle of a picture, as wide over high as its place."""
    height, width = picture.shape[:2]
    side, tall = min(width, round(height * wide / high)), min(height, round(width * high / wide))
    x, y = (width - side) // 2, (height - tall) // 2
    return picture[y : y + max(1, tall), x : x + max(1, side)]
