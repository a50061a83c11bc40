"""Where the samples of every pixel format lie: one table instead of one branch per format."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class Channel:
    """One colour channel: its plane, its first sample, the distance to the next (in samples), its low padding bits."""

    plane: int
    offset: int = 0
    step: int = 1
    shift: int = 0


@dataclass(frozen=True)
class Layout:
    """Where the samples of a pixel format lie, and how many there are."""

    kind: str
    """yuv (channels Y, U, V), rgb (channels R, G, B) or gray (one channel)."""
    bits: int
    channels: tuple[Channel, ...]
    alpha: Channel | None = None
    down_x: int = 0
    """Chroma has one sample for 2**down_x columns and 2**down_y rows."""
    down_y: int = 0
    big_endian: bool = False

    @property
    def dtype(self) -> np.dtype:
        return np.dtype("u1") if self.bits <= 8 else np.dtype(">u2" if self.big_endian else "<u2")

    @property
    def peak(self) -> int:
        return (1 << self.bits) - 1

    def is_subsampled(self, index: int) -> bool:
        return self.kind == "yuv" and index > 0 and bool(self.down_x or self.down_y)


@lru_cache
def layout_of(pix_fmt: str) -> Layout | None:
    """The layout of a pixel format by its FFmpeg name; None for formats whose samples cannot be reached one by one."""
    for pattern, build in _FAMILIES:
        if match := re.fullmatch(pattern, pix_fmt):
            return build(*match.groups())
    return None


def known_layout(pix_fmt: str) -> Layout:
    """The layout of a format that has one. ValueError: it has none."""
    layout = layout_of(pix_fmt)
    if layout is None:
        raise ValueError(f"samples of {pix_fmt} cannot be reached one by one")
    return layout


_SUBSAMPLING = {"444": (0, 0), "440": (0, 1), "422": (1, 0), "420": (1, 1), "411": (2, 0), "410": (2, 2)}


def _planar_yuv(alpha: str, subsampling: str, bits: str, endian: str) -> Layout:
    down_x, down_y = _SUBSAMPLING[subsampling]
    channels = tuple(Channel(i) for i in range(3))
    return Layout("yuv", int(bits or 8), channels, Channel(3) if alpha == "a" else None, down_x, down_y, endian == "be")


def _planar_rgb(alpha: str, bits: str, endian: str) -> Layout:
    channels = (Channel(2), Channel(0), Channel(1))
    return Layout("rgb", int(bits or 8), channels, Channel(3) if alpha else None, big_endian=endian == "be")


def _gray(bits: str, endian: str) -> Layout:
    return Layout("gray", int(bits or 8), (Channel(0),), big_endian=endian == "be")


def _gray_alpha(bits: str, endian: str) -> Layout:
    return Layout("gray", int(bits), (Channel(0, 0, 2),), Channel(0, 1, 2), big_endian=endian == "be")


def _semi_planar(subsampling: str, bits: int = 8, endian: str = "le", u_first: bool = True, padding: int = 0) -> Layout:
    """Luma in one plane, U and V in turn in the other."""
    down_x, down_y = _SUBSAMPLING[subsampling]
    u, v = Channel(1, 0, 2, padding), Channel(1, 1, 2, padding)
    chroma = (u, v) if u_first else (v, u)
    return Layout("yuv", bits, (Channel(0, 0, 1, padding), *chroma), None, down_x, down_y, endian == "be")


def _high_bits(digit: str, bits: str, endian: str) -> Layout:
    """p010 and its kin: semi-planar, with the bits at the top of 16."""
    return _semi_planar({"0": "420", "2": "422", "4": "444"}[digit], int(bits), endian, padding=16 - int(bits))


def _packed_rgb(order: str, bits: int, endian: str = "le") -> Layout:
    at = {letter: Channel(0, i, len(order)) for i, letter in enumerate(order)}
    return Layout("rgb", bits, (at["r"], at["g"], at["b"]), at.get("a"), big_endian=endian == "be")


def _packed_yuv422(order: str, bits: int = 8, padding: int = 0) -> Layout:
    """Two pixels in four samples: Y0 U Y1 V in the given order."""
    y, u, v = order.index("y"), order.index("u"), order.index("v")
    channels = (Channel(0, y, 2, padding), Channel(0, u, 4, padding), Channel(0, v, 4, padding))
    return Layout("yuv", bits, channels, None, 1, 0)


_DEPTH = r"(9|10|12|14|16)?(le|be)?"
_FAMILIES: tuple[tuple[str, Callable[..., Layout]], ...] = (
    (rf"yuv(a|j|)(444|440|422|420|411|410)p{_DEPTH}", _planar_yuv),
    (rf"gbr(a?)p{_DEPTH}", _planar_rgb),
    (rf"gray{_DEPTH}", _gray),
    (r"ya(8|16)(le|be)?", _gray_alpha),
    (r"nv(?:12|(21))", lambda swapped: _semi_planar("420", u_first=not swapped)),
    (r"nv16", lambda: _semi_planar("422")),
    (r"nv(?:24|(42))", lambda swapped: _semi_planar("444", u_first=not swapped)),
    (r"nv20(le|be)", lambda endian: _semi_planar("422", 10, endian)),
    (r"p([024])(10|12|16)(le|be)", _high_bits),
    (r"(rgb|bgr)24", lambda order: _packed_rgb(order, 8)),
    (r"(rgba|bgra|argb|abgr|rgb0|bgr0|0rgb|0bgr)", lambda order: _packed_rgb(order, 8)),
    (r"(rgb|bgr)48(le|be)", lambda order, endian: _packed_rgb(order, 16, endian)),
    (r"(rgba|bgra)64(le|be)", lambda order, endian: _packed_rgb(order, 16, endian)),
    (r"(yuyv|uyvy|yvyu)422", _packed_yuv422),
    (r"y2(10|12)le", lambda bits: _packed_yuv422("yuyv", int(bits), 16 - int(bits))),
)
