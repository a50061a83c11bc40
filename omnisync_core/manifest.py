"""Lists of clips to work on: Parquet or CSV, one row a clip.

Columns `id, video, audio`; optional `truth` (a video), `mouth_x, mouth_y` (pixels of the first frame), `style` (of
`STYLES`); what else a row says is kept. Relative paths start at the list's own folder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from .errors import InputError
from .tables import read_table, write_table

STYLES = ("realistic", "stylised", "atypical")
NEEDED = ("id", "video", "audio")
COLUMNS = (*NEEDED, "truth", "mouth_x", "mouth_y", "style")
LONGEST_ID = 120
LONGEST_NAME = 300
"""Of a file, in messages."""
FORBIDDEN = frozenset('/\\:*?"<>|')
"""An id becomes the name of a file, on any system."""


@dataclass(frozen=True)
class Row:
    """One clip. Where `problem` says something the row cannot be worked on; its id is its own all the same."""

    number: int
    """From 1, as people count below the head."""
    id: str
    video: Path
    audio: Path
    truth: Path | None = None
    mouth: tuple[float, float] | None = None
    style: str | None = None
    other: dict[str, Any] = field(default_factory=dict)
    """The columns that are not of this format."""
    problem: str = ""


def read_manifest(path: str | PathLike) -> list[Row]:
    """The rows in their order. InputError: no list of clips; what is wrong with one row alone is its `problem`."""
    path = Path(path)
    table = read_table(path)
    if not table:
        raise InputError(f"{path} lists no clips; expected rows below the columns {', '.join(NEEDED)}")
    missing = [name for name in NEEDED if name not in table[0]]
    if missing:
        raise InputError(
            f"{path} has no column {', '.join(missing)} (it has {', '.join(map(str, table[0]))}); "
            f"expected {', '.join(NEEDED)} and maybe {', '.join(COLUMNS[len(NEEDED) :])}"
        )
    seen: dict[str, int] = {}
    return [_row(number, cells, path.parent, seen) for number, cells in enumerate(table, 1)]


def write_manifest(path: str | Path, rows: Sequence[Row]) -> None:
    """Write rows as a list that `read_manifest` reads; files below its folder are named from there."""
    folder = Path(path).absolute().parent
    write_table(path, [_cells(row, folder) for row in rows])


def _row(number: int, cells: dict[str, Any], folder: Path, seen: dict[str, int]) -> Row:
    problems: list[str] = []
    name = _id(number, cells["id"], seen, problems)
    paths = {key: _file(key, cells.get(key), folder, problems) for key in ("video", "audio", "truth")}
    mouth = _mouth(cells.get("mouth_x"), cells.get("mouth_y"), problems)
    style = cells.get("style")
    if style is not None and style not in STYLES:
        problems.append(f"style must be one of {', '.join(STYLES)}, got {style!r}")
        style = None
    other = {key: value for key, value in cells.items() if key not in COLUMNS}
    problem = f"row {number}: {'; '.join(problems)}" if problems else ""
    return Row(number, name, paths["video"] or folder, paths["audio"] or folder, paths["truth"], mouth, style, other,
               problem)  # fmt: skip


def _id(number: int, value: Any, seen: dict[str, int], problems: list[str]) -> str:
    """The row's id, or one of its own where it cannot be used."""
    own = f"row {number}"
    name = "" if value is None else str(value).strip()
    if not name:
        problems.append("it has no id")
    elif len(name) > LONGEST_ID or not name.isprintable() or FORBIDDEN & set(name) or name[0] == "." or name[-1] == ".":
        problems.append(
            f"its id {name[:LONGEST_ID]!r} cannot name a file: leave out {' '.join(sorted(FORBIDDEN))} and dots at the "
            f"ends, at most {LONGEST_ID} letters"
        )
    elif name.casefold() in seen:
        problems.append(f"row {seen[name.casefold()]} has the same id {name!r}; give each clip its own")
        own = f"{name} ({own})"
    else:
        own = name
    seen.setdefault(own.casefold(), number)
    return own


def _file(key: str, value: Any, folder: Path, problems: list[str]) -> Path | None:
    if value is None or value == "":
        if key in NEEDED:
            problems.append(f"it names no {key}")
        return None
    path = folder / str(value)
    try:
        is_there = path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a zero
        is_there = False
    if not is_there:
        problems.append(f"there is no {key} file {_shown(value)}")
    return path


def _shown(value: Any) -> str:
    """A cell for a message: one line, whatever it holds."""
    text = str(value)
    return text[:LONGEST_NAME] if text.isprintable() else repr(text[:LONGEST_NAME])


def _mouth(x: Any, y: Any, problems: list[str]) -> tuple[float, float] | None:
    if x is None and y is None:
        return None
    try:
        point = float(x), float(y)
    except (TypeError, ValueError):
        point = math.nan, math.nan
    if all(math.isfinite(value) for value in point):
        return point
    problems.append(f"mouth_x and mouth_y must be two numbers (pixels of the first frame) or empty, got {x!r}, {y!r}")
    return None


def _cells(row: Row, folder: Path) -> dict[str, Any]:
    def as_text(path: Path | None) -> str | None:
        if path is None:
            return None
        path = path.absolute()
        return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)

    x, y = row.mouth or (None, None)
    return {
        "id": row.id, "video": as_text(row.video), "audio": as_text(row.audio), "truth": as_text(row.truth),
        "mouth_x": x, "mouth_y": y, "style": row.style, **row.other,
    }  # fmt: skip
