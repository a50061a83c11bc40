"""`batch` on the command line: the plan, one bar for all clips, what became of them."""

from __future__ import annotations

import time
from argparse import Namespace

from ..job.options import SyncOptions
from ..job.report import clock
from ..manifest import read_manifest
from .bar import Bar
from .outcome import RESULTS, told
from .plan import EngineChoice
from .run import Batch, Runner, estimate, open_batch, run_batch, run_here


def run(given: Namespace, options: SyncOptions, engine: EngineChoice) -> None:
    """Do what the arguments say. InputError, OutputError."""
    suffix = f".{given.container or ('mkv' if options.lossless else 'mp4')}"
    batch = open_batch(read_manifest(given.manifest), given.out, suffix, options, engine)
    print(batch, flush=True)
    if given.dry_run:
        _print_dry_run(batch)
        return
    with Bar(batch.rows, len(batch.finished) + len(batch.refused)) as bar:
        states = run_batch(batch, _runner(given), bar.tell)
    print(f"{given.out / RESULTS}: {told(states)}; {clock(time.monotonic() - bar.began)}")


def _runner(given: Namespace) -> Runner:
    """One process, unless more is asked for."""
    if given.address is None and given.gpus is None and given.workers is None:
        return run_here
    from .cluster import Cluster, need_ray

    need_ray()
    return Cluster(given.address, given.gpus, given.workers, given.split)


def _print_dry_run(batch: Batch) -> None:
    for outcome in batch.refused:
        print(f"{outcome.id}: {outcome.reason}")
    if batch.tasks:
        seconds = estimate(batch)
        print(f"one process takes about {clock(seconds)}, going by {batch.tasks[0].id}; nothing was written")
