"""The command line. Each command imports what it needs: `lipsync` never meets training or the speech synthesiser."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from .diffusion import CONVENTIONS
from .errors import InputError, OutputError
from .job.options import SILENCE, SyncOptions
from .job.report import Plan, Progress, Report, clock
from .timing.timeline import POLICIES

DTYPES = ("auto", "float32", "bfloat16", "float16")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 for bad input, 130 when interrupted."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    try:
        options.command(options)
    except (InputError, OutputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(_stopped(options, given), file=sys.stderr)
        return 130
    return 0


def lipsync(options: argparse.Namespace) -> None:
    from .engines.omnisync import load_engine
    from .pipeline import sync_video

    sync = SyncOptions(
        seed=options.seed,
        length=options.length,
        silence=options.silence,
        mouth=options.mouth,
        preview_seconds=options.preview,
        lossless=options.lossless,
        resume=options.resume,
    )
    if options.show_mouth is not None:
        sync = replace(sync, mouth=_shown_mouth(options.video, options.mouth, options.show_mouth))
    weights = _given(options, "w_peak", "w_base", "gamma", "convention")
    sampling = _given(options, "prompt", "steps", "tau", "device", "dtype")
    engine = load_engine(options.model, guidance=weights, **sampling)
    with warnings.catch_warnings(), _Bars() as bars:
        # What is wrong with the files is told once, in the report.
        warnings.simplefilter("ignore", UserWarning)
        report = sync_video(options.video, options.audio, options.output, engine, sync, bars)
    _print_report(report)


def track(options: argparse.Namespace) -> None:
    from .sheets.track_file import find, write_picture, write_track

    with _Bars() as bars:
        found, picture = find(options.video, options.mouth, _looking(bars))
    for line in found.warnings:
        print(f"warning: {line}", file=sys.stderr)
    write_track(options.output, found)
    if options.picture is not None:
        write_picture(options.picture, picture)
    print(f"{options.output}: the mouth in {_seen(found)} of {len(found.pts_N)} frames")


def _shown_mouth(video: Path, how, picture: Path):
    """Where the mouth is, after a picture of it was written; InputError where there is none."""
    from .sheets.track_file import find, write_picture

    with _Bars() as bars:
        found, sheet = find(video, how, _looking(bars))
    write_picture(picture, sheet)
    print(f"{picture}: the mouth in {_seen(found)} of {len(found.pts_N)} frames", flush=True)
    if not _seen(found):
        raise InputError(" ".join(found.warnings) or "no mouth was found")
    return found


def _looking(bars: _Bars) -> Callable[[int, int], None]:
    return lambda done, total: bars(Progress("reading", done, total))


def _seen(found) -> int:
    return int((found.confidence_N > 0).sum())


def demo(options: argparse.Namespace) -> None:
    from .demo import run

    run(options.out)


def synth(options: argparse.Namespace) -> None:
    from .synth.clips import write_clips

    write_clips(options.out, clips=options.clips, seed=options.seed, size=options.size, seconds=options.seconds)
    print(f"{options.clips} clips in {options.out}")


def train(options: argparse.Namespace) -> None:
    from .training.loop import train as run

    print(f"the model is {run(options.config)}")


def evaluate(options: argparse.Namespace) -> None:
    from .evaluation.synth import evaluate as run

    run(options.out, clips=options.clips, seed=options.seed, grid=options.grid)


def queue(options: argparse.Namespace) -> None:
    from .queue import queue as run

    made = run(options.workflow, options.host, options.settings, options.out)
    print("\n".join(map(str, made)) or "done; the workflow saves no file")


def _given(options: argparse.Namespace, *names: str) -> dict:
    """The options that the user gave; what is not given is decided where it is used."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m omnisync_core", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="command", parser_class=_Parser)
    _lipsync_parser(commands.add_parser("lipsync", help="make a video's mouth say a sound"))

    command = commands.add_parser("track", help="where the mouth is in every frame, without an edit")
    command.add_argument("--video", type=Path, required=True, metavar="V")
    _mouth_option(command)
    command.add_argument("--output", type=Path, required=True, metavar="TRACK.json",
                         help="per frame: time, x, y, width (pixels), roll, confidence, source")  # fmt: skip
    command.add_argument("--picture", type=Path, metavar="SHEET.png", help="some frames with the mouth marked")
    command.set_defaults(command=track)

    command = commands.add_parser("demo", help="the bundled model on a bundled clip, with figures")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.set_defaults(command=demo)

    command = commands.add_parser("synth", help="draw talking characters with exact ground truth")
    _clips(command, clips=4)
    command.add_argument("--size", type=_whole(32, 4096), default=256, help="pixels per side (default 256)")
    command.add_argument("--seconds", type=_number(0.2, 600), default=3.0, help="per clip (default 3)")
    command.set_defaults(command=synth)

    command = commands.add_parser("train", help="train a model")
    command.add_argument("config", type=Path, metavar="CONFIG.toml")
    command.set_defaults(command=train)

    command = commands.add_parser("evaluate", help="measure a model")
    what = command.add_subparsers(required=True, metavar="what", parser_class=_Parser)
    command = what.add_parser("synth", help="on drawn characters with exact ground truth")
    _clips(command, clips=64)
    command.add_argument("--grid", action="store_true", help="also over guidance settings")
    command.set_defaults(command=evaluate)

    command = commands.add_parser("queue", help="run a workflow (API form) on a ComfyUI server")
    command.add_argument("workflow", type=Path, metavar="FILE.json")
    command.add_argument("--host", default="http://127.0.0.1:8188", metavar="URL", help="default %(default)s")
    command.add_argument("--set", action="append", default=[], dest="settings", metavar="NODE.INPUT=VALUE",
                         help="e.g. 3.seed=7; a local file for an input that takes files is uploaded")  # fmt: skip
    command.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="for the result (default: here)")
    command.set_defaults(command=queue)
    return parser


