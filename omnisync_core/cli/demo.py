"""`demo`: the demonstration."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    command = commands.add_parser("demo", help="the bundled model on a bundled clip, with figures")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    from ..demo import run as show

    show(options.out)
