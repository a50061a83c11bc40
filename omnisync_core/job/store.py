"""Finished windows of a job on disk, so that a killed job goes on where it stopped.

The folder holds `manifest.json` (what decides the result), `lock` (while a job is at work), `track.npz` and one
`window_00000.npz` per finished window; those of a second speaker begin with `1_`. Every file is written beside, synced
and moved into place: whole or absent. An .npz ends with a seal, the sha256 of job, name and content: one that was
damaged, or belongs elsewhere, is not taken.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, OutputError
from ..files import replacing
from .lock import Lock

SEAL_BYTES = 32


class Store:
    """The state folder of one job, or (with a prefix) one speaker's share of it."""

    def __init__(self, folder: Path, key: str, prefix: str = "") -> None:
        self.folder, self._key, self._prefix = folder, key, prefix
        self._lock = Lock(folder)

    @classmethod
    def open(
        cls, output: Path, manifest: Mapping[str, Any], *, resume: bool, state: str | os.PathLike | None = None
    ) -> Store:
        """Begin, or go on with, the job that writes `output`, in the folder `<output>.omnisync`.

        Without `resume`, finished windows are never thrown away: the user continues them or deletes the folder.
        With it, the job must be the same, else the error names what differs; where nothing was finished, it begins.
        With `state`, the folder lies in there and is named by the manifest: it can only be the same job, whatever the
        result will be called, and without `resume` it starts over.
        """
        # As the file will read back: tuples are lists there, and keys are strings.
        manifest = json.loads(json.dumps(manifest))
        key = _key(manifest)
        store = cls(Path(f"{output}.omnisync") if state is None else Path(state) / key, key)
        store._take()
        try:
            store._go_on(manifest, resume=resume, own=state is not None)
        except BaseException:
            store.close()
            raise
        return store

    def _take(self) -> None:
        try:
            self._lock.take()
        except InputError:
            raise
        except OSError as error:
            raise OutputError(f"cannot make the folder {self.folder}: {error.strerror}") from None

    def _go_on(self, manifest: Mapping[str, Any], *, resume: bool, own: bool) -> None:
        finished = self.finished()
        if finished and not resume and not own:
            raise InputError(f"{self.folder} holds {finished} finished windows of a job that was stopped", "resume")
        differ = self._differences(manifest)
        if differ and finished and not own:
            raise InputError(f"cannot resume {self.folder}, it is another job: {'; '.join(differ)}")
        if not resume or differ:
            self._clear()
        if resume:
            self._drop_damaged()
        self._put("manifest.json", json.dumps(manifest, indent=1).encode())

    def of_speaker(self, number: int) -> Store:
        """The share of one speaker, counted from 0."""
        return Store(self.folder, self._key, f"{number}_" if number else "")

    def finished(self) -> int:
        """Number of windows that are done, of all speakers."""
        return sum(1 for _ in self.folder.glob("*window_*.npz"))

    def has(self, name: str) -> bool:
        return self._path(name).exists()

    def write(self, name: str, **arrays: np.ndarray) -> None:
        """Keep arrays under a name; on return they are on the disk."""
        buffer, path = io.BytesIO(), self._path(name)
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # none is called allow_pickle
        buffer.write(self._seal(path.name, buffer.getbuffer()))
        self._put(path.name, buffer.getbuffer())

    def read(self, name: str) -> dict[str, np.ndarray]:
        path = self._path(name)
        content = self._content(path)
        if content is None:
            raise self._gone() or InputError(f"{path} was damaged while the job ran: resume, and it is made again")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays)

    def remove(self) -> None:
        """Forget the job."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Let others at the folder; forget a job that has nothing yet to go on from."""
        is_empty = not any(self.folder.glob("*.npz"))
        self._lock.release()
        if is_empty:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{self._prefix}{name}.npz"

    def _seal(self, name: str, content: Any) -> bytes:
        sha = hashlib.sha256(f"{self._key} {name} ".encode())
        sha.update(content)
        return sha.digest()

    def _content(self, path: Path) -> memoryview | None:
        """What a sealed file holds; None where it is not what this job wrote under this name."""
        try:
            data = memoryview(path.read_bytes())
        except OSError:
            return None
        content, seal = data[:-SEAL_BYTES], data[-SEAL_BYTES:]
        return content if seal == self._seal(path.name, content) else None

    def _drop_damaged(self) -> None:
        """What is not whole is made again."""
        for path in self.folder.glob("*.npz"):
            if self._content(path) is None:
                _delete(path)

    def _clear(self) -> None:
        for path in (*self.folder.glob("*.npz"), *self.folder.glob("*.json")):
            _delete(path)

    def _gone(self) -> OutputError | None:
        if self.folder.is_dir():
            return None
        return OutputError(f"{self.folder} is gone: it was removed while the job ran; run the job again")

    def _differences(self, manifest: Mapping[str, Any]) -> list[str]:
        """What is not the same in the manifest on disk, one phrase each."""
        try:
            before = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            before = None
        if not isinstance(before, dict):
            if any(self._content(path) is not None for path in self.folder.glob("*.npz")):
                return []
            return ["its manifest.json cannot be read"]
        return sorted(_differences(before, manifest))

    def _put(self, name: str, data: Any) -> None:
        path = self.folder / name
        try:
            with replacing(path, durable=True) as part:
                part.write_bytes(data)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            hint = "; free some and resume" if full else ""
            raise self._gone() or OutputError(f"cannot write {path}: {error.strerror}{hint}") from None


def window_name(index: int) -> str:
    return f"window_{index:05d}"


def note_name(index: int) -> str:
    """What the user should know of a window, where there is something."""
    return f"note_{index:05d}"


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove {path}: {error.strerror}") from None


def _key(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:24]


def _differences(before: Any, after: Any, name: str = "") -> list[str]:
    """Leaves that differ, as `name was X, now Y`."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = before.keys() | after.keys()
        return [line for key in keys for line in _differences(before.get(key), after.get(key), f"{name}.{key}")]
    return [] if before == after else [f"{name.lstrip('.')} was {_short(before)}, now {_short(after)}"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
