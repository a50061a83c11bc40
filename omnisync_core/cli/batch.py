"""`batch`: every clip of a list; the plan, one bar for all clips, what became of them."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..job.report import clock
from .arguments import number, whole
from .options import add_lossless, add_marks, add_model, add_work, engine_settings, sync_options

if TYPE_CHECKING:
    from ..batch.run import Batch, Runner


def add(commands: Any) -> None:
    command = commands.add_parser("batch", help="lip-sync every clip of a list; stopped, the same command goes on")
    command.set_defaults(command=run, stopped=_stopped)
    files = command.add_argument_group("files")
    files.add_argument("manifest", type=Path, metavar="MANIFEST",
                       help=".csv or .parquet with the columns id, video, audio, maybe mouth_x, mouth_y")  # fmt: skip
    files.add_argument("--out", type=Path, required=True, metavar="DIR", help="for ID.mp4 and results.parquet")
    files.add_argument("--container", choices=("mp4", "mov", "mkv"), help="default mp4, with --lossless mkv")
    add_lossless(files)
    files.add_argument("--dry-run", action="store_true", help="only say what it will take")
    where = command.add_argument_group("where (default: one process; else Ray, requirements-batch.txt)")
    where.add_argument("--gpus", type=whole(1, 10**5), metavar="N", help="as many workers, a GPU each")
    where.add_argument("--workers", type=whole(1, 10**5), metavar="N", help="as many workers on CPU cores, two each")
    where.add_argument("--split", type=number(1, 10**6), metavar="SECONDS",
                       help="cut longer clips at shots and silences, for workers to share; same result")  # fmt: skip
    where.add_argument("--address", metavar="RAY", help="of a Ray cluster, e.g. auto or ray://head:10001")
    add_work(command.add_argument_group("what happens"))
    add_marks(command)
    add_model(command)


def run(options: argparse.Namespace) -> None:
    from ..batch.bar import Bar
    from ..batch.outcome import RESULTS, told
    from ..batch.plan import BundleChoice
    from ..batch.run import open_batch, run_batch
    from ..manifest import read_manifest

    engine = BundleChoice(options.model, tuple(engine_settings(options).items()))
    suffix = f".{options.container or ('mkv' if options.lossless else 'mp4')}"
    batch = open_batch(read_manifest(options.manifest), options.out, suffix, sync_options(options), engine)
    print(batch, flush=True)
    if options.dry_run:
        _print_dry_run(batch)
        return
    with Bar(batch.rows, len(batch.finished) + len(batch.refused)) as bar:
        states = run_batch(batch, _runner(options), bar.tell)
    print(f"{options.out / RESULTS}: {told(states)}; {clock(time.monotonic() - bar.began)}")


def _runner(options: argparse.Namespace) -> Runner:
    """One process, unless more is asked for."""
    from ..batch.run import run_here

    if options.address is None and options.gpus is None and options.workers is None:
        return run_here
    from ..batch.cluster import Cluster, need_ray

    need_ray()
    return Cluster(options.address, options.gpus, options.workers, options.split)


def _print_dry_run(batch: Batch) -> None:
    from ..batch.run import estimate

    for outcome in batch.refused:
        print(f"{outcome.id}: {outcome.reason}")
    if batch.tasks:
        seconds = estimate(batch)
        print(f"one process takes about {clock(seconds)}, going by {batch.tasks[0].id}; nothing was written")


def _stopped(options: argparse.Namespace, again: str) -> str:
    return "stopped" if options.dry_run else f"stopped; what is finished is kept in {options.out}. {again}"
