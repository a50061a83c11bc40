"""The sheet of an evaluation: for several clips what was given, what came out and what is true, with the curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..sheets.drawing import INK, RESULT, SOFT, SOURCE, TRUTH, Page, close_up, curves, legend, moments
from ..synth.clips import read_clip, read_video
from .bench import Measured

WIDTH, EDGE = 1600, 40
TILE, GAP, MOMENTS = 96, 6, 8
BLOCK = 3 * (TILE + GAP) + 66
SHOWN = 8


def write_sheet(path: Path, measured: Sequence[Measured], name: str, title: str) -> None:
    """The results `<name>.mkv` of at most `SHOWN` clips, as many families as there are first."""
    chosen = _varied(measured)
    page = Page(WIDTH, 120 + BLOCK * len(chosen))
    page.text(EDGE, 58, title, 28, weight=700)
    page.text(EDGE, 86, "Drawn characters, voices and sentences that the model never met.", 16, SOFT)
    for row, one in enumerate(chosen):
        _block(page, 120 + row * BLOCK, one, name)
    page.save(path)


def _block(page: Page, y: int, one: Measured, name: str) -> None:
    clip, figures = read_clip(one.folder), one.figures
    result = read_video(one.folder / f"{name}.mkv")
    page.line(EDGE, y, WIDTH - EDGE, y)
    page.text(EDGE, y + 30, clip.family.replace("/", " · "), 18, weight=600)
    page.text(EDGE + 190, y + 30, f"“{clip.caption}”", 15, SOFT)
    rows = (("source", clip.source_frames, SOURCE), ("result", result, RESULT), ("truth", clip.truth_frames, TRUTH))
    left = EDGE + 64
    for row, (label, frames, color) in enumerate(rows):
        top = y + 48 + row * (TILE + GAP)
        page.text(EDGE, top + TILE / 2 + 5, label, 15, color, 600)
        for column, frame in enumerate(moments(clip.source_mouth_T5[:, 0], clip.truth_mouth_T5[:, 0], MOMENTS)):
            x0, y0 = clip.center_T2[frame] + (0, 0.15 * clip.width)
            tile = close_up(frames[frame], x0, y0, 2.3 * clip.width, TILE)
            page.picture(left + column * (TILE + GAP), top, tile, (TILE, TILE))
    right = left + MOMENTS * (TILE + GAP) + 34
    openings = {
        "source": clip.source_mouth_T5[:, 0], "truth": clip.truth_mouth_T5[:, 0], "result": one.opening_T,
    }  # fmt: skip
    curves(page, right, y + 84, WIDTH - EDGE - right, 3 * (TILE + GAP) - 50, openings)
    legend(page, right, y + 64)
    line = f"recovered {figures.share:.2f} · sync r {figures.sync_r:.2f} · leak {figures.leak:.2f}"
    page.text(WIDTH - EDGE, y + 30, line, 15, INK, align="right")


def _varied(measured: Sequence[Measured]) -> list[Measured]:
    """In the clips' order, a new family before a known one."""
    seen: dict[str, int] = {}
    ranked = []
    for place, one in enumerate(measured):
        seen[one.figures.family] = seen.get(one.figures.family, 0) + 1
        ranked.append((seen[one.figures.family], place, one))
    return [one for _, _, one in sorted(ranked, key=lambda item: item[:2])][:SHOWN]
