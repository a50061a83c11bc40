"""`prepare`: footage to clips that can be learned from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..job.bars import Bars
from .arguments import number, whole


def add(commands: Any) -> None:
    command = commands.add_parser("prepare", help="footage to clips of aligned faces that can be learned from")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="videos with sound, a folder for each person")
    command.add_argument("--out", type=Path, required=True, metavar="SET")
    command.add_argument("--resolution", type=whole(64, 2048), default=256, help="pixels per side (default 256)")
    command.add_argument("--test-share", type=number(0, 0.9), default=0.1, help="of the people (default 0.1)")
    command.add_argument("--syncnet", default="", metavar="FILE", help="leave out clips that it says are out of sync")
    command.add_argument("--table", choices=("clips.csv", "clips.parquet"), default="clips.csv",
                         help="the list of clips (default clips.csv)")  # fmt: skip
    command.add_argument("--workers", type=whole(1, 256), default=1, help="processes (default 1)")
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    from ..training.footage import PrepareOptions, prepare
    from ..training.footage.prepare import summary

    asked = PrepareOptions(
        resolution=options.resolution, test_share=options.test_share, table=options.table, syncnet=options.syncnet
    )
    with Bars() as bars:
        rows = prepare(
            options.folder, options.out, asked, options.workers,
            lambda done, total: bars.show("prepare", done, total, "looking for faces", "video"),
        )  # fmt: skip
    print(f"{options.out}: {summary(rows)}")
