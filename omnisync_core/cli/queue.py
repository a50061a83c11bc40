"""`queue`: a workflow on a ComfyUI server."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError


def add(commands: Any) -> None:
    command = commands.add_parser("queue", help="run a workflow (API form) on a ComfyUI server")
    command.add_argument("workflow", type=Path, metavar="FILE.json")
    command.add_argument("--host", action="append", default=[], dest="hosts", metavar="URL",
                         help="default http://127.0.0.1:8188; with --manifest several")  # fmt: skip
    command.add_argument("--manifest", type=Path, metavar="LIST",
                         help="run it for every clip of a list; --set names columns, e.g. 1.file={video}")  # fmt: skip
    command.add_argument("--set", action="append", default=[], dest="settings", metavar="NODE.INPUT=VALUE",
                         help="e.g. 3.seed=7; a local file for an input that takes files is uploaded")  # fmt: skip
    command.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="for the result (default: here)")
    command.set_defaults(command=run, stopped=_stopped)


def run(options: argparse.Namespace) -> None:
    from ..queue import queue

    hosts = options.hosts or ["http://127.0.0.1:8188"]
    if options.manifest is not None:
        _run_list(options, hosts)
        return
    if len(hosts) > 1:
        raise InputError("several --host need a --manifest; one workflow runs on one server")
    made = queue(options.workflow, hosts[0], options.settings, options.out)
    print("\n".join(map(str, made)) or "done; the workflow saves no file")


def _run_list(options: argparse.Namespace, hosts: Sequence[str]) -> None:
    from ..batch.bar import Bar
    from ..batch.outcome import RESULTS, in_words
    from ..manifest import read_manifest
    from ..queue_batch import queue_batch

    rows = read_manifest(options.manifest)
    with Bar(len(rows), 0) as bar:
        states = queue_batch(options.workflow, rows, hosts, options.settings, options.out, bar.tell)
    print(f"{options.out / RESULTS}: {in_words(states)}")
    if not states["done"]:
        raise InputError(f"none of the {len(rows)} clips has a result; {options.out / RESULTS} says why")


def _stopped(options: argparse.Namespace, again: str) -> str:
    return "stopped" if options.manifest is None else f"stopped; what is finished is kept in {options.out}. {again}"
