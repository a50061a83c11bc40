"""Options that several commands take, and what is made of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..diffusion import CONVENTIONS
from ..job.options import SILENCE, SyncOptions
from ..marks.options import CORNERS, KINDS, Marks
from ..timing.timeline import POLICIES
from .arguments import mouth, number, whole

DTYPES = ("auto", "float32", "bfloat16", "float16")


def given(options: argparse.Namespace, *names: str) -> dict:
    """The options that the user gave; what is not given is decided where it is used."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def sync_options(options: argparse.Namespace) -> SyncOptions:
    return SyncOptions(
        seed=options.seed,
        length=options.length,
        silence=options.silence,
        mouth=options.mouth,
        lossless=options.lossless,
        marks=_marks(options),
    )


def engine_settings(options: argparse.Namespace) -> dict[str, Any]:
    """What the user chose of `engines.choice.open_engine`'s settings."""
    weights = given(options, "w_peak", "w_base", "gamma", "convention")
    names = ("adapter", "prompt", "steps", "tau", "device", "dtype", "cfg", "resolution")
    return {"guidance": weights, **given(options, *names)}


def add_video(command: argparse.ArgumentParser) -> None:
    command.add_argument("--video", type=Path, required=True, metavar="V")


def add_mouth(command: argparse._ActionsContainer) -> None:
    command.add_argument("--mouth", type=mouth, default="auto", metavar="{auto,centre,X,Y[,WIDTH]}",
                         help="X,Y in pixels of the first frame (default auto: it is looked for)")  # fmt: skip


def add_seed(command: argparse._ActionsContainer, words: str = "default 0", **settings: Any) -> None:
    command.add_argument("--seed", type=whole(0, 2**63 - 1), default=0, help=words, **settings)


def add_device(command: argparse._ActionsContainer, **settings: Any) -> None:
    command.add_argument("--device", help="auto (default), cuda, mps, cpu", **settings)


def add_lossless(files: argparse._ActionsContainer) -> None:
    files.add_argument("--lossless", action="store_true", help="FFV1 in the source's pixel format (.mkv)")


def add_adapter(command: argparse._ActionsContainer) -> None:
    command.add_argument("--adapter", type=Path, metavar="PERSON", help="what `adapt` learned of this person")


def add_clips(command: argparse.ArgumentParser, clips: int) -> None:
    """Of drawn clips."""
    command.add_argument("--clips", type=whole(1, 10**6), default=clips, metavar="N", help=f"default {clips}")
    add_seed(command, metavar="S")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")


def add_work(work: argparse._ActionsContainer) -> None:
    add_mouth(work)
    work.add_argument("--length", choices=POLICIES, default="source",
                      help="where sound and video differ in length (default source; more in the README)")  # fmt: skip
    work.add_argument("--silence", choices=SILENCE, default="close",
                      help="where nobody speaks, close the mouth or keep the source's (default close)")  # fmt: skip


def add_marks(command: argparse.ArgumentParser) -> None:
    kinds = "; ".join(f"{name}: {text}" for name, text in KINDS.items())
    marks = command.add_argument_group("how the result says that it was edited")
    marks.add_argument("--mark", default="tag", metavar="KINDS",
                       help=f"{kinds}; several with commas, or none (default tag)")  # fmt: skip
    marks.add_argument("--certificate", type=Path, metavar="PEM", help="for c2pa; else OMNISYNC_C2PA_CERTIFICATE")
    marks.add_argument("--key", type=Path, metavar="PEM", help="of the certificate; else OMNISYNC_C2PA_KEY")
    add_watermark(marks)
    marks.add_argument("--label", default="", metavar="TEXT", help="shown in every frame, e.g. AI-edited")
    marks.add_argument("--label-corner", choices=CORNERS, default=CORNERS[0], help="default %(default)s")
    marks.add_argument("--label-opacity", type=number(0, 1), default=0.7, help="default %(default)s")


def add_watermark(marks: argparse._ActionsContainer) -> None:
    marks.add_argument("--watermark-weights", type=Path, metavar="FILE",
                       help="VideoSeal's or PixelSeal's file, for watermark; else OMNISYNC_WATERMARK")  # fmt: skip


def add_model(command: argparse.ArgumentParser) -> None:
    model = command.add_argument_group("model")
    model.add_argument("--model", type=Path, metavar="FILE", help="a .safetensors bundle (default: the bundled one)")
    add_adapter(model)
    model.add_argument("--prompt", help="how it is spoken, e.g. 'A person speaks loudly with clear teeth.'")
    model.add_argument("--steps", type=whole(1, 1000), help="default: as the model wants (the bundled one: 1)")
    model.add_argument("--tau", type=number(0, 1), help="noise at the start, in (0, 1]; default: as the model wants")
    add_seed(model)
    add_device(model)
    model.add_argument("--dtype", choices=DTYPES, metavar="TYPE",
                       help="auto (default: what suits the device), float32, bfloat16, float16")  # fmt: skip

    model = command.add_argument_group("guidance (default: as the model wants)")
    model.add_argument("--w-peak", type=number(0, 100, least=True), help="guidance at the mouth")
    model.add_argument("--w-base", type=number(0, 100, least=True), help="guidance elsewhere")
    model.add_argument("--gamma", type=number(0, 100, least=True), help="how fast guidance fades with the noise")
    model.add_argument("--convention", choices=CONVENTIONS, metavar="NAME",
                       help="reading of the guidance formula: paper, normalised or floored")  # fmt: skip


def add_public(command: argparse.ArgumentParser) -> None:
    public = command.add_argument_group("LatentSync's public files (--model is its UNet)")
    public.add_argument("--vae", type=Path, metavar="FILE", help="sd-vae-ft-mse")
    public.add_argument("--whisper", type=Path, metavar="FILE", help="Whisper's tiny.pt")
    public.add_argument("--resolution", type=int, choices=(256, 512), metavar="N",
                        help="256: LatentSync 1.5; 512: 1.6 (default)")  # fmt: skip
    public.add_argument("--cfg", type=number(0, 100, least=True), help="strength of the sound (default 1.5)")


def _marks(options: argparse.Namespace) -> Marks:
    files = {name: str(path) for name, path in given(options, "certificate", "key").items()}
    if options.watermark_weights:
        files["weights"] = str(options.watermark_weights)
    return Marks.of(
        options.mark, label=options.label, corner=options.label_corner, opacity=options.label_opacity, **files
    )
