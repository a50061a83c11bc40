"""Draws how losses fell: `python -m scripts.training_curves OUT.png "TITLE=LOG.jsonl" "TITLE=LOG.jsonl:KEY" ...`.

A panel for each log of a training (`training/fit.py`): every logged step, their running mean, and what was found on
unseen data where `NAME_unseen.jsonl` lies beside it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omnisync_core.errors import InputError
from omnisync_core.sheets.drawing import INK, RESULT, RULE, SOFT, SOURCE, TRUTH, Page

COLUMNS, PANEL, EDGE, TOP, GAP = 2, (470, 250), 32, 46, 34
LEFT, LOW = 46, 34
"""Room for the numbers of the axes."""


@dataclass(frozen=True)
class Curve:
    title: str
    steps_N: np.ndarray
    values_N: np.ndarray
    unseen_M2: np.ndarray
    """Steps and values."""


def read(asked: str) -> Curve:
    """`TITLE=LOG` or `TITLE=LOG:KEY`. InputError: no such log, or nothing of that name in it."""
    title, _, place = asked.partition("=")
    name, _, key = place.partition(":")
    path, key = Path(name), key or "loss"
    rows = _rows(path, key)
    if not rows:
        raise InputError(f"{path} holds no {key!r}; expected the .jsonl of a training")
    beside = path.with_name(f"{path.stem}_unseen.jsonl")
    unseen = _rows(beside, key) if beside.exists() else []
    steps_N, values_N = np.array(rows, float).T
    return Curve(title, steps_N, values_N, np.array(unseen, float).reshape(-1, 2))


def _rows(path: Path, key: str) -> list[tuple[float, float]]:
    if not path.exists():
        raise InputError(f"no such log: {path}")
    known: dict[float, float] = {}
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        known = {step: value for step, value in known.items() if step < row["step"]}  # a training that went on
        known |= {row["step"]: row[key]} if key in row else {}
    return list(known.items())


def draw(curves: list[Curve]) -> Page:
    high = -(-len(curves) // COLUMNS)
    width = 2 * EDGE + COLUMNS * PANEL[0] + (COLUMNS - 1) * GAP
    page = Page(width, EDGE + high * (TOP + PANEL[1]) + EDGE)
    for place, curve in enumerate(curves):
        x = EDGE + place % COLUMNS * (PANEL[0] + GAP)
        _panel(page, x, EDGE + place // COLUMNS * (TOP + PANEL[1]), curve)
    return page


def _panel(page: Page, x: float, y: float, curve: Curve) -> None:
    left, top, right, low = x + LEFT, y + TOP, x + PANEL[0], y + TOP + PANEL[1] - LOW - 20
    page.text(x, y + 26, curve.title, 17, INK, 600)
    known = np.concatenate([curve.values_N, curve.unseen_M2[:, 1]])
    least, most, last = 0.0, float(np.quantile(known, 0.99)) * 1.08, max(float(curve.steps_N[-1]), 1.0)

    def at(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        across = left + np.asarray(steps, float) / last * (right - left)
        return across, low - (np.clip(values, least, most) - least) / (most - least) * (low - top)

    for value in np.arange(least, most, _round_step(most / 4)):
        height = at(np.zeros(1), np.array([value]))[1][0]
        page.line(left, height, right, height, RULE)
        page.text(left - 8, height + 5, f"{value:.2g}", 12, SOFT, align="right")
    for step in (0.0, last / 2, last):
        page.text(at(np.array([step]), np.zeros(1))[0][0], low + 20, f"{step:.0f}", 12, SOFT, align="centre")
    page.curve(*at(curve.steps_N, curve.values_N), SOURCE, 1.2, 0.8)
    page.curve(*at(curve.steps_N, _smooth(curve.values_N)), RESULT, 3)
    if len(curve.unseen_M2) > 1:
        page.curve(*at(*curve.unseen_M2.T), TRUTH, 3)


def _round_step(size: float) -> float:
    """1, 2 or 5 times a power of ten, near a size."""
    power = 10.0 ** np.floor(np.log10(size))
    return float(power * min((1, 2, 5, 10), key=lambda times: abs(times - size / power)))


def _smooth(values_N: np.ndarray) -> np.ndarray:
    """Running mean over an eighth of the whole, shorter at its ends."""
    half = max(1, len(values_N) // 16)
    sums = np.cumsum([0.0, *values_N])
    begins, ends = (np.clip(np.arange(len(values_N)) + by, 0, len(values_N)) for by in (-half, half + 1))
    return (sums[ends] - sums[begins]) / (ends - begins)


def main(arguments: list[str]) -> None:
    out, *asked = arguments
    draw([read(one) for one in asked]).save(Path(out))


if __name__ == "__main__":
    main(sys.argv[1:])
