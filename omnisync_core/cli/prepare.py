"""`prepare`: footage, or drawn characters, to what can be learned from."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..job.bars import Bars
from .arguments import number, whole

if TYPE_CHECKING:
    from ..training.footage.encode import EncodeOptions
    from ..training.footage.spread import Spread


def add(commands: Any) -> None:
    command = commands.add_parser("prepare", help="footage to clips, or to encoded windows, that can be learned from")
    command.add_argument("folder", type=Path, metavar="FOLDER",
                         help="videos with sound, a folder for each person; or drawn reels")  # fmt: skip
    command.add_argument("--out", type=Path, required=True, metavar="SET")
    command.add_argument("--resolution", type=whole(64, 2048), default=256, help="of faces, pixels (default 256)")
    command.add_argument("--test-share", type=number(0, 0.9), default=0.1, help="of the people (default 0.1)")
    command.add_argument("--syncnet", default="", metavar="FILE", help="leave out clips that it says are out of sync")
    command.add_argument("--table", choices=("clips.csv", "clips.parquet"), default="clips.csv",
                         help="the list of clips (default clips.csv)")  # fmt: skip
    command.add_argument("--workers", type=whole(1, 256), default=1, help="processes (default 1)")
    command.add_argument("--address", metavar="RAY", help="of a Ray cluster that does the work, e.g. auto")
    windows = command.add_argument_group("for OmniSync's own training")
    windows.add_argument("--crops", type=whole(32, 2048), default=0, metavar="PIXELS",
                         help="crops around the mouth in the place of aligned faces")  # fmt: skip
    windows.add_argument("--crop-scale", type=number(1, 20), default=2.4, metavar="TIMES",
                         help="their side over the mouth's width (default 2.4; for HuMo 4.5)")  # fmt: skip
    windows.add_argument("--pairs", choices=("none", "folder"), default="none",
                         help="folder: videos of one folder show one pose, saying other words each")  # fmt: skip
    windows.add_argument("--bootstrap", metavar="MODEL",
                         help="pseudo-pairs by an engine: a bundle, or `mini` for the bundled one")  # fmt: skip
    windows.add_argument("--encode", default="", metavar="NAME", help="encode windows, under this name")
    windows.add_argument("--vae", default="", metavar="FILE", help="a bundle or Wan 2.1's")
    windows.add_argument("--whisper", default="", metavar="FILE", help="a bundle or a published Whisper")
    windows.add_argument("--frames", type=whole(5, 257), default=17, help="of a window, 1 + 4k (default 17)")
    windows.add_argument("--tokens", type=whole(1, 64), default=4, help="speech features a frame (default 4; HuMo: 10)")
    windows.add_argument("--hears", choices=("frames", "humo"), default="frames",
                         help="humo: as HuMo 1.7B hears Whisper large-v3, for a LoRA over it")  # fmt: skip
    windows.add_argument("--captions", default="", metavar="TABLE", help="source, caption; else by loudness")
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    from ..training.footage.encode import EncodeOptions, encode

    asked = None
    if options.encode:
        if not (options.vae and options.whisper):
            raise InputError("--encode needs --vae and --whisper: what the latents and the speech are made with")
        _check_files(options)
        asked = EncodeOptions(
            options.encode,
            options.vae,
            options.whisper,
            options.frames,
            options.tokens,
            captions=options.captions,
            hears=options.hears,
        )
    with Bars() as bars:

        def bar(name: str, doing: str, unit: str) -> Callable[[int, int], None]:
            return lambda done, total: bars.show(name, done, total, doing, unit)

        if (options.folder / "reels_train").is_dir():
            _drawn(options, asked, bar("encode", "encoding reels", "shard"))
            return
        _footage(options, bar("prepare", "looking for faces", "video"))
        if options.bootstrap:
            _bootstrap(options, bar("bootstrap", "changing mouths", "clip"))
        if asked:
            count = encode(options.out, asked, bar("encode", "encoding windows", "shard"), _spread(options))
            print(f"{options.out / 'encoded' / asked.name}: {count} windows")


def _check_files(options: argparse.Namespace) -> None:
    """InputError, before hours of looking for faces: a file that encodes is not there."""
    for name in ("vae", "whisper", "captions"):
        file = getattr(options, name)
        if file and not Path(file).is_file():
            raise InputError(f"--{name}: no such file: {file}; say where it is")


def _spread(options: argparse.Namespace) -> Spread:
    """How the work is handed out."""
    from ..training.footage.spread import Processes

    if options.address is None:
        return Processes(options.workers)
    from ..batch.spread import Hosts

    return Hosts(options.address)


def _footage(options: argparse.Namespace, bar: Callable[[int, int], None]) -> None:
    from ..training.footage import PrepareOptions, prepare
    from ..training.footage.prepare import summary

    asked = PrepareOptions(
        resolution=options.resolution, test_share=options.test_share, table=options.table, syncnet=options.syncnet,
        crops=options.crops, crop_scale=options.crop_scale, pairs=options.pairs,
    )  # fmt: skip
    rows = prepare(options.folder, options.out, asked, _spread(options), bar)
    print(f"{options.out}: {summary(rows)}")


def _bootstrap(options: argparse.Namespace, bar: Callable[[int, int], None]) -> None:
    from ..engines.omnisync import load_engine
    from ..training.footage.changed import change

    engine = load_engine(None if options.bootstrap == "mini" else options.bootstrap)
    print(f"{options.out}: {change(options.out, engine, on_clip=bar)} clips changed to another's sound")


def _drawn(options: argparse.Namespace, asked: EncodeOptions | None, bar: Callable[[int, int], None]) -> None:
    from ..training.footage.drawn import encode_drawn

    if asked is None:
        raise InputError(f"{options.folder} holds reels of drawn characters; give --encode NAME, --vae and --whisper")
    count = encode_drawn(options.folder, options.out, asked, bar)
    print(f"{options.out / 'encoded' / asked.name}: {count} windows made")
