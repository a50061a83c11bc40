"""A workflow for every clip of a list, over several ComfyUI servers: one POST a clip, to whoever is free.

What a server that died was given goes to another; a result is fetched into the clip's work folder and moved to its name
by the ledger of `batch`, so that nothing is there twice, and the same command goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .batch.clip import Task, refused
from .batch.ledger import FOLDER, Ledger
from .batch.outcome import RESULTS, Outcome, write_results
from .batch.plan import duration_of, key_of
from .errors import InputError, JobError, OutputError
from .files import make_folder
from .job.lock import Lock
from .job.manifest import file_digest
from .manifest import Row
from .queue import Server, ServerGone, Setting, address_of, files_of, open_session, read_setting, read_workflow
from .tables import need_parquet

SLOTS = 2
"""Jobs that a server has at most while clips are left: one runs, one waits, so that it never stands still."""
PAUSE_SECONDS = 2.0
"""Before a server that was busy or gone is asked again; ten of these before it gets a clip again that it lost."""
PATIENCE_SECONDS = 60.0
"""Without any server that answers; then the run ends."""
MOST_TRIES = 3
"""Of one clip on servers that went away over it."""


@dataclass
class Clip:
    """A row on its way."""

    task: Task
    changes: list[Setting]
    tries: int = 0
    lost: dict[str, float] = field(default_factory=dict)
    """When each server went away over it."""


def queue_batch(
    workflow: Path,
    rows: Sequence[Row],
    hosts: Sequence[str],
    settings: Sequence[str],
    out: Path,
    tell: Callable[[Outcome], None] = lambda _: None,
) -> Counter[str]:
    """Run a workflow (API form) for each row of a manifest; returns the number of rows by state.

    settings: `node.input=value`, where `{id}`, `{video}`, `{audio}` and other columns stand for the row's. A workflow
    saves one file, which becomes `out/ID.suffix`; `out/results.parquet` says what became of every row. InputError,
    OutputError, JobError: no server answers any more.
    """
    need_parquet()
    prompt = read_workflow(workflow)
    if not any("{" in text for text in settings):
        raise InputError("--manifest needs --set with a column in braces, e.g. --set 1.file={video}")
    make_folder(out)
    ledger, lock = Ledger(out.absolute()), Lock(out.absolute() / FOLDER)
    lock.take()
    found: dict[str, Outcome] = {}
    try:
        clips = []
        for row in rows:
            began = time.monotonic()
            try:
                clip = _clip(row, prompt, settings, ledger)
            except InputError as error:
                found[row.id] = refused(Task(row.id, "", "", "", ""), str(error), began)
            else:
                known = ledger.find(row.id, clip.task.key)
                clips += [] if known else [clip]
                found |= {row.id: known} if known else {}
        for outcome in found.values():
            tell(outcome)
        asyncio.run(_Fleet(prompt, ledger, clips, tell, found).run([address_of(host) for host in hosts]))
    finally:
        write_results(out / RESULTS, [found[row.id] for row in rows if row.id in found])
        lock.release()
    return Counter(outcome.state for outcome in found.values())


def _clip(row: Row, prompt: dict[str, dict], settings: Sequence[str], ledger: Ledger) -> Clip:
    """What one row asks of a server. InputError."""
    if row.problem:
        raise InputError(row.problem)
    video, audio = row.video.absolute(), row.audio.absolute()
    x, y = row.mouth or (None, None)
    columns = {**row.other, "id": row.id, "video": video, "audio": audio, "mouth_x": x, "mouth_y": y}
    changes = [read_setting(prompt, _filled(text, columns)) for text in settings]
    task = Task(row.id, str(video), str(audio), str(ledger.out), "", seconds=duration_of(video))
    return Clip(replace(task, key=key_of(task, {"workflow": prompt, "settings": list(settings)})), changes)


def _filled(text: str, columns: dict[str, object]) -> str:
    """A setting with the row's values in the place of their columns."""
    for name, value in columns.items():
        if f"{{{name}}}" in text:
            if value is None:
                raise InputError(f"--set {text}: the row has no {name}")
            text = text.replace(f"{{{name}}}", str(value))
    return text


