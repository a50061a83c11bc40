"""Some clips of a set on one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...media import read_frames
from ...sheets.drawing import SOFT, Page, shortened

COLUMNS, MOST, TILE, EDGE, GAP = 8, 48, 132, 32, 10


def draw_contact(path: Path, clips: Sequence[Path], caption: str) -> None:
    """The first frame of at most 48 clips, spread evenly over all of them; `caption` above."""
    chosen = [clips[round(at)] for at in np.linspace(0, len(clips) - 1, min(MOST, len(clips)))]
    rows = -(-len(chosen) // COLUMNS)
    page = Page(2 * EDGE + COLUMNS * TILE + (COLUMNS - 1) * GAP, 92 + rows * (TILE + 26) + EDGE)
    page.text(EDGE, 50, "Clips", 26, weight=700)
    page.text(EDGE, 76, caption, 14, SOFT)
    for place, clip in enumerate(chosen):
        x, y = EDGE + place % COLUMNS * (TILE + GAP), 92 + place // COLUMNS * (TILE + 26)
        page.picture(x, y, _first(clip), (TILE, TILE))
        page.text(x, y + TILE + 15, shortened(clip.stem[-18:], TILE, 11), 11, SOFT)
    page.save(path)


def _first(clip: Path) -> np.ndarray:
    for frame in read_frames(clip, 0, 1):
        return (frame.rgb() * 255).round().astype(np.uint8)
    raise InputError(f"{clip} has no frames; remove it and run `prepare` again")
