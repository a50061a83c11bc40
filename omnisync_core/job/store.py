"""Finished windows of a job on disk, so that a killed job goes on where it stopped.

The folder holds `manifest.json` (what decides the result), `track.npz` and one `window_00000.npz` per finished window;
those of a second speaker begin with `1_`. Every file is written beside, synced and moved into place: whole or absent.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, OutputError


class Store:
    """The state folder of one job, or (with a prefix) one speaker's share of it."""

    def __init__(self, folder: Path, prefix: str = "") -> None:
        self.folder, self._prefix = folder, prefix

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
        store = cls(Path(f"{output}.omnisync") if state is None else Path(state) / _key(manifest))
        finished = store.finished()
        if finished and not resume and state is None:
            raise InputError(f"{store.folder} holds {finished} finished windows of a job that was stopped", "resume")
        differ = store._differences(manifest)
        if differ and finished:
            raise InputError(f"cannot resume {store.folder}, it is another job: {'; '.join(differ)}")
        if differ or not resume:
            store.remove()
            store._begin(manifest)
        return store

    def of_speaker(self, number: int) -> Store:
        """The share of one speaker, counted from 0."""
        return Store(self.folder, f"{number}_" if number else "")

    def finished(self) -> int:
        """Number of windows that are done, of all speakers."""
        return sum(1 for _ in self.folder.glob("*window_*.npz"))

    def has(self, name: str) -> bool:
        return self._path(name).exists()

    def write(self, name: str, **arrays: np.ndarray) -> None:
        """Keep arrays under a name; on return they are on the disk."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # none is called allow_pickle
        self._put(self._path(name).name, buffer.getbuffer())

    def read(self, name: str) -> dict[str, np.ndarray]:
        path = self._path(name)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} is damaged ({error}): delete that file and resume again") from None

    def remove(self) -> None:
        """Forget the job."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove_if_empty(self) -> None:
        """Forget a job that has nothing yet to go on from."""
        if not any(self.folder.glob("*.npz")):
            self.remove()

    def _path(self, name: str) -> Path:
        return self.folder / f"{self._prefix}{name}.npz"

    def _begin(self, manifest: Mapping[str, Any]) -> None:
        try:
            self.folder.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"cannot make the folder {self.folder}: {error.strerror}") from None
        self._put("manifest.json", json.dumps(manifest, indent=1).encode())

    def _differences(self, manifest: Mapping[str, Any]) -> list[str]:
        """What is not the same in the manifest on disk, one phrase each."""
        try:
            before = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return ["its manifest.json cannot be read"]
        return sorted(_differences(before, manifest))

    def _put(self, name: str, data: Any) -> None:
        path, temporary = self.folder / name, self.folder / f"{name}.part"
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(self.folder)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            hint = "; free some and resume" if full else ""
            raise OutputError(f"cannot write {path}: {error.strerror}{hint}") from None


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


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; Windows has no such call and does it by itself."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
