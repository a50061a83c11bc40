"""Pseudo-pairs by any engine of ours: a clip whose mouth was changed to another clip's sound, and the clip as truth.

The changed clip may only be what is shown, never what is to be made.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...engines.protocol import Engine
from ...errors import InputError
from ...job.options import SyncOptions
from ...marks.options import Marks
from ...pipeline import sync_video
from ...tables import read_table, write_table
from .crops import read_beside, write_beside

CHANGED = "changed.csv"


def change(
    folder: str | Path, engine: Engine, seed: int = 0, on_clip: Callable[[int, int], None] = lambda done, total: None
) -> int:
    """Change every clip of a set to another's sound; returns how many there are now. What is there is not made again.

    InputError: fewer than two clips.
    """
    folder = Path(folder)
    table = folder / "clips.parquet" if (folder / "clips.parquet").exists() else folder / "clips.csv"
    clips = [row for row in read_table(table) if not row.get("problem")]
    if len(clips) < 2:
        raise InputError(f"{folder} has {len(clips)} clips; a clip is changed to another's sound: prepare two or more")
    rows = []
    for number, row in enumerate(clips):
        others = [one for one in clips if one["split"] == row["split"] and one is not row]
        if others:
            other = others[int(np.random.default_rng([seed, number]).integers(len(others)))]
            rows.append(_changed(folder, row, other, engine, seed))
        on_clip(number + 1, len(clips))
    write_table(folder / CHANGED, rows)
    return len(rows)


def _changed(folder: Path, row: dict[str, Any], other: dict[str, Any], engine: Engine, seed: int) -> dict[str, Any]:
    clip = folder / row["path"]
    path = clip.with_name(f"{clip.stem}_changed.mp4")
    known = read_beside(clip)
    if not path.exists():
        x, y, width = (value * _side(clip) for value in known["mouth"][0])
        options = SyncOptions(seed=seed, mouth=(x, y, width), marks=Marks(kinds=()))
        sync_video(clip, folder / other["path"], path, engine, options)
        write_beside(path, known)
    return row | {"path": path.relative_to(folder).as_posix(), "of": row["path"]}


def _side(clip: Path) -> int:
    from ...media import probe_video

    return probe_video(clip).width
