"""`train`: a model from a configuration."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .arguments import whole


def add(commands: Any) -> None:
    command = commands.add_parser("train", help="train a model")
    command.add_argument("config", type=Path, metavar="CONFIG.toml")
    command.add_argument("--dry-run", action="store_true",
                         help="memory by part and time of a step of an [omnisync] training; nothing else")  # fmt: skip
    command.add_argument("--processes", type=whole(1, 4096), default=1, help="with --dry-run: how many share it")
    command.add_argument("--untimed", action="store_true", help="with --dry-run: do not measure a step here")
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    from ..training.loop import dry_run, train

    if options.dry_run:
        print(dry_run(options.config, options.processes, timed=not options.untimed))
    else:
        print(f"the model is {train(options.config)}")
