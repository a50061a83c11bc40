"""What became of a row, and the table of all rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..tables import read_table, write_table

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


def in_words(states: Mapping[str, int]) -> str:
    """How many rows there are of each state, for people."""
    return ", ".join(f"{states[state]} {state}" for state in STATES if states.get(state))


def write_results(path: Path, outcomes: Iterable[Outcome]) -> None:
    """The table of all rows, written beside and moved into place. InputError, OutputError."""
    write_table(path, [asdict(outcome) for outcome in outcomes])


def read_results(path: Path) -> list[Outcome]:
    """The rows of a table that `write_results` wrote."""
    return [Outcome(**row) for row in read_table(path)]
