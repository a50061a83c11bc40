"""One row of a batch: edited whole or not at all, and never an exception."""

from __future__ import annotations

import json
import shutil
import time
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..engines.protocol import Engine
from ..errors import InputError
from ..job.manifest import file_digest
from ..job.options import SyncOptions
from ..job.report import Listener, Progress, Report
from ..pipeline import edit_piece, plan_pieces, sync_video
from .ledger import Ledger
from .outcome import Outcome

PIECES = "pieces"
"""Folder of the pieces of a long clip that are edited apart."""


@dataclass(frozen=True)
class Task:
    """A row as a worker gets it, on whatever machine: paths and plain values."""

    id: str
    video: str
    audio: str
    output: str
    key: str
    """Of all that decides the result: see `plan.key_of`."""
    mouth: Any = "auto"
    seconds: float = 0.0
    """Of video, as far as the file tells without being decoded."""

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Task:
        fields = json.loads(text)
        mouth = fields.pop("mouth")
        return cls(mouth=mouth if isinstance(mouth, str) else tuple(mouth), **fields)


def edit_clip(
    task: Task, engine: Engine, options: SyncOptions, ledger: Ledger, progress: Listener | None = None
) -> Outcome:
    """Edit a row, or say what became of it before. What goes wrong is in the outcome; only an interrupt is raised."""
    began = time.monotonic()
    try:
        with ledger.claimed(task.key) as folder:
            outcome = ledger.find(task.id, task.key)
            if outcome is None:
                outcome = _edit(task, engine, options, ledger, folder, progress or (lambda _: None))
    except InputError as error:
        outcome = refused(task, str(error), began)
    except Exception as error:  # one bad clip never ends the job
        outcome = replace(refused(task, str(error) or type(error).__name__, began), state="failed")
    ledger.tidy(task.key)
    return outcome


def split_clip(task: Task, engine: Engine, options: SyncOptions, ledger: Ledger, seconds: float) -> list[range]:
    """The pieces of a long clip, for `edit_part`: see `pipeline.plan_pieces`. InputError, OutputError."""
    with ledger.claimed(task.key) as folder:
        staged = folder / Path(task.output).name
        given = (task.video, task.audio, staged, engine, replace(options, mouth=task.mouth, resume=True))
        return plan_pieces(*given, seconds, state=folder)


def edit_part(task: Task, piece: range, engine: Engine, options: SyncOptions, ledger: Ledger) -> None:
    """Edit one piece beside the others; `edit_clip` joins them. InputError, OutputError."""
    state = ledger.work(task.key) / PIECES / f"{piece.start:06d}"
    for kept in ledger.work(task.key).glob("*/*.npz"):
        if kept.name in ("track.npz", "video.npz"):
            copy = state / kept.parent.name / kept.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(kept, copy)
    staged = ledger.work(task.key) / Path(task.output).name
    given = (task.video, task.audio, staged, engine, replace(options, mouth=task.mouth, resume=True))
    edit_piece(*given, piece, state=state)


def _join(folder: Path) -> None:
    """The finished windows of all pieces as those of one job."""
    for path in folder.glob(f"{PIECES}/*/*/*.npz"):
        place = folder / path.parent.name / path.name
        place.parent.mkdir(exist_ok=True)
        path.replace(place)
    shutil.rmtree(folder / PIECES, ignore_errors=True)


def refused(task: Task, reason: str, began: float) -> Outcome:
    """An outcome without a result. It is not recorded: the next run tries again."""
    return Outcome(task.id, "refused", seconds=round(time.monotonic() - began, 3), reason=_line(reason))


def _edit(
    task: Task, engine: Engine, options: SyncOptions, ledger: Ledger, folder: Path, progress: Listener
) -> Outcome:
    ledger.check_free(task.id, Path(task.output))
    began, staged, plans = time.monotonic(), folder / Path(task.output).name, []

    def listen(event: Progress) -> None:
        plans.extend([event.plan] if event.plan else [])
        progress(event)

    _join(folder)
    options = replace(options, mouth=task.mouth, resume=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # they stand in the report
        report = sync_video(task.video, task.audio, staged, engine, options, listen, state=folder)
    outcome = Outcome(
        id=task.id,
        state="done" if report.edited else "passed",
        output=task.output,
        sha256=file_digest(staged),
        seconds=round(time.monotonic() - began, 3),
        video_seconds=round(plans[0].video_seconds, 3),
        reason=_line("; ".join(_reasons(report))),
    )
    ledger.keep(task.key, outcome, staged)
    return outcome


def _reasons(report: Report) -> list[str]:
    reasons = [] if report.edited else sorted({passed.reason for passed in report.passed})
    return [*reasons, *report.warnings]


def _line(text: str) -> str:
    return " ".join(text.split())[:500]
