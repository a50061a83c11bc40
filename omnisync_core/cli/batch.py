"""`batch`: every clip of a list; the plan, one bar for all clips, what became of them."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..job.report import clock
from .arguments import engine, number, whole
from .options import add_lossless, add_marks, add_model, add_public, add_work, engine_settings, sync_options

if TYPE_CHECKING:
    from ..batch.plan import EngineChoice
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
    files.add_argument("--engine", type=engine, metavar="ENGINE",
                       help="mini (default), mini:BUNDLE, latentsync:UNET,VAE,WHISPER; or --model below")  # fmt: skip
    where = command.add_argument_group("where (default: one process; else Ray, requirements-batch.txt)")
    where.add_argument("--gpus", type=whole(1, 10**5), metavar="N", help="as many workers, a GPU each")
    where.add_argument("--workers", type=whole(1, 10**5), metavar="N", help="as many workers on CPU cores, two each")
    where.add_argument("--split", type=number(1, 10**6), metavar="SECONDS",
                       help="cut longer clips at shots and silences, for workers to share; same result")  # fmt: skip
    where.add_argument("--address", metavar="RAY", help="of a Ray cluster: auto on one of its hosts, or HEAD:6379")
    add_work(command.add_argument_group("what happens"))
    add_marks(command)
    add_model(command)
    add_public(command)


def run(options: argparse.Namespace) -> None:
    from ..batch.bar import Bar
    from ..batch.outcome import RESULTS, in_words
    from ..batch.run import open_batch, run_batch
    from ..manifest import read_manifest

    if options.lossless and options.container not in (None, "mkv"):
        raise InputError(f"--lossless is FFV1, which goes into .mkv, not .{options.container}: leave --container out")
    runner = _runner(options)
    suffix = f".{options.container or ('mkv' if options.lossless else 'mp4')}"
    batch = open_batch(read_manifest(options.manifest), options.out, suffix, sync_options(options), _model(options))
    print("\n".join([str(batch), *(f"{outcome.id}: {outcome.reason}" for outcome in batch.refused)]), flush=True)
    if options.dry_run:
        _print_dry_run(batch, options.gpus or options.workers or 1)
        return
    with Bar(batch.rows, len(batch.finished) + len(batch.refused)) as bar:
        states = run_batch(batch, runner, bar.tell)
    print(f"{options.out / RESULTS}: {in_words(states)}; {clock(time.monotonic() - bar.began)}")
    if not states["done"] + states["passed"]:
        raise InputError(f"none of the {batch.rows} clips has a result; {options.out / RESULTS} says why")
    marked, *more = batch.marks
    print("\n".join([f"edited clips are {marked}", *more]))


def _model(options: argparse.Namespace) -> EngineChoice:
    """The engine's files, by --engine or one by one; by their whole names, for workers elsewhere."""
    from ..batch.plan import ModelChoice

    files = options.model, options.vae, options.whisper
    if options.engine is not None and any(files):
        raise InputError("give either --engine, or --model, --vae and --whisper")
    settings = engine_settings(options)
    settings |= {"adapter": settings["adapter"].absolute()} if "adapter" in settings else {}
    model, vae, whisper = (path and path.absolute() for path in options.engine or files)
    return ModelChoice(model, vae, whisper, tuple(settings.items()))


def _runner(options: argparse.Namespace) -> Runner:
    """One process, unless more is asked for."""
    from ..batch.run import run_here

    if options.gpus is not None and options.workers is not None:
        raise InputError("give either --gpus or --workers: a worker has a GPU, or CPU cores")
    if options.address is None and options.gpus is None and options.workers is None:
        return run_here
    from ..batch.cluster import Cluster, need_ray

    need_ray()
    return Cluster(options.address, options.gpus, options.workers, options.split)


def _print_dry_run(batch: Batch, workers: int) -> None:
    from ..batch.run import estimate

    if batch.tasks:
        seconds = estimate(batch)
        shared = f", {workers} workers about {clock(seconds / workers)}" if workers > 1 else ""
        print(f"one process takes about {clock(seconds)}{shared}, going by {batch.tasks[0].id}; nothing was written")


def _stopped(options: argparse.Namespace, again: str) -> str:
    return "stopped" if options.dry_run else f"stopped; what is finished is kept in {options.out}. {again}"
