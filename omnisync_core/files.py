"""Files that appear whole or not at all: written beside their place, then moved there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

PART = ".part"


def part_of(path: Path) -> Path:
    """Where a file is written before it takes its place."""
    return path.with_name(f"{path.name}{PART}")


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[Path]:
    """A path to write to: what is there takes the place of `path` on a clean exit, and is gone after an error."""
    part = part_of(Path(path))
    try:
        yield part
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
