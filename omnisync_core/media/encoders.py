"""Which encoder, container and pixel format a result gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import av

from ..errors import InputError
from .frame import Frame
from .planes import Layout, layout_of
from .reader import is_hdr

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
        raise InputError(f"output must end in {', '.join(CONTAINERS)}, got {path.name!r}") from None


def choose_encoding(frame: Frame, path: Path, lossless: bool) -> Encoding:
    """The encoder for a result that looks like `frame`; InputError when the container cannot hold it."""
    container, layout, name = container_of(path), frame.layout, frame.native.format.name
    if lossless:
        if container != "matroska":
            raise InputError(f"a lossless result (FFV1) needs a name that ends in .mkv, got {path.name!r}")
        return Encoding("ffv1", _same_samples("ffv1", name), {"level": "3", "slicecrc": "1"})
    if layout.alpha is not None:
        if container != "mov":
            raise InputError(f"the source is transparent: write .mov (ProRes 4444) or lossless .mkv, got {path.name!r}")
        return Encoding("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16"})
    if layout.kind == "rgb":
        return Encoding("libx264", "yuv444p" if layout.bits == 8 else "yuv444p10le", _X264)
    hevc = is_hdr(frame.native) or layout.bits > 10
    codec, options, tag = ("libx265", _X265, "hvc1") if hevc else ("libx264", _X264, None)
    return Encoding(codec, _fitting(codec, layout), options, tag if container != "matroska" else None)


_X264 = {"crf": "14", "preset": "medium"}
_X265 = {"crf": "14", "preset": "medium", "x265-params": "log-level=error"}


def _same_samples(codec: str, name: str) -> str:
    """The encoder's pixel format that holds exactly the same samples."""
    layout, formats = layout_of(name), _formats(codec)
    if name in formats:
        return name
    for candidate, other in formats.items():
        if _signature(other) == _signature(layout):
            return candidate
    raise InputError(f"{codec} cannot hold pixel format {name}")


def _fitting(codec: str, layout: Layout) -> str:
    """The encoder's smallest pixel format that holds at least the layout's bits and chroma samples, without alpha."""
    fits = [
        (other.bits, -other.down_x - other.down_y, candidate)
        for candidate, other in _formats(codec).items()
        if other.kind == layout.kind
        and other.alpha is None
        and other.bits >= layout.bits
        and other.down_x <= layout.down_x
        and other.down_y <= layout.down_y
    ]
    if not fits:
        raise InputError(f"{codec} cannot hold {layout.kind} with {layout.bits} bits; use --lossless with .mkv")
    return min(fits)[2]


def _signature(layout: Layout):
    return layout.kind, layout.bits, layout.down_x, layout.down_y, layout.alpha is not None


@lru_cache
def _formats(codec: str) -> dict[str, Layout]:
    """The encoder's pixel formats whose samples can be reached, plain planar ones first."""
    names = [f.name for f in av.codec.Codec(codec, "w").video_formats]
    known = {name: layout_of(name) for name in sorted(names, key=lambda n: not n.startswith(("yuv", "gbr", "gray")))}
    return {name: layout for name, layout in known.items() if layout is not None and not name.startswith("yuvj")}
