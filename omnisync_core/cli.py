"""The command line. Each command imports what it needs: `lipsync` never meets training or the speech synthesiser."""

from __future__ import annotations

import argparse
import math
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .arguments import file, mouth, number, speaker, whole
from .diffusion import CONVENTIONS
from .errors import InputError, OutputError
from .job.bars import Bars, JobBars
from .job.options import SILENCE, SyncOptions
from .job.report import Plan, Progress, Report, clock
from .marks.options import CORNERS, KINDS, Marks
from .timing.timeline import POLICIES

if TYPE_CHECKING:
    from .mouth import MouthTrack

DTYPES = ("auto", "float32", "bfloat16", "float16")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 for bad input, 128 + the signal's number when stopped."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    try:
        with _stoppable():
            options.command(options)
    except (InputError, OutputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        with suppress(OSError):  # the terminal may be gone
            print(_stopped(options, given), file=sys.stderr, flush=True)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    return 0


@contextmanager
def _stoppable() -> Iterator[None]:
    """A system that ends the program, or a terminal that closes, stops it as the user does."""

    def stop(number: int, _: object) -> None:
        raise KeyboardInterrupt(number)

    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    # Whoever starts it with nohup wants it to go on.
    changed = [number for number in numbers if before[number] is signal.SIG_DFL]
    for each in changed:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each in changed:
            signal.signal(each, before[each])


def lipsync(options: argparse.Namespace) -> None:
    from .engines.choice import open_engine
    from .job.cast import heard, read_cast
    from .pipeline import sync_video

    speakers = read_cast(options.speaker, options.audio, options.mouth, options.show_mouth)
    sync = replace(_sync_options(options), preview_seconds=options.preview, resume=options.resume)
    if options.show_mouth is not None:
        sync = replace(sync, mouth=_shown_mouth(options.video, options.mouth, options.show_mouth))
    settings = {**_engine_settings(options), **_given(options, "cfg", "resolution")}
    engine = open_engine(options.model, options.vae, options.whisper, settings)
    with warnings.catch_warnings(), heard(options.audio, speakers) as sound, _Bars() as bars:
        # What is wrong with the files is told once, in the report.
        warnings.simplefilter("ignore", UserWarning)
        report = sync_video(options.video, sound, options.output, engine, sync, bars, speakers=speakers)
    _print_report(report)


def _sync_options(options: argparse.Namespace) -> SyncOptions:
    return SyncOptions(
        seed=options.seed,
        length=options.length,
        silence=options.silence,
        mouth=options.mouth,
        lossless=options.lossless,
        marks=_marks(options),
    )


def _marks(options: argparse.Namespace) -> Marks:
    kinds = () if options.mark == "none" else tuple(options.mark.split(","))
    files = {name: str(path) for name, path in _given(options, "certificate", "key").items()}
    return Marks(kinds, label=options.label, corner=options.label_corner, opacity=options.label_opacity, **files)


def _engine_settings(options: argparse.Namespace) -> dict[str, Any]:
    """What the user chose of `load_engine`'s settings."""
    weights = _given(options, "w_peak", "w_base", "gamma", "convention")
    return {"guidance": weights, **_given(options, "adapter", "prompt", "steps", "tau", "device", "dtype")}


def verify(options: argparse.Namespace) -> None:
    from .marks.verify import verify as run

    verdict = run(options.file)
    print("\n".join(verdict.lines()))
    if verdict.is_changed:
        raise InputError(f"{options.file} was changed after it was signed")


def batch(options: argparse.Namespace) -> None:
    from .batch.command import run
    from .batch.plan import BundleChoice

    engine = BundleChoice(options.model, tuple(_engine_settings(options).items()))
    run(options, _sync_options(options), engine)


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


def _shown_mouth(video: Path, how: Any, picture: Path) -> MouthTrack:
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


def _seen(found: MouthTrack) -> int:
    return int((found.confidence_N > 0).sum())


def demo(options: argparse.Namespace) -> None:
    from .demo import run

    run(options.out)


def synth(options: argparse.Namespace) -> None:
    from .synth.clips import write_clips

    write_clips(options.out, clips=options.clips, seed=options.seed, size=options.size, seconds=options.seconds)
    print(f"{options.clips} clips in {options.out}")


def prepare(options: argparse.Namespace) -> None:
    from .training.footage import PrepareOptions
    from .training.footage import prepare as run
    from .training.footage.prepare import summary

    asked = PrepareOptions(
        resolution=options.resolution, test_share=options.test_share, table=options.table, syncnet=options.syncnet
    )
    with Bars() as bars:
        rows = run(
            options.folder, options.out, asked, options.workers,
            lambda done, total: bars.show("prepare", done, total, "looking for faces", "video"),
        )  # fmt: skip
    print(f"{options.out}: {summary(rows)}")


def train(options: argparse.Namespace) -> None:
    from .training.loop import train as run

    print(f"the model is {run(options.config)}")


def adapt(options: argparse.Namespace) -> None:
    from .adaptation import AdaptOptions
    from .adaptation import adapt as run

    asked = AdaptOptions(minutes=options.minutes, mouth=options.mouth, seed=options.seed, resume=options.resume)
    with _Bars() as bars:
        told = run(
            options.video, options.output, audio=options.audio, model=options.model, options=asked,
            device=options.device, progress=bars,
        )  # fmt: skip
    print(
        f"{told.output}: {told.steps} steps on {told.windows} windows in {clock(told.seconds)}; of the way back on "
        f"windows kept out {told.share_before:.2f} was found before, {told.share:.2f} now"
    )
    for line in told.warnings:
        print(f"warning: {line}", file=sys.stderr)


def evaluate_cycle(options: argparse.Namespace) -> None:
    from .engines.omnisync import load_engine
    from .evaluation.cycle import cycle

    # The changes are the model's own in any case, so that with and without an adapter the same is asked.
    plain = load_engine(options.model, device=options.device)
    engine = load_engine(options.model, adapter=options.adapter, device=options.device) if options.adapter else plain
    cycle(options.video, options.audio, options.others, engine, options.mouth, options.out, changer=plain)


def evaluate(options: argparse.Namespace) -> None:
    from .evaluation.synth import evaluate as run

    run(options.out, clips=options.clips, seed=options.seed, grid=options.grid)


def queue(options: argparse.Namespace) -> None:
    from .queue import queue as run

    hosts = options.hosts or ["http://127.0.0.1:8188"]
    if options.manifest is not None:
        _queue_list(options, hosts)
        return
    if len(hosts) > 1:
        raise InputError("several --host need a --manifest; one workflow runs on one server")
    made = run(options.workflow, hosts[0], options.settings, options.out)
    print("\n".join(map(str, made)) or "done; the workflow saves no file")


def _queue_list(options: argparse.Namespace, hosts: Sequence[str]) -> None:
    from .batch.bar import Bar
    from .batch.outcome import RESULTS, told
    from .manifest import read_manifest
    from .queue_batch import queue_batch

    rows = read_manifest(options.manifest)
    with Bar(len(rows), 0) as bar:
        states = queue_batch(options.workflow, rows, hosts, options.settings, options.out, bar.tell)
    print(f"{options.out / RESULTS}: {told(states)}")


def _given(options: argparse.Namespace, *names: str) -> dict:
    """The options that the user gave; what is not given is decided where it is used."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


class _Once(argparse.Action):
    """Stores a value; an option that is given twice is a mistake."""

    _is_given = False

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
        option_string: str | None = None,
    ) -> None:  # fmt: skip
        if self._is_given and option_string is not None:
            raise argparse.ArgumentError(self, "is given twice")
        self._is_given = True
        setattr(namespace, self.dest, values)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.register("action", None, _Once)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    from .bench.command import add as add_bench

    parser = _Parser(prog="python -m omnisync_core", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="command", parser_class=_Parser)
    _lipsync_parser(commands.add_parser("lipsync", help="make a video's mouth say a sound"))

    _batch_parser(commands.add_parser("batch", help="lip-sync every clip of a list; stopped, the same command goes on"))

    command = commands.add_parser("track", help="where the mouth is in every frame, without an edit")
    command.add_argument("--video", type=Path, required=True, metavar="V")
    _mouth_option(command)
    command.add_argument("--output", type=Path, required=True, metavar="TRACK.json",
                         help="per frame: time, x, y, width (pixels), roll, confidence, source")  # fmt: skip
    command.add_argument("--picture", type=Path, metavar="SHEET.png", help="some frames with the mouth marked")
    command.set_defaults(command=track)

    command = commands.add_parser("verify", help="what a file says of itself, and whether it was changed since")
    command.add_argument("file", type=Path, metavar="FILE")
    command.set_defaults(command=verify)

    command = commands.add_parser("demo", help="the bundled model on a bundled clip, with figures")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.set_defaults(command=demo)

    command = commands.add_parser("synth", help="draw talking characters with exact ground truth")
    _clips(command, clips=4)
    command.add_argument("--size", type=whole(32, 4096), default=256, help="pixels per side (default 256)")
    command.add_argument("--seconds", type=number(0.2, 600), default=3.0, help="per clip (default 3)")
    command.set_defaults(command=synth)

    _prepare_parser(commands.add_parser("prepare", help="footage to clips of aligned faces that can be learned from"))

    command = commands.add_parser("train", help="train a model")
    command.add_argument("config", type=Path, metavar="CONFIG.toml")
    command.set_defaults(command=train)

    command = commands.add_parser("evaluate", help="measure a model")
    what = command.add_subparsers(required=True, metavar="what", parser_class=_Parser)
    command = what.add_parser("synth", help="on drawn characters with exact ground truth")
    _clips(command, clips=64)
    command.add_argument("--grid", action="store_true", help="also over guidance settings")
    command.set_defaults(command=evaluate)

    _cycle_parser(
        what.add_parser("cycle", help="on a real clip: changed to other sounds and back, against the clip itself")
    )

    _adapt_parser(commands.add_parser("adapt", help="let the model learn the person in a clip, from the clip alone"))

    add_bench(commands)

    _queue_parser(commands.add_parser("queue", help="run a workflow (API form) on a ComfyUI server"))
    return parser


def _prepare_parser(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, metavar="FOLDER", help="videos with sound, a folder for each person")
    command.add_argument("--out", type=Path, required=True, metavar="SET")
    command.add_argument("--resolution", type=whole(64, 2048), default=256, help="pixels per side (default 256)")
    command.add_argument("--test-share", type=number(0, 0.9), default=0.1, help="of the people (default 0.1)")
    command.add_argument("--syncnet", default="", metavar="FILE", help="leave out clips that it says are out of sync")
    command.add_argument("--table", choices=("clips.csv", "clips.parquet"), default="clips.csv",
                         help="the list of clips (default clips.csv)")  # fmt: skip
    command.add_argument("--workers", type=whole(1, 256), default=1, help="processes (default 1)")
    command.set_defaults(command=prepare)


def _cycle_parser(command: argparse.ArgumentParser) -> None:
    command.add_argument("--video", type=Path, required=True, metavar="V")
    command.add_argument("--audio", type=Path, required=True, metavar="OWN", help="the clip's own sound")
    command.add_argument("--others", type=Path, nargs="+", required=True, metavar="A", help="other sounds")
    _mouth_option(command)
    command.add_argument("--model", type=Path, metavar="BUNDLE", help="default: the bundled one")
    command.add_argument("--adapter", type=Path, metavar="PERSON", help="what `adapt` learned of this person")
    command.add_argument("--device", default="auto", help="auto (default), cuda, mps, cpu")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.set_defaults(command=evaluate_cycle)


def _adapt_parser(command: argparse.ArgumentParser) -> None:
    command.add_argument("--video", type=Path, required=True, metavar="V")
    command.add_argument("--audio", type=Path, metavar="OWN", help="the clip's own sound (default: the video's)")
    _mouth_option(command)
    command.add_argument("--output", type=file, required=True, metavar="PERSON.safetensors")
    command.add_argument("--minutes", type=number(0, 1440), default=5.0, help="all in (default 5)")
    command.add_argument("--resume", action="store_true", help="go on with one that was stopped")
    command.add_argument("--model", type=Path, metavar="BUNDLE", help="learn with this one (default: the bundled one)")
    command.add_argument("--seed", type=whole(0, 2**63 - 1), default=0, help="default 0")
    command.add_argument("--device", default="auto", help="auto (default), cuda, mps, cpu")
    command.set_defaults(command=adapt)


def _queue_parser(command: argparse.ArgumentParser) -> None:
    command.add_argument("workflow", type=Path, metavar="FILE.json")
    command.add_argument("--host", action="append", default=[], dest="hosts", metavar="URL",
                         help="default http://127.0.0.1:8188; with --manifest several")  # fmt: skip
    command.add_argument("--manifest", type=Path, metavar="LIST",
                         help="run it for every clip of a list; --set names columns, e.g. 1.file={video}")  # fmt: skip
    command.add_argument("--set", action="append", default=[], dest="settings", metavar="NODE.INPUT=VALUE",
                         help="e.g. 3.seed=7; a local file for an input that takes files is uploaded")  # fmt: skip
    command.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="for the result (default: here)")
    command.set_defaults(command=queue)


def _lipsync_parser(command: argparse.ArgumentParser) -> None:
    command.usage = "%(prog)s --video V --audio A --output O [options]"
    command.set_defaults(command=lipsync)
    files = command.add_argument_group("files")
    files.add_argument("--video", type=Path, required=True, metavar="V")
    files.add_argument("--audio", type=Path, metavar="A", help="a sound file, or a video with sound")
    files.add_argument("--output", type=file, required=True, metavar="O", help="ends in .mp4, .mov or .mkv")
    files.add_argument("--lossless", action="store_true", help="FFV1 in the source's pixel format (.mkv)")
    files.add_argument("--resume", action="store_true", help="go on with a job that was stopped")
    files.add_argument("--preview", type=number(0, math.inf), metavar="SECONDS", help="only the first seconds")

    work = command.add_argument_group("what happens")
    work.add_argument("--show-mouth", type=Path, metavar="PICTURE.png",
                      help="before the edit, write a picture of where the mouth was found")  # fmt: skip
    _work_options(work)
    work.add_argument("--speaker", type=speaker, action="append", default=[], metavar="SOUND@X,Y[,WIDTH]",
                      help="one of several people, once for each; without --audio their sounds are mixed")  # fmt: skip
    _mark_options(command)
    _model_options(command)
    public = command.add_argument_group("LatentSync's public files (--model is its UNet)")
    public.add_argument("--vae", type=Path, metavar="FILE", help="sd-vae-ft-mse")
    public.add_argument("--whisper", type=Path, metavar="FILE", help="Whisper's tiny.pt")
    public.add_argument("--resolution", type=int, choices=(256, 512), metavar="N",
                        help="256: LatentSync 1.5; 512: 1.6 (default)")  # fmt: skip
    public.add_argument("--cfg", type=number(0, 100, least=True), help="strength of the sound (default 1.5)")


def _batch_parser(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=batch)
    files = command.add_argument_group("files")
    files.add_argument("manifest", type=Path, metavar="MANIFEST",
                       help=".csv or .parquet with the columns id, video, audio, maybe mouth_x, mouth_y")  # fmt: skip
    files.add_argument("--out", type=Path, required=True, metavar="DIR", help="for ID.mp4 and results.parquet")
    files.add_argument("--container", choices=("mp4", "mov", "mkv"), help="default mp4, with --lossless mkv")
    files.add_argument("--lossless", action="store_true", help="FFV1 in the source's pixel format (.mkv)")
    files.add_argument("--dry-run", action="store_true", help="only say what it will take")
    where = command.add_argument_group("where (default: one process; else Ray, requirements-batch.txt)")
    where.add_argument("--gpus", type=whole(1, 10**5), metavar="N", help="as many workers, a GPU each")
    where.add_argument("--workers", type=whole(1, 10**5), metavar="N", help="as many workers on CPU cores, two each")
    where.add_argument("--split", type=number(1, 10**6), metavar="SECONDS",
                       help="cut longer clips at shots and silences, for workers to share; same result")  # fmt: skip
    where.add_argument("--address", metavar="RAY", help="of a Ray cluster, e.g. auto or ray://head:10001")
    _work_options(command.add_argument_group("what happens"))
    _mark_options(command)
    _model_options(command)


def _mark_options(command: argparse.ArgumentParser) -> None:
    kinds = "; ".join(f"{name}: {text}" for name, text in KINDS.items())
    marks = command.add_argument_group("how the result says that it was edited")
    marks.add_argument("--mark", default="tag", metavar="KINDS",
                       help=f"{kinds}; several with commas, or none (default tag)")  # fmt: skip
    marks.add_argument("--certificate", type=Path, metavar="PEM", help="for c2pa; else OMNISYNC_C2PA_CERTIFICATE")
    marks.add_argument("--key", type=Path, metavar="PEM", help="of the certificate; else OMNISYNC_C2PA_KEY")
    marks.add_argument("--label", default="", metavar="TEXT", help="shown in every frame, e.g. AI-edited")
    marks.add_argument("--label-corner", choices=CORNERS, default=CORNERS[0], help="default %(default)s")
    marks.add_argument("--label-opacity", type=number(0, 1), default=0.7, help="default %(default)s")


def _work_options(work: argparse._ActionsContainer) -> None:
    _mouth_option(work)
    work.add_argument("--length", choices=POLICIES, default="source",
                      help="where sound and video differ in length (default source; more in the README)")  # fmt: skip
    work.add_argument("--silence", choices=SILENCE, default="close",
                      help="where nobody speaks, close the mouth or keep the source's (default close)")  # fmt: skip


def _model_options(command: argparse.ArgumentParser) -> None:
    model = command.add_argument_group("model")
    model.add_argument("--model", type=Path, metavar="FILE", help="a .safetensors bundle (default: the bundled one)")
    model.add_argument("--adapter", type=Path, metavar="PERSON", help="what `adapt` learned of this person")
    model.add_argument("--prompt", help="how it is spoken, e.g. 'A person speaks loudly with clear teeth.'")
    model.add_argument("--steps", type=whole(1, 1000), help="default: as the model wants (the bundled one: 1)")
    model.add_argument("--tau", type=number(0, 1), help="noise at the start, in (0, 1]; default: as the model wants")
    model.add_argument("--seed", type=whole(0, 2**63 - 1), default=0, help="default 0")
    model.add_argument("--device", help="auto (default), cuda, mps, cpu")
    model.add_argument("--dtype", choices=DTYPES, metavar="TYPE",
                       help="auto (default: what suits the device), float32, bfloat16, float16")  # fmt: skip

    model = command.add_argument_group("guidance (default: as the model wants)")
    model.add_argument("--w-peak", type=number(0, 100, least=True), help="guidance at the mouth")
    model.add_argument("--w-base", type=number(0, 100, least=True), help="guidance elsewhere")
    model.add_argument("--gamma", type=number(0, 100, least=True), help="how fast guidance fades with the noise")
    model.add_argument("--convention", choices=CONVENTIONS, metavar="NAME",
                       help="reading of the guidance formula: paper, normalised or floored")  # fmt: skip


def _mouth_option(command: argparse._ActionsContainer) -> None:
    command.add_argument("--mouth", type=mouth, default="auto", metavar="{auto,centre,X,Y[,WIDTH]}",
                         help="X,Y in pixels of the first frame (default auto: it is looked for)")  # fmt: skip


def _clips(command: argparse.ArgumentParser, clips: int) -> None:
    command.add_argument("--clips", type=whole(1, 10**6), default=clips, metavar="N", help=f"default {clips}")
    command.add_argument("--seed", type=whole(0, 2**63 - 1), default=0, metavar="S", help="default 0")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")


class _Bars(JobBars):
    """A job's bars; the plan is printed before the first edit."""

    def __call__(self, progress: Progress) -> None:
        if progress.plan is not None:
            self.close()
            _print_plan(progress.plan)
        super().__call__(progress)


def _print_plan(plan: Plan) -> None:
    print(plan, flush=True)


def _print_report(report: Report) -> None:
    for line in report.warnings:
        print(f"warning: {line}", file=sys.stderr)
    for passed in report.passed:
        print(f"unchanged {passed.start:.2f} to {passed.stop:.2f} s ({passed.frames} frames): {passed.reason}")
    for line in report.marks:
        print(line)
    print(f"{report.output}: {report.edited} of {report.frames} frames edited, {clock(report.seconds)}")
    if report.whole is not None:
        print(f"the whole: {report.whole}")


def _stopped(options: argparse.Namespace, given: Sequence[str]) -> str:
    """What an interrupted user should know."""
    again = f"Go on with: python -m omnisync_core {shlex.join(given)}"
    if options.command is batch and not options.dry_run:
        return f"stopped; what is finished is kept in {options.out}. {again}"
    state = Path(f"{getattr(options, 'output', '')}.omnisync")
    if options.command not in (lipsync, adapt) or not state.is_dir():
        return "stopped"
    finished = "what was learned is" if options.command is adapt else "finished windows are"
    return f"stopped; {finished} kept in {state}. {again}{'' if options.resume else ' --resume'}"