def _lipsync_parser(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=lipsync)
    files = command.add_argument_group("files")
    files.add_argument("--video", type=Path, required=True, metavar="V")
    files.add_argument("--audio", type=Path, required=True, metavar="A", help="a sound file, or a video with sound")
    files.add_argument("--output", type=Path, required=True, metavar="O", help="ends in .mp4, .mov or .mkv")
    files.add_argument("--lossless", action="store_true", help="FFV1 in the source's pixel format (.mkv)")
    files.add_argument("--resume", action="store_true", help="go on with a job that was stopped")
    files.add_argument("--preview", type=_number(0, math.inf), metavar="SECONDS", help="only the first seconds")

    work = command.add_argument_group("what happens")
    _mouth_option(work)
    work.add_argument("--show-mouth", type=Path, metavar="PICTURE.png",
                      help="before the edit, write a picture of where the mouth was found")  # fmt: skip
    work.add_argument("--length", choices=POLICIES, default="source",
                      help="; ".join(f"{name}: {text}" for name, text in POLICIES.items()))  # fmt: skip
    work.add_argument("--silence", choices=SILENCE, default="close",
                      help="where nobody speaks, close the mouth or keep the source's (default close)")  # fmt: skip

    model = command.add_argument_group("model")
    model.add_argument("--model", type=Path, metavar="BUNDLE", help="a .safetensors bundle (default: the bundled one)")
    model.add_argument("--prompt", help="how it is spoken, e.g. 'A person speaks loudly with clear teeth.'")
    model.add_argument("--steps", type=_whole(1, 1000), help="default: as the model wants (the bundled one: 1)")
    model.add_argument("--tau", type=_number(0, 1), help="noise at the start, in (0, 1]; default: as the model wants")
    model.add_argument("--seed", type=_whole(0, 2**63 - 1), default=0, help="default 0")
    model.add_argument("--w-peak", type=_number(0, 100, least=True), help="guidance at the mouth")
    model.add_argument("--w-base", type=_number(0, 100, least=True), help="guidance elsewhere")
    model.add_argument("--gamma", type=_number(0, 100, least=True), help="how fast guidance fades with the noise")
    model.add_argument("--convention", choices=CONVENTIONS, help="reading of the guidance formula")
    model.add_argument("--device", help="auto (default), cuda, mps, cpu")
    model.add_argument("--dtype", choices=DTYPES, help="default auto: what suits the device")


