"""From rows to tasks: which result each row makes, and what it is made of."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import av

from ..engines.choice import check_choice, open_engine
from ..engines.protocol import Engine
from ..errors import InputError
from ..job.manifest import file_digest, plain
from ..job.options import SyncOptions
from ..manifest import Row
from ..media.source import check_name, open_media
from ..media.writer import LONGEST_SUFFIX
from .clip import Task, refused
from .outcome import Outcome


class EngineChoice(Protocol):
    """Says which engine, and opens it where the work is done. Small, and can be sent to another machine."""

    def identity(self) -> dict[str, Any]:
        """What decides a result: plain JSON values."""

    def load(self) -> Engine:
        """InputError."""


@dataclass(frozen=True)
class ModelChoice:
    """The engine that `engines.choice.open_engine` makes of the user's files and settings."""

    model: Path | None = None
    """None: the bundled one."""
    vae: Path | None = None
    whisper: Path | None = None
    settings: tuple[tuple[str, Any], ...] = ()

    def identity(self) -> dict[str, Any]:
        """InputError: a file that is not there, files and settings that do not go together."""
        from ..engines.omnisync import BUNDLED

        given = dict(self.settings)
        check_choice(self.model, self.vae, self.whisper, given)
        named = {"vae": self.vae, "whisper": self.whisper, "adapter": given.get("adapter")}
        files = {"model": self.model or BUNDLED, **{name: path for name, path in named.items() if path}}
        missing = [path for path in files.values() if not Path(path).is_file()]
        if missing:
            raise InputError(f"no such file: {missing[0]}")
        digests = {name: file_digest(path) for name, path in files.items()}
        return {"engine": "latentsync" if self.vae else "omnisync", **plain(given), **digests}

    def load(self) -> Engine:
        return open_engine(self.model, self.vae, self.whisper, dict(self.settings))


def plan_tasks(
    rows: Sequence[Row], out: Path, suffix: str, options: SyncOptions, engine: EngineChoice
) -> tuple[list[Task], list[Outcome]]:
    """A task for each row that can be one, in the manifest's order, and the outcomes of those that cannot."""
    deciding = {"options": plain(options.deciding()), "marks": plain(options.marks), "engine": engine.identity()}
    tasks, refusals = [], []
    for row in rows:
        began, output = time.monotonic(), out.absolute() / f"{row.id}{suffix}"
        video, audio, mouth = row.video.absolute(), row.audio.absolute(), row.mouth or options.mouth
        task = Task(row.id, str(video), str(audio), str(output), "", mouth)
        try:
            if row.problem:
                raise InputError(row.problem)
            check_name(output, LONGEST_SUFFIX)
            tasks.append(replace(task, key=key_of(task, deciding), seconds=duration_of(video)))
        except InputError as error:
            refusals.append(refused(task, str(error), began))
    return tasks, refusals


def key_of(task: Task, deciding: dict[str, Any]) -> str:
    """Names a job: the row, what its files are by path, size and time, and all that is `deciding`. InputError."""
    files = [_stamp(task.video), _stamp(task.audio)]
    decisive = json.dumps([task.id, task.output, files, plain(task.mouth), deciding], sort_keys=True)
    return hashlib.sha256(decisive.encode()).hexdigest()[:24]


def _stamp(path: str) -> list:
    try:
        stat = os.stat(path)
    except OSError as error:
        raise InputError(f"no such file: {path}" if isinstance(error, FileNotFoundError) else str(error)) from None
    return [path, stat.st_size, stat.st_mtime_ns]


def duration_of(path: Path) -> float:
    """Seconds by the container's word, 0 where it says nothing; nothing is decoded. InputError."""
    with open_media(path) as container:
        return container.duration / av.time_base if container.duration and container.duration > 0 else 0.0
