"""`verify`: what a file says of itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..marks.options import weights_named
from .options import add_watermark


def add(commands: Any) -> None:
    command = commands.add_parser("verify", help="what a file says of itself, and whether it was changed since")
    command.add_argument("file", type=Path, metavar="FILE")
    add_watermark(command)
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    from ..marks.verify import verify

    verdict = verify(options.file, options.watermark_weights or weights_named())
    print("\n".join(verdict.lines()))
    if verdict.is_changed:
        raise InputError(f"{options.file} was changed after it was signed")