def _mouth_option(command) -> None:
    command.add_argument("--mouth", type=_mouth, default="auto", metavar="{auto,centre,X,Y[,WIDTH]}",
                         help="X,Y in pixels of the first frame (default auto: it is looked for)")  # fmt: skip


def _clips(command: argparse.ArgumentParser, clips: int) -> None:
    command.add_argument("--clips", type=_whole(1, 10**6), default=clips, metavar="N", help=f"default {clips}")
    command.add_argument("--seed", type=_whole(0, 2**63 - 1), default=0, metavar="S", help="default 0")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")


def _number(low: float, high: float, *, least: bool = False) -> Callable[[str], float]:
    """A finite number above `low` (or equal to it, if `least`) and at most `high`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and low <= value <= high and (least or value > low)):
            upper = f"{high:g}]" if math.isfinite(high) else "infinity)"
            bounds = f"{'[' if least else '('}{low:g}, {upper}"
            raise argparse.ArgumentTypeError(f"must be a number in {bounds}, got {text!r}")
        return value

    return parse


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, got {text!r}")
        return value

    return parse


def _mouth(text: str) -> str | tuple[float, ...]:
    if text in ("auto", "centre"):
        return text
    try:
        point = tuple(float(part) for part in text.split(","))
    except ValueError:
        point = ()
    if (
        len(point) not in (2, 3)
        or not all(math.isfinite(part) for part in point)
        or (len(point) == 3 and point[2] <= 0)
    ):
        raise argparse.ArgumentTypeError(f"must be auto, centre, X,Y or X,Y,WIDTH in pixels, got {text!r}")
    return point


_STAGES = {"reading": ("finding the mouth", "frame"), "editing": ("editing", "step"), "writing": ("writing", "frame")}


class _Bars:
    """One progress bar per stage; the plan is printed before the first edit."""

    def __init__(self) -> None:
        self._stage, self._bar = "", None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __call__(self, progress: Progress) -> None:
        if progress.stage not in _STAGES and progress.plan is None:
            return
        if progress.plan is not None:
            self._close()
            _print_plan(progress.plan)
            return
        if progress.stage != self._stage:
            self._open(progress)
        self._bar.update(progress.done - self._bar.n)

    def _open(self, progress: Progress) -> None:
        from tqdm import tqdm

        self._close()
        words, unit = _STAGES[progress.stage]
        self._stage = progress.stage
        self._bar = tqdm(total=progress.total, initial=progress.done - 1, desc=words, unit=unit, dynamic_ncols=True)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._stage, self._bar = "", None


def _print_plan(plan: Plan) -> None:
    print(plan, flush=True)


def _print_report(report: Report) -> None:
    for line in report.warnings:
        print(f"warning: {line}", file=sys.stderr)
    for passed in report.passed:
        print(f"unchanged {passed.start:.2f} to {passed.stop:.2f} s ({passed.frames} frames): {passed.reason}")
    print(f"{report.output}: {report.edited} of {report.frames} frames edited, {clock(report.seconds)}")


def _stopped(options: argparse.Namespace, given: Sequence[str]) -> str:
    """What an interrupted user should know."""
    state = Path(f"{getattr(options, 'output', '')}.omnisync")
    if options.command is not lipsync or not state.is_dir():
        return "stopped"
    again = shlex.join([*given, *([] if options.resume else ["--resume"])])
    return f"stopped; finished windows are kept in {state}. Go on with: python -m omnisync_core {again}"
