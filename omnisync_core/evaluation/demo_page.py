"""The demonstration's figures and its picture. Needs neither training nor the synthesiser."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..audio import SpeechWave
from ..sheets.drawing import INK, RESULT, RULE, SOFT, SOURCE, TRUTH, Page, close_up, curves, legend, moments, shortened
from ..sheets.reader import CROP_DOWN, CROP_SCALE, read_opening
from .area import outside, placement_of
from .figures import ClipFigures, clip_figures

__all__ = ["draw", "measure", "near_mouth", "outside", "placement_of"]

WIDTH, EDGE, LEFT, COLUMNS, GAP = 1600, 48, 148, 6, 10
TILE = (WIDTH - EDGE - LEFT - (COLUMNS - 1) * GAP) // COLUMNS
RIGHT = LEFT + COLUMNS * (TILE + GAP) - GAP
TOP = 132
STRIP = TOP + 3 * (TILE + GAP) + 74
HEIGHT = STRIP + 322
SHOWN, ABOVE = 3.3, 0.55
"""Mouth widths that a close-up is wide, and that its middle lies above the mouth."""
REACH = (SHOWN / 2, SHOWN / 2 + ABOVE, SHOWN / 2, max(SHOWN / 2 - ABOVE, CROP_SCALE / 2 + CROP_DOWN))
"""Mouth widths to the left, above, to the right and below that a close-up or the reader of openings looks at."""


def near_mouth(truth: dict, frame_size: tuple[int, int]) -> tuple[tuple[slice, slice], dict]:
    """Columns and rows that hold all that is measured and shown of a clip, and its mouth.json as seen from there."""
    center_T2, box_T4 = np.array(truth["mouth_center_xy"]), np.array(truth["mouth_box_xyxy"])
    before_2, after_2 = truth["mouth_width"] * np.reshape(REACH, (2, 2))
    first = np.minimum(box_T4[:, :2].min(0), np.floor(center_T2.min(0) - before_2)).astype(int).clip(0)
    last = np.maximum(box_T4[:, 2:].max(0), np.ceil(center_T2.max(0) + after_2)).astype(int).clip(None, frame_size)
    columns, rows = (slice(*ends) for ends in zip(first.tolist(), last.tolist(), strict=True))
    from_there = {"mouth_center_xy": center_T2 - first, "mouth_box_xyxy": box_T4 - np.tile(first, 2)}
    return (columns, rows), truth | from_there


def measure(frames: dict[str, np.ndarray], truth: dict, far: float) -> tuple[dict[str, np.ndarray], ClipFigures]:
    """Openings and figures of frames `source`, `result` and `truth` near the mouth; `far` is `outside` of the whole."""
    openings = {name: np.array(truth[name]["opening"]) for name in ("source", "truth")}
    openings["result"] = read_opening(frames["result"], truth["mouth_center_xy"], truth["mouth_width"])
    return openings, clip_figures(
        "demo", truth["family"], truth["occluded"], frames, openings, truth["mouth_box_xyxy"], far
    )


def draw(
    frames: dict[str, np.ndarray], openings: dict[str, np.ndarray], truth: dict, report: dict, sound: Path
) -> Page:
    """The same moments of source, result and truth; below them the sound and the mouths over time."""
    page = Page(WIDTH, HEIGHT)
    page.text(EDGE, 66, "OmniSync", 40, weight=700)
    page.text(EDGE, 102, "The same video, another sound: the mouth says it, every other pixel stays.", 20, SOFT)
    words = shortened(truth["target_text"], WIDTH / 2, 17)
    page.text(RIGHT, 66, f"“{words}”", 17, INK, align="right")
    shown = moments(openings["source"], openings["truth"], COLUMNS)
    labels = (("source", "the video", SOURCE), ("result", "says the sound", RESULT), ("truth", "drawn exactly", TRUTH))
    for row, (name, words, color) in enumerate(labels):
        top = TOP + row * (TILE + GAP)
        page.text(EDGE, top + TILE / 2, name, 22, color, 700)
        page.text(EDGE, top + TILE / 2 + 22, words, 13, SOFT)
        for column, frame in enumerate(shown):
            (x, y), width = truth["mouth_center_xy"][frame], truth["mouth_width"]
            tile = close_up(frames[name][frame], x, y - ABOVE * width, SHOWN * width, TILE)
            page.picture(LEFT + column * (TILE + GAP), top, tile, (TILE, TILE), 10)
    _draw_time(page, openings, shown, sound)
    numbers = (
        f"recovered {report['recovered_share']:.0%} of the change · sync r {report['sync_r']:.2f} · "
        f"leak {report['leak']:.2f} · changed elsewhere {report['far_outside_max']:.0f}"
    )
    page.text(RIGHT, HEIGHT - 34, numbers, 16, INK, 600, align="right")
    legend(page, LEFT, HEIGHT - 34, 15)
    return page


def _draw_time(page: Page, openings: dict[str, np.ndarray], shown: list[int], sound: Path) -> None:
    """The sound's waveform over the openings, tied to the moments above."""
    count, width = len(openings["truth"]), RIGHT - LEFT
    middle, half, bottom = STRIP + 36, 34, HEIGHT - 76
    for column, frame in enumerate(shown):
        x = LEFT + (frame + 0.5) / count * width
        above = LEFT + column * (TILE + GAP) + TILE / 2
        bend = np.linspace(0, 1, 24)
        page.curve(above + (x - above) * bend * bend * (3 - 2 * bend), STRIP - 78 + 72 * bend, RULE, 2)
        page.line(x, STRIP - 6, x, bottom, RULE, 2)
    wave = SpeechWave(sound)
    samples = wave.read(0, wave.duration)
    levels = np.array([np.abs(part).max() for part in np.array_split(samples, width // 3)])
    levels = levels / max(float(levels.max()), 1e-6) * half
    across = np.linspace(LEFT, LEFT + width, len(levels))
    page.area(across, middle - levels - 0.7, middle + levels + 0.7, INK, 0.55)
    page.text(EDGE, middle + 5, "sound", 15, SOFT, 600)
    page.text(EDGE, bottom - 50, "mouth", 15, SOFT, 600)
    page.text(EDGE, bottom - 32, "opening", 13, SOFT)
    curves(page, LEFT, STRIP + 92, width, bottom - STRIP - 92, openings)