class _Fleet:
    """The servers at work on the clips that are left."""

    def __init__(
        self,
        prompt: dict[str, dict],
        ledger: Ledger,
        clips: Sequence[Clip],
        tell: Callable[[Outcome], None],
        found: dict[str, Outcome],
    ) -> None:
        self._prompt, self._ledger, self._tell, self._found = prompt, ledger, tell, found
        self._todo, self._left = deque(clips), len(clips)
        self._answered = time.monotonic()

    async def run(self, hosts: Sequence[str]) -> None:
        """Until every clip has an outcome. JobError: no server answers."""
        if not self._left:
            return
        try:
            async with open_session() as session, asyncio.TaskGroup() as group:
                for host in hosts:
                    for _ in range(SLOTS):
                        group.create_task(self._serve(host, Server(host, session, shows_bars=False)))
        except* (InputError, OutputError) as errors:
            problem = errors.exceptions[0]
        else:
            return
        raise problem

    async def _serve(self, host: str, server: Server) -> None:
        """One slot of a server: a clip after the other, while it answers and is not busy with others' jobs."""
        while self._left:
            clip, is_done = None, False
            try:
                with server.reached():
                    clip = self._take(host) if self._todo and await server.waiting() < SLOTS else None
                    if clip is not None:
                        self._end(await self._run(server, clip))
                        is_done = True
                    self._answered = time.monotonic()
            except JobError as error:
                self._give_back(host, clip, str(error))
            if not is_done:
                await asyncio.sleep(PAUSE_SECONDS)

    def _take(self, host: str) -> Clip | None:
        """The next clip for a server; one that it lost is first offered to the others."""
        long_ago = time.monotonic() - 10 * PAUSE_SECONDS
        clip = next((clip for clip in self._todo if clip.lost.get(host, 0.0) < long_ago), None)
        if clip is not None:
            self._todo.remove(clip)
        return clip

    async def _run(self, server: Server, clip: Clip) -> Outcome:
        """One clip on a server. ServerGone."""
        began, task = time.monotonic(), clip.task
        try:
            items = files_of(await server.run(self._prompt, clip.changes))
            if len(items) != 1:
                raise InputError(f"the workflow saved {len(items)} files; it must save one a clip")
            made = await server.fetch(items[0], self._ledger.work(task.key))
            output = self._ledger.out / f"{task.id}{made.suffix}"
            self._ledger.check_free(task.id, output)
            staged = made.replace(made.with_name(output.name))
            seconds = round(time.monotonic() - began, 3)
            outcome = Outcome(task.id, "done", str(output), file_digest(staged), seconds, task.seconds)
            self._ledger.keep(task.key, outcome, staged)
        except ServerGone:
            raise
        except InputError as error:
            outcome = refused(task, str(error), began)
        except OSError as error:
            outcome = replace(refused(task, str(error), began), state="failed")
        self._ledger.tidy(task.key)
        return outcome

    def _give_back(self, host: str, clip: Clip | None, problem: str) -> None:
        """A server went away: its clip is for another, or for it when it is back. JobError: all are gone for long."""
        if clip is not None:
            clip.tries, clip.lost[host] = clip.tries + 1, time.monotonic()
            if clip.tries < MOST_TRIES:
                self._todo.append(clip)
            else:
                self._end(replace(refused(clip.task, problem, time.monotonic()), state="failed"))
        if time.monotonic() - self._answered > PATIENCE_SECONDS:
            raise JobError(f"no server answers any more ({problem}); the same command goes on")

    def _end(self, outcome: Outcome) -> None:
        self._left -= 1
        self._found[outcome.id] = outcome
        self._tell(outcome)
