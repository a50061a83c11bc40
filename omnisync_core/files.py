"""Files that appear whole or not at all: written beside their place, then moved there; folders for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

from .errors import OutputError

PART = ".part"


def make_folder(path: Path) -> None:
    """The folder and those above it, where they are not there. OutputError: it cannot be had."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path}: {error.strerror}") from None


def part_of(path: Path) -> Path:
    """Where a file is written before it takes its place."""
    return path.with_name(f"{path.name}{PART}")


@contextmanager
def replacing(
    path: str | PathLike[str], *, durable: bool = False, shared: bool = False, by_suffix: bool = False
) -> Iterator[Path]:
    """A path to write to: what is there takes the place of `path` on a clean exit, and is gone after an error.

    durable: on return it is on the disk. shared: other processes may write the same file at the same time.
    by_suffix: it is written by something that goes by the name's end.
    """
    path = Path(path)
    part = part_of(path.with_name(f"{path.name}.{os.getpid()}") if shared else path)
    if by_suffix:
        part = part.with_suffix(f"{PART}{path.suffix}")
    try:
        yield part
        if durable:
            sync(part)
        part.replace(path)
        if durable:
            sync(path.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Make a file, or what a folder lists, durable; Windows has no such call for folders."""
    if os.name != "posix" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
