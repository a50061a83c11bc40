"""A whole batch: what is done stays, what is left is handed to a runner, every row ends in the table."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import InputError, OutputError
from ..files import make_folder
from ..job.lock import Lock
from ..job.options import SyncOptions
from ..job.report import Progress, clock
from ..manifest import Row
from ..marks.marking import Marking
from ..pipeline import sync_video
from ..tables import need_parquet
from .clip import Task, edit_clip
from .ledger import FOLDER, Ledger
from .outcome import RESULTS, Outcome, write_results
from .plan import EngineChoice, plan_tasks

MOST_FAILURES = 10
"""In a row: then it is not the clips, and the run ends."""

Runner = Callable[[Sequence[Task], Ledger, SyncOptions, EngineChoice], Iterator[Outcome]]
"""Gives the outcomes of tasks as they come, in any order."""


@dataclass(frozen=True)
class Batch:
    """What is known of a batch before it runs."""

    ledger: Ledger
    rows: int
    order: tuple[str, ...]
    finished: tuple[Outcome, ...]
    refused: tuple[Outcome, ...]
    tasks: tuple[Task, ...]
    """That are left to do."""
    options: SyncOptions
    engine: EngineChoice
    marks: tuple[str, ...]
    """How every edited result says that it was, and what the law asks for, a line each."""

    def __str__(self) -> str:
        seconds = sum(task.seconds for task in self.tasks)
        return (
            f"{self.rows} clips: {len(self.finished)} done before, {len(self.refused)} cannot be read, "
            f"{len(self.tasks)} to do with {clock(seconds)} of video"
        )


def open_batch(rows: Sequence[Row], out: Path, suffix: str, options: SyncOptions, engine: EngineChoice) -> Batch:
    """Look at all rows; writes nothing but the folder `out`. InputError, OutputError."""
    need_parquet()
    options = replace(options, marks=options.marks.anywhere())
    marking = Marking(options.marks, out / f"result{suffix}", lossless=options.lossless)  # once, not for every row
    make_folder(out)
    tasks, refused = plan_tasks(rows, out, suffix, options, engine)
    ledger, left, finished = Ledger(out.absolute()), [], []
    for task in tasks:
        known = ledger.find(task.id, task.key)
        if known is None:
            left.append(task)
        else:
            finished.append(known)
    order = tuple(row.id for row in rows)
    outcomes = tuple(finished), tuple(refused), tuple(left)
    return Batch(ledger, len(rows), order, *outcomes, options, engine, marking.statement())


def run_batch(batch: Batch, runner: Runner, tell: Callable[[Outcome], None] = lambda _: None) -> Counter[str]:
    """Edit what is left and write `results.parquet`, also when it is stopped; returns the number of rows by state.

    OutputError: one failure after the other, or the table cannot be written. One batch at a time works on a folder.
    """
    lock = Lock(batch.ledger.out / FOLDER)
    lock.take()
    found = {outcome.id: outcome for outcome in (*batch.finished, *batch.refused)}
    try:
        failures = 0
        for outcome in runner(batch.tasks, batch.ledger, batch.options, batch.engine) if batch.tasks else ():
            found[outcome.id] = outcome
            tell(outcome)
            failures = failures + 1 if outcome.state == "failed" else 0
            if failures >= MOST_FAILURES:
                raise OutputError(f"{failures} clips in a row failed, the last: {outcome.reason}")
    finally:
        try:
            write_results(batch.ledger.out / RESULTS, [found[id] for id in batch.order if id in found])
        finally:
            lock.release()
    return Counter(outcome.state for outcome in found.values())


def run_here(tasks: Sequence[Task], ledger: Ledger, options: SyncOptions, engine: EngineChoice) -> Iterator[Outcome]:
    """The runner of one process: one clip after the other."""
    opened = engine.load()
    for task in tasks:
        yield edit_clip(task, opened, options, ledger)


def estimate(batch: Batch) -> float:
    """Seconds that one process would take for what is left, by timing its first clip up to its plan.

    InputError where that clip cannot be opened.
    """
    task = batch.tasks[0]
    opened, began, plans = batch.engine.load(), time.monotonic(), []

    def listen(event: Progress) -> None:
        if event.plan is not None:
            plans.append(event.plan)
            raise _Enough

    with tempfile.TemporaryDirectory() as folder, suppress(_Enough):
        output = Path(folder) / Path(task.output).name
        sync_video(task.video, task.audio, output, opened, replace(batch.options, mouth=task.mouth), listen)
    if not plans:
        raise InputError(f"{task.id}: the clip has no plan")
    took = time.monotonic() - began + plans[0].seconds
    return took / max(plans[0].video_seconds, 1e-3) * sum(task.seconds for task in batch.tasks)


class _Enough(Exception):
    """Stops a clip that is only planned."""
