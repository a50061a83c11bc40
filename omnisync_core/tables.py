"""Tables on disk: Parquet (through pyarrow, an extra) or CSV, by the file's ending; a row is a dict by column."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import InputError, OutputError
from .files import replacing

SUFFIXES = (".parquet", ".csv")
LARGEST_CELL = 100_000
"""Characters of a CSV's cell; more means that a quotation mark was not closed."""


def read_table(path: str | Path) -> list[dict[str, Any]]:
    """All rows; CSV has text alone and gives None for a cell that is empty or not there. InputError: not readable."""
    path = Path(path)
    _check_suffix(path)
    try:
        return _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)
    except FileNotFoundError:
        raise InputError(f"no such table: {path}; give a .parquet or .csv file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = str(error).splitlines()[0].strip()
        raise InputError(
            f"{path} cannot be read as a table ({reason}); save it again as CSV (UTF-8) or Parquet"
        ) from None


def write_table(path: str | Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows beside and move them into place; a row that lacks a column has None there. OutputError: cannot."""
    path = Path(path)
    _check_suffix(path)
    empty = dict.fromkeys(name for row in rows for name in row)
    rows = [empty | row for row in rows]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            if path.suffix.lower() == ".csv":
                part.write_text(_as_csv(rows), encoding="utf-8", newline="")
            else:
                _write_parquet(part, rows)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def need_parquet() -> ModuleType:
    """pyarrow's Parquet module. InputError where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError("Parquet needs pyarrow: pip install pyarrow, or use a .csv file") from None
    return pyarrow.parquet


def _read_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        csv.field_size_limit(LARGEST_CELL)
        lines = list(csv.reader(file, strict=True))
    if not lines:
        return []
    head = [name.strip() for name in lines[0]]
    twice = next((name for name in head if name and head.count(name) > 1), None)
    if twice:
        raise csv.Error(f"two columns are called {twice!r}")
    rows = []
    for number, line in enumerate(lines[1:], 1):
        if len(line) > len(head):
            raise csv.Error(f"row {number} has {len(line)} cells, the head {len(head)}; put a comma's text in quotes")
        if line:
            rows.append(dict.fromkeys(head) | {name: cell or None for name, cell in zip(head, line, strict=False)})
    return rows


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    parquet = need_parquet()
    from pyarrow import ArrowException

    try:
        return parquet.read_table(path).to_pylist()
    except ArrowException as error:
        raise OSError(str(error).splitlines()[0]) from None


def _write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    parquet = need_parquet()
    import pyarrow

    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} must end in .parquet or .csv")
