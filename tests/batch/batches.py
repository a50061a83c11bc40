"""Small batches: clips of soft blobs, an engine that needs no weights and can be told to misbehave."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from omnisync_core.batch.outcome import RESULTS, read_results
from omnisync_core.batch.run import open_batch, run_batch, run_here
from omnisync_core.job.manifest import file_digest
from omnisync_core.job.options import SyncOptions
from omnisync_core.manifest import Row
from tests.fake import FakeEngine, write_sound, write_video

OPTIONS = SyncOptions(lossless=True, mouth="centre")


@dataclass(frozen=True)
class FakeChoice:
    """Loads a `FakeEngine`; `naps` seconds a window."""

    naps: float = 0.0
    name: str = "fake"
    settings: dict = field(default_factory=dict)

    def identity(self):
        return {"engine": self.name}

    def load(self):
        return Napping(self.naps)


class Napping(FakeEngine):
    def __init__(self, naps):
        super().__init__(steps=1)
        self.naps = naps

    def edit_window(self, excerpt, anchor, on_step):
        time.sleep(self.naps)
        return super().edit_window(excerpt, anchor, on_step)


def write_rows(folder: Path, count: int, frames: int = 10) -> list[Row]:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        video = write_video(folder / f"v{number}.mkv", frames, cuts=(3 + number % 5,))
        sound = write_sound(folder / f"a{number}.wav", 0.4, loudness=0.2 + 0.05 * number)
        rows.append(Row(number, f"clip{number}", video, sound))
    return rows


def run(rows, out, engine=None, runner=run_here, options=OPTIONS, tell=lambda _: None):
    """The rows of the table, by id, and how many there are by state."""
    batch = open_batch(rows, out, ".mkv", options, engine or FakeChoice())
    states = run_batch(batch, runner, tell)
    return {outcome.id: outcome for outcome in read_results(out / RESULTS)}, states


def digests(out: Path) -> dict[str, str]:
    return {path.name: file_digest(path) for path in out.glob("*.mkv")}
