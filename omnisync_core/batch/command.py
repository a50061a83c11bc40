"""`batch` on the command line: the plan, one bar for all clips, what became of them."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections import Counter
from types import TracebackType

from ..job.options import SyncOptions
from ..job.report import clock
from ..manifest import read_manifest
from .outcome import RESULTS, STATES, Outcome
from .plan import EngineChoice
from .run import Batch, estimate, open_batch, run_batch, run_here


def run(given: Namespace, options: SyncOptions, engine: EngineChoice) -> None:
    """Do what the arguments say. InputError, OutputError."""
    suffix = f".{given.container or ('mkv' if options.lossless else 'mp4')}"
    batch = open_batch(read_manifest(given.manifest), given.out, suffix, options, engine)
    print(batch, flush=True)
    if given.dry_run:
        _print_dry_run(batch)
        return
    with _Bar(batch) as bar:
        states = run_batch(batch, run_here, bar.tell)
    told = ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
    print(f"{given.out / RESULTS}: {told}; {clock(time.monotonic() - bar.began)}")


def _print_dry_run(batch: Batch) -> None:
    for outcome in batch.refused:
        print(f"{outcome.id}: {outcome.reason}")
    if batch.tasks:
        seconds = estimate(batch)
        print(f"one process takes about {clock(seconds)}, going by {batch.tasks[0].id}; nothing was written")


class _Bar:
    """Clips done, seconds of video per second, what went wrong, time left."""

    def __init__(self, batch: Batch) -> None:
        from tqdm import tqdm

        self.began, self._seconds, self._states = time.monotonic(), 0.0, Counter[str]()
        done = len(batch.finished) + len(batch.refused)
        self._bar = tqdm(total=batch.rows, initial=done, desc="clips", unit="clip", dynamic_ncols=True, file=sys.stderr)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def tell(self, outcome: Outcome) -> None:
        self._states[outcome.state] += 1
        self._seconds += outcome.video_seconds
        wrong = {state: self._states[state] for state in ("refused", "failed") if self._states[state]}
        rate = f"{self._seconds / (time.monotonic() - self.began):.2f}x"
        self._bar.set_postfix({"speed": rate, **wrong}, refresh=False)
        self._bar.update()
        if not outcome.is_whole:
            self._bar.write(f"{outcome.id} {outcome.state}: {outcome.reason}", file=sys.stderr)
