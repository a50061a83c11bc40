"""`evaluate`: figures of a model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .options import add_adapter, add_clips, add_device, add_mouth, add_video


def add(commands: Any) -> None:
    command = commands.add_parser("evaluate", help="measure a model")
    what = command.add_subparsers(required=True, metavar="what", parser_class=type(command))
    drawn = what.add_parser("synth", help="on drawn characters with exact ground truth")
    add_clips(drawn, clips=64)
    drawn.add_argument("--grid", action="store_true", help="also over guidance settings")
    drawn.add_argument("--syncnet", type=Path, metavar="FILE", help="a small SyncNet of drawn characters judges too")
    drawn.set_defaults(command=synth)
    _add_cycle(
        what.add_parser("cycle", help="on a real clip: changed to other sounds and back, against the clip itself")
    )


def _add_cycle(command: argparse.ArgumentParser) -> None:
    add_video(command)
    command.add_argument("--audio", type=Path, required=True, metavar="OWN", help="the clip's own sound")
    command.add_argument("--others", type=Path, nargs="+", required=True, metavar="A", help="other sounds")
    add_mouth(command)
    command.add_argument("--model", type=Path, metavar="BUNDLE", help="default: the bundled one")
    add_adapter(command)
    add_device(command, default="auto")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.set_defaults(command=cycle)


def synth(options: argparse.Namespace) -> None:
    from ..evaluation.synth import evaluate

    evaluate(options.out, clips=options.clips, seed=options.seed, grid=options.grid, syncnet=options.syncnet)


def cycle(options: argparse.Namespace) -> None:
    from ..engines.omnisync import load_engine
    from ..evaluation.cycle import cycle as measure

    # The changes are the model's own in any case, so that with and without an adapter the same is asked.
    plain = load_engine(options.model, device=options.device)
    engine = load_engine(options.model, adapter=options.adapter, device=options.device) if options.adapter else plain
    measure(options.video, options.audio, options.others, engine, options.mouth, options.out, changer=plain)
