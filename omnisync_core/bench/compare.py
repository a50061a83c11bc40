"""Two versions of a clip side by side: figures of how near one is to the other, and a picture that shows where not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..errors import InputError
from ..evaluation import structure
from ..sheets.drawing import INK, RESULT, SOFT, TRUTH, Page
from .clip import Moment
from .measure import Column, Measure, Taken, Taking, opened, take_moments
from .pictures import against_truth, without_reference

OWN = (
    Column("equal", "equal frames, %", scale=100), Column("largest", "largest difference, of 255", "lower"),
    Column("error", "root of the mean square, of 255", "lower"), Column("own_ssim", "SSIM of the grey pictures"),
    Column("own_gmsd", "GMSD of the grey pictures", "lower"), Column("own_edges", "edges over the reference's", ""),
)  # fmt: skip
WIDTH, EDGE, LEFT, SHOWN, GAP = 1280, 32, 120, 6, 8
AMPLIFIED = 4
"""Times that differences are enlarged in the picture."""


@dataclass(frozen=True)
class Comparison:
    """Figures by label with who computes them, and why others are missing."""

    rows: tuple[tuple[str, float, str], ...]
    lacking: tuple[str, ...]
    picture: np.ndarray
    """uint8 RGB, 1280 pixels wide."""

    def markdown(self) -> str:
        lines = ["| metric | value | by |", "|---|---|---|"]
        lines += [f"| {label} | {value:.4g} | {by} |" for label, value, by in self.rows]
        return "\n".join([*lines, *([""] if self.lacking else []), *(f"* {line}" for line in self.lacking)])


def compare(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], folder: Path | None = None, device: str = "cpu"
) -> Comparison:
    """Pairs of uint8 pictures (result, reference) of one size, in order; metrics of libraries where they are there.

    InputError: no pairs, or pictures of two sizes.
    """
    metrics = [*against_truth(), *without_reference()]
    measures, lacking = opened(metrics, folder, device)
    kept: list[tuple[np.ndarray, np.ndarray]] = []

    def moments() -> Iterable[Moment]:
        for index, (result, reference) in enumerate(pairs):
            if result.shape != reference.shape:
                raise InputError(f"the two are of different sizes: {_size(result)} and {_size(reference)}; scale one")
            kept.append((_small(result), _small(reference)))
            yield Moment(index, 0, result, reference, reference, None)

    taken = take_moments(moments(), {"own": Own(), **measures})
    if not kept:
        raise InputError("there are no frames to compare")
    columns = {column.name: (column, "this project") for column in OWN}
    columns |= {column.name: (column, metric.by) for metric in metrics for column in metric.columns}
    values = {name: value for one in taken.values() for name, value in one.values.items() if math.isfinite(value)}
    rows = [
        (columns[name][0].label, value * columns[name][0].scale, columns[name][1]) for name, value in values.items()
    ]
    notes = {**lacking, **{name: one.note for name, one in taken.items() if one.note}}
    return Comparison(tuple(rows), tuple(f"{name}: {why}" for name, why in notes.items()), _draw(kept, values))


class Own(Measure):
    """What needs no library."""

    def begin(self, clip: object) -> Taking:
        return _Own()


class _Own(Taking):
    def __init__(self) -> None:
        self._rows: list[tuple[float, ...]] = []

    def see(self, moment: Moment) -> None:
        a, b = moment.result, moment.source
        difference = np.abs(a.astype(np.int16) - b)
        height, width = a.shape[:2]
        structural = structure.compare(a[None], b[None], np.array([[0, 0, width, height]]))
        self._rows.append((float(difference.max()), float(np.square(difference.astype(float)).mean()), *structural))

    def finish(self) -> Taken:
        if not self._rows:
            return Taken()
        largest, square, ssim, gmsd, edges, edges_true = np.transpose(self._rows)
        return Taken({
            "equal": float((largest == 0).mean()), "largest": float(largest.max()),
            "error": float(np.sqrt(square.mean())), "own_ssim": float(ssim.mean()), "own_gmsd": float(gmsd.mean()),
            "own_edges": float(edges.sum() / max(edges_true.sum(), 1e-12)),
        })  # fmt: skip


def _draw(pairs: list[tuple[np.ndarray, np.ndarray]], values: Mapping[str, float]) -> np.ndarray:
    """Some moments: result, reference, and their difference enlarged."""
    chosen = [pairs[at] for at in np.unique(np.linspace(0, len(pairs) - 1, SHOWN).round().astype(int))]
    height, width = chosen[0][0].shape[:2]
    wide = (WIDTH - EDGE - LEFT - (SHOWN - 1) * GAP) // SHOWN
    high = max(24, round(wide * height / width))
    page = Page(WIDTH, 100 + 3 * (high + GAP) + 20)
    page.text(EDGE, 50, "Side by side", 26, weight=700)
    summary = f"{values['equal']:.0%} of the frames equal · SSIM {values['own_ssim']:.3f}"
    page.text(WIDTH - EDGE, 48, summary, 18, INK, 600, "right")
    for row, (label, color) in enumerate((("result", RESULT), ("reference", TRUTH), (f"apart x {AMPLIFIED}", SOFT))):
        y = 76 + row * (high + GAP)
        page.text(EDGE, y + high / 2, label, 15, color, 600)
        for column, (result, reference) in enumerate(chosen):
            apart = np.clip(np.abs(result.astype(np.int16) - reference) * AMPLIFIED, 0, 255).astype(np.uint8)
            page.picture(LEFT + column * (wide + GAP), y, (result, reference, apart)[row], (wide, high))
    return page.pixels


def _small(picture: np.ndarray) -> np.ndarray:
    """As it is shown: memory does not grow with the frames."""
    wide = (WIDTH - EDGE - LEFT - (SHOWN - 1) * GAP) // SHOWN
    scale = min(1.0, wide / picture.shape[1])
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"
