"""Which encoder, container and pixel format a result gets."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import av
from av.sidedata.sidedata import Type as SideData

from ..errors import InputError
from .formats import Layout, layout_of
from .frame import Frame
from .source import side_data

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}


@dataclass(frozen=True)
class Encoding:
    """An encoder with its pixel format, options and container tag."""

    codec: str
    pix_fmt: str
    options: dict[str, str] = field(default_factory=dict)
    tag: str | None = None


def container_of(path: Path) -> str:
    """FFmpeg's container name by the path's suffix; InputError for another suffix."""
    try:
        return CONTAINERS[path.suffix.lower()]
    except KeyError:
        raise InputError(f"the output must end in {', '.join(CONTAINERS)}, got {path.name!r}") from None


def choose_encoding(frame: Frame, path: Path, lossless: bool, opaque: bool) -> Encoding:
    """The encoder for a result of frames like `frame`; InputError when the container cannot hold it.

    `opaque`: no frame has a transparent pixel. H.264 with the source's own samples wherever x264 has the pixel format.
    """
    container, layout, name = container_of(path), frame.layout, frame.native.format.name
    if lossless:
        if container != "matroska":
            raise InputError(f"a lossless result (FFV1) needs a name that ends in .mkv, got {path.name!r}")
        return Encoding("ffv1", _same_samples("ffv1", name), _FFV1)
    if not opaque:
        if container != "mov":
            raise InputError(f"the source is transparent, {path.name} cannot be", "alpha")
        return Encoding("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16"})
    deep = frame.is_hdr or (layout.bits > 10 and layout.kind != "rgb")
    if deep and frame.native.width >= _X265_WIDTH:
        options = {**_X265, "x265-params": ":".join(["log-level=error", *_light(frame.native)])}
        return Encoding("libx265", _fitting("libx265", frame), options, None if container == "matroska" else "hvc1")
    return Encoding("libx264", _fitting("libx264", frame), _X264)


_FFV1 = {"level": "3", "slicecrc": "1", "threads": "auto"}
# Without mbtree: its assembly reads memory that nobody wrote, and the same job would give other bytes each time.
# A number of threads of our own: by itself each takes the machine's, and another number writes other bytes.
_X264 = {"crf": "15", "preset": "medium", "mbtree": "0", "threads": "4"}
_X265 = {"crf": "14", "preset": "medium", "threads": "4"}
_X265_WIDTH = 64
"""Below, x265 (4.2) writes past its memory."""


def _same_samples(codec: str, name: str) -> str:
    """The encoder's pixel format that holds exactly the same samples."""
    layout, formats = layout_of(name), _formats(codec)
    if name in formats:
        return name
    for candidate, other in formats.items():
        if _signature(other) == _signature(layout):
            return candidate
    raise InputError(f"{codec} cannot hold the pixel format {name} without loss", "no_lossless")


def _signature(layout: Layout) -> tuple:
    return layout.kind, layout.bits, layout.down_x, layout.down_y, layout.alpha is not None


def _fitting(codec: str, frame: Frame) -> str:
    """The encoder's smallest YUV format that holds the frame's bits and chroma, without alpha.

    The frame's own one where that fits. RGB goes to 4:4:4; gray to 4:2:0, which every player shows; odd sizes to as
    much chroma as they need to be encoded.
    """
    layout, native, name = frame.layout, frame.native, frame.native.format.name
    most_x, most_y = {"yuv": (layout.down_x, layout.down_y), "rgb": (0, 0), "gray": (1, 1)}[layout.kind]
    most_x, most_y = (0 if native.width % 2 else most_x), (0 if native.height % 2 else most_y)
    fits = [
        (-min(other.bits, layout.bits), other.bits, -other.down_x - other.down_y, candidate != name, candidate)
        for candidate, other in _formats(codec).items()
        if other.kind == "yuv" and other.alpha is None and other.down_x <= most_x and other.down_y <= most_y
        if candidate == name or not candidate.startswith("yuvj")
    ]
    return min(fits)[-1]


@lru_cache
def _formats(codec: str) -> dict[str, Layout]:
    """The encoder's pixel formats whose samples can be reached."""
    names = (f.name for f in av.codec.Codec(codec, "w").video_formats)
    return {name: layout for name in names if (layout := layout_of(name)) is not None}


def _light(native: av.VideoFrame) -> list[str]:
    """x265's options for the mastering display and light levels that an HDR frame carries (libavutil's structs)."""
    options = []
    if display := side_data(native, SideData.MASTERING_DISPLAY_METADATA):
        numbers = struct.unpack("=20i", display[:80])
        values = [top / bottom if bottom else 0.0 for top, bottom in zip(numbers[::2], numbers[1::2], strict=True)]
        red, green, blue, white = ([round(v * 50000) for v in values[i : i + 2]] for i in (0, 2, 4, 6))
        darkest, brightest = (round(v * 10000) for v in values[8:10])
        points = "G({},{})B({},{})R({},{})WP({},{})".format(*green, *blue, *red, *white)
        options.append(f"master-display={points}L({brightest},{darkest})")
    if levels := side_data(native, SideData.CONTENT_LIGHT_LEVEL):
        options.append("max-cll={},{}".format(*struct.unpack("=2I", levels[:8])))
    return options
