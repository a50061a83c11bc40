"""The folder in which a host keeps its unfinished jobs: what lies there, and what is old or too much."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from . import lock

KEPT_DAYS = 30
"""Older ones are pruned."""
KEPT_BYTES = 100e9
"""The oldest beyond are pruned; the newest stays, however large."""


@dataclass(frozen=True)
class Unfinished:
    """A job that was stopped, or is at work."""

    folder: Path
    windows: int
    """Finished ones, of all speakers."""
    size: int
    """Bytes."""
    days: float
    """Since something was last written."""
    is_running: bool


def unfinished(state: Path) -> list[Unfinished]:
    """The jobs in a state folder (`sync_video`'s `state`), the newest first; whatever else lies there is no job."""
    return sorted(_jobs(state), key=lambda job: job.days)


def prune(state: Path, days: float = KEPT_DAYS, size: float = KEPT_BYTES) -> list[Unfinished]:
    """Remove jobs that nothing was written to for `days`, then the oldest until the rest takes `size` bytes.

    Never one that runs; the newest goes only by its age. Returns what was removed.
    """
    removed, total = [], 0.0
    for number, job in enumerate(unfinished(state)):
        total += job.size
        if (job.days > days or (number and total > size)) and remove(job):
            removed.append(job)
            total -= job.size
    return removed


def remove(job: Unfinished) -> bool:
    """Remove a job and say whether it is gone: one that runs stays."""
    held = lock.Lock(job.folder)
    try:
        held.take()
        for path in job.folder.iterdir():
            if path.name != lock.NAME:
                path.unlink()
    except (InputError, OSError):
        return False
    finally:
        held.release()
    shutil.rmtree(job.folder, ignore_errors=True)
    return not job.folder.exists()


def _jobs(state: Path) -> Iterator[Unfinished]:
    with contextlib.suppress(OSError):  # there is no such folder, or a job ended just now
        for folder in state.iterdir():
            if not re.fullmatch("[0-9a-f]{24}", folder.name) or folder.is_symlink() or not folder.is_dir():
                continue
            with contextlib.suppress(OSError):
                yield _job(folder)


def _job(folder: Path) -> Unfinished:
    stats = [(path, path.stat()) for path in folder.iterdir()]
    written = max((stat.st_mtime for _, stat in stats), default=folder.stat().st_mtime)
    return Unfinished(
        folder,
        windows=sum(1 for path, _ in stats if re.fullmatch(r"(\d+_)?window_\d+\.npz", path.name)),
        size=sum(stat.st_size for _, stat in stats),
        days=max(0.0, time.time() - written) / 86400,
        is_running=lock.is_held(folder),
    )
