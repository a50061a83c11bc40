"""`synth`: drawn talking characters."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import number, whole
from .options import add_clips


def add(commands: Any) -> None:
    command = commands.add_parser("synth", help="draw talking characters with exact ground truth")
    add_clips(command, clips=4)
    command.add_argument("--size", type=whole(32, 4096), default=256, help="pixels per side (default 256)")
    command.add_argument("--seconds", type=number(0.2, 600), default=3.0, help="per clip (default 3)")
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    from ..synth.clips import write_clips

    write_clips(options.out, clips=options.clips, seed=options.seed, size=options.size, seconds=options.seconds)
    print(f"{options.clips} clips in {options.out}")
