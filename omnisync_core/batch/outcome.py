"""What became of a row, and the table of all rows."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ..errors import InputError, OutputError

RESULTS = "results.parquet"
STATES = ("done", "passed", "refused", "failed")
"""`passed`: the result shows the source's own pixels (nobody speaks, no mouth). `refused`: the row's files or options
cannot be used. `failed`: something else went wrong. The last two are tried again by the next run."""


@dataclass(frozen=True)
class Outcome:
    """One row of the results."""

    id: str
    state: str
    output: str = ""
    """The result's path; empty where there is none."""
    sha256: str = ""
    seconds: float = 0.0
    """That the clip took, in the run that finished it."""
    video_seconds: float = 0.0
    """Of the result."""
    reason: str = ""
    """One line: why there is no result, or what the user should know of it."""

    @property
    def is_whole(self) -> bool:
        return self.state in ("done", "passed")


def write_results(path: Path, outcomes: Iterable[Outcome]) -> None:
    """The table as Parquet, written beside and moved into place. InputError without pyarrow, OutputError."""
    arrow, parquet = _arrow()
    rows = [asdict(outcome) for outcome in outcomes]
    kinds = {"str": arrow.string(), "float": arrow.float64()}
    schema = arrow.schema([(field.name, kinds[str(field.type)]) for field in fields(Outcome)])
    part = path.with_name(f"{path.name}.part")
    try:
        parquet.write_table(arrow.Table.from_pylist(rows, schema), part)
        os.replace(part, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None


def read_results(path: Path) -> list[Outcome]:
    """The rows of a table that `write_results` wrote."""
    _, parquet = _arrow()
    return [Outcome(**row) for row in parquet.read_table(path).to_pylist()]


def check_arrow() -> None:
    """InputError where the table could not be written: asked before the work."""
    _arrow()


def _arrow():
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError("batch writes Parquet: pip install pyarrow (requirements-batch.txt)") from None
    return pyarrow, pyarrow.parquet
