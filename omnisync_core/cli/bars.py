"""What commands of one job tell while it runs, and when it was stopped."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..job.bars import JobBars
from ..job.report import Progress


class Bars(JobBars):
    """A job's bars; the plan is printed before the first edit."""

    def __call__(self, progress: Progress) -> None:
        if progress.plan is not None:
            self.close()
            print(progress.plan, flush=True)
        super().__call__(progress)

    def look(self, done: int, total: int) -> None:
        """So many of all frames were looked at for a mouth."""
        self(Progress("reading", done, total))


def stopped(options: argparse.Namespace, again: str, what: str) -> str:
    """What the user of a job that was interrupted should know: where `what` is kept, if anything is."""
    state = Path(f"{options.output}.omnisync")
    if not state.is_dir():
        return "stopped"
    return f"stopped; {what} kept in {state}. {again}{'' if options.resume else ' --resume'}"
