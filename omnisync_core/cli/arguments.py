"""Kinds of values on the command line: each parses a text, or says what is expected."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path


def file(text: str) -> Path:
    if text.endswith(("/", os.sep)):
        raise argparse.ArgumentTypeError(f"must be a file, got the folder {text!r}; leave the last {text[-1]} out")
    return Path(text)


def number(low: float, high: float, *, least: bool = False) -> Callable[[str], float]:
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


def whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, got {text!r}")
        return value

    return parse


def engine(text: str) -> tuple[Path | None, Path | None, Path | None]:
    """The model, VAE and Whisper of an engine's name, spelled as `bench run` spells it."""
    kind, _, rest = text.partition(":")
    if text.endswith(".json"):
        raise argparse.ArgumentTypeError(
            f"{rest or text} is a workflow for ComfyUI servers: queue {rest or text} --manifest LIST --host URL"
        )
    files = [Path(part) for part in rest.split(",") if part]
    if kind == "mini" and len(files) <= 1:
        return (files[0] if files else None), None, None
    if kind == "latentsync" and len(files) == 3:
        model, vae, whisper = files
        return model, vae, whisper
    raise argparse.ArgumentTypeError(f"must be mini, mini:BUNDLE or latentsync:UNET,VAE,WHISPER, got {text!r}")


def mouth(text: str) -> str | tuple[float, ...]:
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


def speaker(text: str) -> tuple[Path, tuple[float, ...]]:
    """A sound and a point: SOUND@X,Y or SOUND@X,Y,WIDTH."""
    sound, at, place = text.rpartition("@")
    try:
        point = mouth(place)
    except argparse.ArgumentTypeError:
        point = ""
    if not at or not sound or isinstance(point, str):
        raise argparse.ArgumentTypeError(f"must be SOUND@X,Y or SOUND@X,Y,WIDTH in pixels, got {text!r}")
    return Path(sound), point
