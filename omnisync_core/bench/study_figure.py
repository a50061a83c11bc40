"""A study's findings on disk, and their figure: mean opinions by criterion with intervals, and success rates."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np

from ..errors import OutputError
from ..sheets.drawing import INK, RESULT, RULE, SOFT, TRUTH, Color, Page, shortened
from .answers import Findings, Study, as_json, markdown

WIDTH, EDGE, LEFT, TOP, HIGH = 1280, 40, 70, 130, 300
COLORS: tuple[Color, ...] = (RESULT, TRUTH, (132, 108, 176), (214, 158, 46), (96, 140, 72), (120, 122, 130))


def write(folder: Path, study: Study, findings: Findings) -> str:
    """`study.md`, `study.json` and `study.png` in a folder; returns the tables. OutputError: cannot write."""
    text = markdown(study, findings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "study.md").write_text(text, encoding="utf-8")
        (folder / "study.json").write_text(json.dumps(as_json(study, findings), indent=1), encoding="utf-8")
        (folder / "study.png").write_bytes(cv2.imencode(".png", draw(study, findings)[..., ::-1])[1].tobytes())
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
    return text


def draw(study: Study, findings: Findings) -> np.ndarray:
    """uint8 RGB, 1280 pixels wide."""
    page = Page(WIDTH, TOP + HIGH + 110)
    page.text(EDGE, 58, "What people said", 26, weight=700)
    page.text(EDGE, 86, f"{study.counted}; bars are 95 % intervals over people and clips", 15, SOFT)
    _legend(page, study.names)
    wide = 860
    _axis(page, LEFT, wide, [(f"{value}", (value - 1) / 4) for value in range(1, 6)])
    criteria = [*study.criteria, "all"]
    for place, criterion in enumerate(criteria):
        x = LEFT + (place + 0.5) * wide / len(criteria)
        page.text(x, TOP + HIGH + 30, criterion, 15, INK, align="centre")
        for number, name in enumerate(study.names):
            figure = findings.scores[name][criterion]
            parts = [(part - 1) / 4 for part in (figure.value, figure.low, figure.high)]
            _bar(page, x, number, len(study.names), parts, f"{figure.value:.1f}")
    right = LEFT + wide + 90
    _axis(page, right, WIDTH - EDGE - right, [(f"{value} %", value / 100) for value in (0, 25, 50, 75, 100)])
    page.text((right + WIDTH - EDGE) / 2, TOP + HIGH + 30, "lip sync called correct", 15, INK, align="centre")
    for number, name in enumerate(study.names):
        share = findings.success[name]["all"][0]
        middle = (right + WIDTH - EDGE) / 2
        _bar(page, middle, number, len(study.names), [share.value, share.low, share.high], f"{100 * share.value:.0f}")
    return page.pixels


def _legend(page: Page, names: tuple[str, ...]) -> None:
    for number, name in enumerate(names):
        x = WIDTH - EDGE - 200 * (len(names) - number)
        page.line(x, 52, x + 20, 52, COLORS[number % len(COLORS)], 5)
        page.text(x + 28, 58, shortened(name, 160, 16), 16)


def _axis(page: Page, left: float, wide: float, ticks: list[tuple[str, float]]) -> None:
    for label, height in ticks:
        y = TOP + HIGH * (1 - height)
        page.line(left, y, left + wide, y, RULE)
        page.text(left - 10, y + 5, label, 13, SOFT, align="right")


def _bar(page: Page, x: float, number: int, count: int, parts: list[float], label: str) -> None:
    """A dot at the value and a line over its interval, beside those of the other methods."""
    if math.isnan(parts[0]):
        return
    x += (number - (count - 1) / 2) * min(34.0, 110.0 / count)
    value, low, high = (TOP + HIGH * (1 - part) for part in parts)
    color = COLORS[number % len(COLORS)]
    page.line(x, low, x, high, color, 4)
    page.panel(round(x) - 6, round(value) - 6, 13, 13, color, 6)
    page.text(x, min(high, value - 6) - 7, label, 12, color, 600, "centre")
