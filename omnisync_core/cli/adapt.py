"""`adapt`: the model learns the person in a clip."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..job.report import clock
from .arguments import file, number
from .bars import Bars, stopped
from .options import add_device, add_mouth, add_seed, add_video


def add(commands: Any) -> None:
    command = commands.add_parser("adapt", help="let the model learn the person in a clip, from the clip alone")
    add_video(command)
    command.add_argument("--audio", type=Path, metavar="OWN", help="the clip's own sound (default: the video's)")
    add_mouth(command)
    command.add_argument("--output", type=file, required=True, metavar="PERSON.safetensors")
    command.add_argument("--minutes", type=number(0, 1440), default=5.0, help="all in (default 5)")
    command.add_argument("--resume", action="store_true", help="go on with one that was stopped")
    command.add_argument("--model", type=Path, metavar="BUNDLE", help="learn with this one (default: the bundled one)")
    add_seed(command)
    add_device(command, default="auto")
    command.set_defaults(command=run, stopped=lambda options, again: stopped(options, again, "what was learned is"))


def run(options: argparse.Namespace) -> None:
    from ..adaptation import AdaptOptions, adapt

    asked = AdaptOptions(minutes=options.minutes, mouth=options.mouth, seed=options.seed, resume=options.resume)
    with Bars() as bars:
        result = adapt(
            options.video, options.output, audio=options.audio, model=options.model, options=asked,
            device=options.device, progress=bars,
        )  # fmt: skip
    print(
        f"{result.output}: {result.steps} steps on {result.windows} windows in {clock(result.seconds)}; of the way "
        f"back on windows kept out {result.share_before:.2f} was found before, {result.share:.2f} now"
    )
    for line in result.warnings:
        print(f"warning: {line}", file=sys.stderr)
