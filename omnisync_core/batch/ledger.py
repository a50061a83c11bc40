"""What is known of a batch on disk: a record per row, and a folder per clip that is at work.

Everything lies in `<out>/.omnisync/`. A result is made in its work folder; when it is whole, its record is written,
then it is moved to its name. So a file of ours always has a record, a record always leads to a whole file (under its
name or still in the work folder), and a file without one is somebody else's.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import InputError, OutputError
from ..files import make_folder, replacing, sync
from ..job.lock import Lock
from ..job.manifest import file_digest
from .outcome import Outcome

FOLDER = ".omnisync"
WAIT_SECONDS = 0.5
"""Between two looks at a clip that another process works on."""


@dataclass(frozen=True)
class Ledger:
    """The records of the batch that writes into `out`."""

    out: Path

    def find(self, id: str, key: str) -> Outcome | None:
        """The outcome of a row whose result is whole; one that was stopped just before its move is moved now.

        None: it is to be made (never made, another job by now, or its file is gone).
        """
        record = self._read(id)
        if record is None or record["key"] != key:
            return None
        outcome = Outcome(**record["outcome"])
        output, staged = Path(outcome.output), self.work(key) / Path(outcome.output).name
        if staged.exists() and file_digest(staged) == outcome.sha256:
            _move(staged, output)
        return outcome if _size(output) == record["bytes"] else None

    def keep(self, key: str, outcome: Outcome, staged: Path) -> None:
        """Record the outcome of a result that is whole, and move it from where it was made to its name."""
        sync(staged)
        self._write(outcome.id, {"key": key, "bytes": _size(staged), "outcome": asdict(outcome)})
        _move(staged, Path(outcome.output))

    def check_free(self, id: str, output: Path) -> None:
        """InputError: a file that this batch did not write is never written over, be it another row's source."""
        if output.exists() and self._read(id) is None:
            raise InputError(f"{output} is there and not from this batch: move it away, or choose another --out")

    def work(self, key: str) -> Path:
        """Where a clip is made."""
        return self.out / FOLDER / "work" / key

    @contextmanager
    def claimed(self, key: str) -> Iterator[Path]:
        """The work folder of a clip, while nobody else works in it: a process that was believed dead may still."""
        folder = self.work(key)
        lock = Lock(folder)
        while True:
            try:
                lock.take()
                break
            except InputError:
                time.sleep(WAIT_SECONDS)
            except OSError as error:
                raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from None
        try:
            yield folder
        finally:
            lock.release()

    @contextmanager
    def counted(self, key: str, name: str) -> Iterator[int]:
        """How many processes died at this work on a clip; `name` says at which, and in which run.

        OutputError: the folder cannot be written.
        """
        begun = self.work(key) / f"{name}.begun"
        make_folder(begun.parent)
        try:
            with open(begun, "ab") as file:
                file.write(b".")
        except OSError as error:
            raise OutputError(f"cannot write {begun}: {error.strerror}") from None
        try:
            yield (_size(begun) or 1) - 1
        finally:
            begun.unlink(missing_ok=True)

    def tidy(self, key: str) -> None:
        """Remove the work folder of a clip that is whole, or that has nothing to go on from."""
        folder = self.work(key)
        if not any(folder.rglob("*.npz")):
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # others are at work
            folder.parent.rmdir()

    def _path(self, id: str) -> Path:
        name = hashlib.sha256(id.encode()).hexdigest()[:24]
        return self.out / FOLDER / "rows" / name[:2] / f"{name}.json"

    def _read(self, id: str) -> dict | None:
        try:
            record = json.loads(self._path(id).read_text(encoding="utf-8"))
            is_whole = {"key", "bytes"} <= record.keys() and Outcome(**record["outcome"]).id == id
            return record if is_whole else None
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None

    def _write(self, id: str, record: dict) -> None:
        path = self._path(id)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, durable=True, shared=True) as part:
            part.write_text(json.dumps(record), encoding="utf-8")


def _move(staged: Path, output: Path) -> None:
    os.replace(staged, output)
    sync(output.parent)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
