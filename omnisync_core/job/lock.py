"""One job at a time in a folder: a lock that the system lets go when its process ends, however it ends."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NAME = "lock"
_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_FAR = 1 << 30
"""Where Windows locks a byte: beyond the process's number, which others may read."""


class Lock:
    """Held from `take` to `release`. The file holds the number of the process that has it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._file: BinaryIO | None = None

    def take(self) -> None:
        """InputError: another job has it. OSError: the folder cannot be written."""
        while self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = open(self._path, "a+b")  # noqa: SIM115 - held until `release`
            try:
                _lock(file)
            except OSError as error:
                if error.errno in _HELD:
                    holder = _number(file)
                    file.close()
                    raise InputError(
                        f"a job{holder} is at work in {self._path.parent}: wait until it is done, or stop it"
                    ) from None
                # A disk that knows no locks: go on without.
            if _is_there(self._path, file):
                self._file = file
                file.truncate(0)
                file.write(str(os.getpid()).encode())
                file.flush()
            else:  # the job before removed its folder between opening and locking
                file.close()

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def is_held(folder: Path) -> bool:
    """Whether a job is at work in a folder."""
    try:
        with open(folder / NAME, "r+b") as file:
            _lock(file)
    except FileNotFoundError:
        return False
    except OSError as error:
        return error.errno in _HELD
    return False


def _lock(file: BinaryIO) -> None:
    if sys.platform == "win32":
        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_there(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _number(file: BinaryIO) -> str:
    """The process that holds the lock, for a message; empty where it has not said so yet."""
    file.seek(0)
    holder = file.read(20)
    return f" (process {holder.decode()})" if holder.isdigit() else ""
