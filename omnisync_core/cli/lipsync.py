"""`lipsync`: a video's mouth says a sound."""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..job.report import Report, clock
from .arguments import file, number, speaker
from .bars import Bars, stopped
from .options import add_lossless, add_marks, add_model, add_public, add_video, add_work, engine_settings, sync_options


def add(commands: Any) -> None:
    command = commands.add_parser("lipsync", help="make a video's mouth say a sound")
    command.usage = "%(prog)s --video V --audio A --output O [options]"
    command.set_defaults(command=run, stopped=lambda options, again: stopped(options, again, "finished windows are"))
    files = command.add_argument_group("files")
    add_video(files)
    files.add_argument("--audio", type=Path, metavar="A", help="a sound file, or a video with sound")
    files.add_argument("--output", type=file, required=True, metavar="O", help="ends in .mp4, .mov or .mkv")
    add_lossless(files)
    files.add_argument("--resume", action="store_true", help="go on with a job that was stopped")
    files.add_argument("--preview", type=number(0, math.inf), metavar="SECONDS", help="only the first seconds")

    work = command.add_argument_group("what happens")
    work.add_argument("--show-mouth", type=Path, metavar="PICTURE.png",
                      help="before the edit, write a picture of where the mouth was found")  # fmt: skip
    add_work(work)
    work.add_argument("--speaker", type=speaker, action="append", default=[], metavar="SOUND@X,Y[,WIDTH]",
                      help="one of several people, once for each; without --audio their sounds are mixed")  # fmt: skip
    add_marks(command)
    add_model(command)
    add_public(command)


def run(options: argparse.Namespace) -> None:
    from ..engines.choice import open_engine
    from ..job.cast import heard, read_cast
    from ..pipeline import sync_video
    from .track import shown_mouth

    speakers = read_cast(options.speaker, options.audio, options.mouth, options.show_mouth)
    sync = replace(sync_options(options), preview_seconds=options.preview, resume=options.resume)
    if options.show_mouth is not None:
        sync = replace(sync, mouth=shown_mouth(options.video, options.mouth, options.show_mouth))
    engine = open_engine(options.model, options.vae, options.whisper, engine_settings(options))
    with warnings.catch_warnings(), heard(options.audio, speakers) as sound, Bars() as bars:
        # What is wrong with the files stands once, in the report.
        warnings.simplefilter("ignore", UserWarning)
        report = sync_video(options.video, sound, options.output, engine, sync, bars, speakers=speakers)
    _print(report)


def _print(report: Report) -> None:
    for line in report.warnings:
        print(f"warning: {line}", file=sys.stderr)
    for passed in report.passed:
        print(f"unchanged {passed.start:.2f} to {passed.stop:.2f} s ({passed.frames} frames): {passed.reason}")
    for line in report.marks:
        print(line)
    print(f"{report.output}: {report.edited} of {report.frames} frames edited, {clock(report.seconds)}")
    if report.whole is not None:
        print(f"the whole: {report.whole}")
