"""`bench`: engines and other tools' results measured as the paper does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import InputError
from .arguments import whole
from .options import add_seed


def add(commands: Any) -> None:
    command = commands.add_parser("bench", help="measure engines and other tools' results as the paper does")
    what = command.add_subparsers(required=True, metavar="what", parser_class=type(command))
    _add_prepare(what.add_parser("prepare", help="write the list of a folder's clips"))
    _add_run(what.add_parser("run", help="make and measure every clip of a list; goes on where it was stopped"))
    _add_table(what.add_parser("table", help="several benches in one table"))
    _add_study(what.add_parser("study", help="a page for people to judge results on; `study read` reads their answers"))


def _add_prepare(command: argparse.ArgumentParser) -> None:
    command.add_argument("kind", choices=("hdtf", "aigc", "folder"))
    command.add_argument("source", type=Path, metavar="SRC", help="the folder that holds the clips")
    command.add_argument("--out", type=Path, required=True, metavar="LIST", help="ends in .csv or .parquet")
    command.add_argument("--names", type=Path, metavar="FILE.txt", help="hdtf: the test list, a clip's name a line")
    add_seed(command, "of the pairing of videos and sounds (default 0)")
    command.set_defaults(command=prepare)


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("manifest", type=Path, metavar="LIST", help="id, video, audio; maybe truth, mouth_x, mouth_y, "
                         "style, prompt")  # fmt: skip
    command.add_argument("--engine", required=True, metavar="ENGINE",
                         help="mini, mini:BUNDLE, results:FOLDER (files named by the ids), source, truth; "
                         "latentsync:FILE.json, humo:, ltx:, xdub:, comfy: (a workflow in API form)")  # fmt: skip
    command.add_argument("--host", metavar="URL", default="http://127.0.0.1:8188",
                         help="the ComfyUI server of a workflow (default %(default)s)")  # fmt: skip
    command.add_argument("--set", action="append", default=[], dest="settings", metavar="NAME=VALUE",
                         help="how mini samples: steps, tau, w_peak, w_base, gamma, convention")  # fmt: skip
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.add_argument("--metrics", type=lambda text: text.split(","), metavar="NAME,...", help="default: all")
    command.add_argument("--limit", type=whole(1, 10**9), metavar="N", help="only the first clips")
    command.add_argument("--frames", type=whole(0, 10**6), default=32, metavar="N",
                         help="frames of a clip that metrics of pictures look at (default 32; 0: all)")  # fmt: skip
    command.add_argument("--device", default="auto", help="for metrics' networks: auto (default), cuda, mps, cpu")
    command.set_defaults(command=run)


def _add_table(command: argparse.ArgumentParser) -> None:
    command.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="the --out of `bench run`")
    command.add_argument("--paper", choices=("hdtf", "aigc"), help="also what papers print")
    command.set_defaults(command=table)


def _add_study(command: argparse.ArgumentParser) -> None:
    command.add_argument("paths", type=Path, nargs="+", metavar="DIR",
                         help="the --out of `bench run`, one a method; or: read ANSWERS.json ...")  # fmt: skip
    command.add_argument("--out", type=Path, metavar="PAGE.html",
                         help="default study.html; read: the folder for the tables (default: here)")  # fmt: skip
    command.add_argument("--names", type=lambda text: text.split(","), metavar="NAME,...", help="of the methods")
    command.add_argument("--title", default="Which lips say it?", help="what people read first")
    command.add_argument("--mail", default="", metavar="ADDRESS", help="short answers may also be sent there by mail")
    command.add_argument("--limit", type=whole(1, 10**6), metavar="N", help="only the first clips")
    add_seed(command, "which clips hold a check (default 0)")
    command.add_argument("--key", type=Path, metavar="PAGE.key.json", help="read: of the study (default: looked for)")
    command.set_defaults(command=study)


def prepare(options: argparse.Namespace) -> None:
    from ..bench.prepare import prepare as write

    count = write(options.kind, options.source, options.out, names=options.names, seed=options.seed)
    print(f"{count} clips in {options.out}")


def run(options: argparse.Namespace) -> None:
    from ..bench.run import run as bench

    records = bench(
        options.manifest, options.engine, options.out, metrics=options.metrics, limit=options.limit,
        frames=options.frames, device=options.device, host=options.host, settings=options.settings,
    )  # fmt: skip
    if all(record["state"] != "done" for record in records):
        raise InputError(f"none of the {len(records)} clips is done; the first: {records[0]['reason']}")


def table(options: argparse.Namespace) -> None:
    from ..bench.table import markdown, read_bench

    print(markdown([read_bench(folder) for folder in options.folders], options.paper))


def study(options: argparse.Namespace) -> None:
    if options.paths[0] == Path("read"):
        _read(options)
        return
    from ..bench.study import make

    make(options.paths, options.out or Path("study.html"), names=options.names, title=options.title, mail=options.mail,
         limit=options.limit, seed=options.seed)  # fmt: skip


def _read(options: argparse.Namespace) -> None:
    from ..bench.answers import find, read_study
    from ..bench.study_figure import write

    if not options.paths[1:]:
        raise InputError("study read needs the files that people saved, e.g. answers/*.json")
    found = read_study(options.paths[1:], options.key)
    print(write(options.out or Path(), found, find(found)))
