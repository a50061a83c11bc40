"""`track`: where the mouth is in every frame."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, NoMouthHereError, OutputError
from .bars import Bars
from .options import add_mouth, add_video

if TYPE_CHECKING:
    from ..mouth import MouthTrack


def add(commands: Any) -> None:
    command = commands.add_parser("track", help="where the mouth is in every frame, without an edit")
    add_video(command)
    add_mouth(command)
    command.add_argument("--output", type=Path, required=True, metavar="TRACK.json",
                         help="per frame: time, x, y, width (pixels), roll, confidence, source")  # fmt: skip
    command.add_argument("--picture", type=Path, metavar="SHEET.png", help="some frames with the mouth marked")
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    from ..sheets.track_file import find, write_picture, write_track

    with Bars() as bars:
        found, picture = find(options.video, options.mouth, bars.look)
    for line in found.warnings:
        print(f"warning: {line}", file=sys.stderr)
    write_track(options.output, found)
    if options.picture is not None:
        write_picture(options.picture, picture)
    print(_seen(options.output, found))


def shown_mouth(video: Path, how: Any, picture: Path) -> MouthTrack:
    """Where the mouth is, after a picture of it was written; InputError where there is none."""
    from ..sheets.track_file import find, write_picture

    with Bars() as bars:
        found, sheet = find(video, how, bars.look)
    write_picture(picture, sheet)
    print(_seen(picture, found), flush=True)
    if not found.confidence_N.any():
        raise InputError(" ".join(found.warnings) or "no mouth was found")
    return found


def picture_of(error: NoMouthHereError, options: argparse.Namespace) -> str:
    """Draws the point and the mouths that are seen, beside the output unless another name was given; says where."""
    from ..sheets.refusal import draw_refusal
    from ..sheets.track_file import write_picture

    named = getattr(options, "show_mouth", None) or getattr(options, "picture", None)
    path = named or f"{getattr(options, 'output', 'first_frame')}.mouth.png"
    try:
        write_picture(path, draw_refusal(error))
    except (InputError, OutputError) as unwritten:
        return str(unwritten)
    return f"look at {path}"


def _seen(written: Path, found: MouthTrack) -> str:
    return f"{written}: the mouth in {(found.confidence_N > 0).sum()} of {len(found.pts_N)} frames"
