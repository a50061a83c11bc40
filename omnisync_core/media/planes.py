"""A video frame's own samples: where each colour channel lies, and the way from them to RGB and back.

Shapes: H, W are the frame as stored (before rotation); a channel view is (H, W) for full-size channels and
(ceil(H / 2**down_y), ceil(W / 2**down_x)) for subsampled chroma.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import av
import numpy as np

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole pixels; x1 and y1 are excluded."""


@dataclass(frozen=True)
class Channel:
    """One colour channel: its plane, its first sample, the distance to the next (in samples), its low padding bits."""

    plane: int
    offset: int = 0
    step: int = 1
    shift: int = 0


@dataclass(frozen=True)
class Layout:
    """Where the samples of a pixel format lie."""

    kind: str
    """yuv (channels Y, U, V), rgb (channels R, G, B) or gray (one channel)."""
    bits: int
    channels: tuple[Channel, ...]
    alpha: Channel | None = None
    down_x: int = 0
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


def channel_view(native: av.VideoFrame, layout: Layout, channel: Channel, subsampled: bool = False) -> np.ndarray:
    """The samples of one channel, (H, W), as a view of the frame's memory: writing into it writes into the frame."""
    plane = native.planes[channel.plane]
    height, width = native.height, native.width
    if subsampled:
        height, width = -(-height >> layout.down_y), -(-width >> layout.down_x)
    size = layout.dtype.itemsize
    return np.ndarray(
        (height, width),
        layout.dtype,
        buffer=plane,
        offset=channel.offset * size,
        strides=(plane.line_size, channel.step * size),
    )


@dataclass(frozen=True)
class Colour:
    """How a frame's numbers become RGB: the luma weights and whether the full range of codes is used."""

    kr: float
    kb: float
    full_range: bool
    ycgco: bool = False

    def rgb_to_yuv(self) -> np.ndarray:
        """3x3: rows Y, Cb, Cr (chroma in -0.5..0.5), columns R, G, B."""
        if self.ycgco:
            return np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0, -0.5]])
        y = np.array([self.kr, 1 - self.kr - self.kb, self.kb])
        cb = (np.array([0, 0, 1]) - y) / (2 * (1 - self.kb))
        cr = (np.array([1, 0, 0]) - y) / (2 * (1 - self.kr))
        return np.stack([y, cb, cr])

    def luma_codes(self, bits: int) -> tuple[float, float]:
        """Offset and span of luma (and of gray) in code values."""
        return (0.0, (1 << bits) - 1.0) if self.full_range else (16.0 * 2 ** (bits - 8), 219.0 * 2 ** (bits - 8))

    def chroma_codes(self, bits: int) -> tuple[float, float]:
        """Offset and span of chroma in code values."""
        return 2.0 ** (bits - 1), ((1 << bits) - 1.0) if self.full_range else 224.0 * 2 ** (bits - 8)


def read_rgb(native: av.VideoFrame, layout: Layout, colour: Colour, box: Box) -> np.ndarray:
    """The box as float32 RGB in 0..1, (h, w, 3), as stored; only the box is touched. Chroma is replicated."""
    x0, y0, x1, y1 = box

    def samples(index: int) -> np.ndarray:
        view = channel_view(native, layout, layout.channels[index])[y0:y1, x0:x1]
        return (view >> layout.channels[index].shift).astype(np.float32)

    if layout.kind == "rgb":
        return np.stack([samples(i) for i in range(3)], axis=-1) * np.float32(1 / layout.peak)
    offset, span = colour.luma_codes(layout.bits)
    luma = (samples(0) - np.float32(offset)) * np.float32(1 / span)
    if layout.kind == "gray":
        return np.repeat(np.clip(luma, 0, 1)[..., None], 3, axis=-1)
    rgb = _upsample(_chroma_rgb(native, layout, colour, box), layout, box)
    rgb += luma[..., None]
    return np.clip(rgb, 0, 1, out=rgb)


def add_rgb(native: av.VideoFrame, layout: Layout, colour: Colour, box: Box, delta_HWC: np.ndarray) -> None:
    """Adds an RGB change (units of 0..1) to the samples inside the box, in place; samples it leaves at 0 are untouched.

    A chroma sample gets the mean change over the pixels it stands for (those outside the box count as unchanged).
    """
    if layout.kind == "rgb":
        for index in range(3):
            _add_codes(native, layout, index, box, delta_HWC[..., index] * np.float32(layout.peak))
        return
    to_yuv = colour.rgb_to_yuv().astype(np.float32)
    _add_codes(native, layout, 0, box, delta_HWC @ (to_yuv[0] * np.float32(colour.luma_codes(layout.bits)[1])))
    if layout.kind == "gray":
        return
    span = np.float32(colour.chroma_codes(layout.bits)[1])
    mean, sites = _site_mean(delta_HWC, layout, box, native.width, native.height)
    for index in (1, 2):
        _add_codes(native, layout, index, sites, mean @ (to_yuv[index] * span))


def copy_frame(native: av.VideoFrame) -> av.VideoFrame:
    """A frame of its own memory with the same samples, time and colour tags."""
    twin = av.VideoFrame(native.width, native.height, native.format.name)
    for source, target in zip(native.planes, twin.planes, strict=True):
        rows = source.buffer_size // abs(source.line_size)
        width = min(abs(source.line_size), abs(target.line_size))
        from_rows = np.ndarray((rows, width), np.uint8, buffer=source, strides=(source.line_size, 1))
        np.ndarray((rows, width), np.uint8, buffer=target, strides=(target.line_size, 1))[:] = from_rows
    copy_tags(native, twin)
    return twin


def copy_tags(source: av.VideoFrame, target: av.VideoFrame) -> None:
    target.pts, target.time_base, target.duration = source.pts, source.time_base, source.duration
    target.colorspace, target.color_range = source.colorspace, source.color_range
    target.color_trc, target.color_primaries = source.color_trc, source.color_primaries


def repack(native: av.VideoFrame, pix_fmt: str) -> av.VideoFrame:
    """The frame in another pixel format; sample for sample where that holds the same channels, else converted."""
    if native.format.name == pix_fmt:
        return native
    source, target = layout_of(native.format.name), layout_of(pix_fmt)
    exact = (source.kind, source.bits, source.down_x, source.down_y) == (
        target.kind, target.bits, target.down_x, target.down_y)
    if not exact or (source.alpha is None) != (target.alpha is None):
        return native.reformat(format=pix_fmt)
    twin = av.VideoFrame(native.width, native.height, pix_fmt)
    pairs = list(zip(source.channels, target.channels, strict=True))
    if source.alpha is not None:
        pairs.append((source.alpha, target.alpha))
    for index, (old, new) in enumerate(pairs):
        small = index < 3 and source.is_subsampled(index)
        samples = channel_view(native, source, old, small) >> old.shift
        channel_view(twin, target, new, small)[:] = samples << new.shift
    copy_tags(native, twin)
    return twin


def _chroma_rgb(native: av.VideoFrame, layout: Layout, colour: Colour, box: Box) -> np.ndarray:
    """What the chroma samples under the box add to R, G and B, (sites_y, sites_x, 3)."""
    x0, y0, x1, y1 = _sites(box, layout)
    offset, span = colour.chroma_codes(layout.bits)
    matrix = np.linalg.inv(colour.rgb_to_yuv())[:, 1:] / span
    parts = []
    for index in (1, 2):
        channel = layout.channels[index]
        view = channel_view(native, layout, channel, layout.is_subsampled(index))[y0:y1, x0:x1]
        parts.append((view >> channel.shift).astype(np.float32) - np.float32(offset))
    return np.stack(parts, axis=-1) @ matrix.T.astype(np.float32)


def _upsample(chroma: np.ndarray, layout: Layout, box: Box) -> np.ndarray:
    """Chroma sites repeated to pixels and cut to the box."""
    if not (layout.down_x or layout.down_y):
        return chroma
    x0, y0, x1, y1 = box
    left, top = x0 & ((1 << layout.down_x) - 1), y0 & ((1 << layout.down_y) - 1)
    full = chroma.repeat(1 << layout.down_y, axis=0).repeat(1 << layout.down_x, axis=1)
    return full[top : top + y1 - y0, left : left + x1 - x0]


def _sites(box: Box, layout: Layout) -> Box:
    """The chroma sites that the box touches."""
    x0, y0, x1, y1 = box
    return x0 >> layout.down_x, y0 >> layout.down_y, -(-x1 >> layout.down_x), -(-y1 >> layout.down_y)


def _site_mean(delta: np.ndarray, layout: Layout, box: Box, width: int, height: int) -> tuple[np.ndarray, Box]:
    """The change averaged over each chroma site, (sites_y, sites_x, 3), and the box of those sites."""
    sites = _sites(box, layout)
    if not (layout.down_x or layout.down_y):
        return delta, sites
    step_x, step_y = 1 << layout.down_x, 1 << layout.down_y
    rows, columns = sites[3] - sites[1], sites[2] - sites[0]
    padded = np.zeros((rows * step_y, columns * step_x, 3), np.float32)
    top, left = box[1] - sites[1] * step_y, box[0] - sites[0] * step_x
    padded[top : top + delta.shape[0], left : left + delta.shape[1]] = delta
    summed = padded.reshape(rows, step_y, columns, step_x, 3).sum(axis=(1, 3))
    # A site at the right or lower edge of an odd-sized frame stands for fewer pixels.
    count_y = np.minimum(step_y, height - np.arange(sites[1], sites[3]) * step_y)
    count_x = np.minimum(step_x, width - np.arange(sites[0], sites[2]) * step_x)
    return summed / (count_y[:, None, None] * count_x[None, :, None]).astype(np.float32), sites


def _add_codes(native: av.VideoFrame, layout: Layout, index: int, box: Box, change: np.ndarray) -> None:
    """Adds a change in code values, rounded, to one channel; only samples with a change are written."""
    x0, y0, x1, y1 = box
    channel = layout.channels[index]
    view = channel_view(native, layout, channel, layout.is_subsampled(index))[y0:y1, x0:x1]
    codes = np.rint(change).astype(np.int32)
    changed = codes != 0
    codes += view >> channel.shift
    np.clip(codes, 0, layout.peak, out=codes)
    np.copyto(view, (codes << channel.shift).astype(layout.dtype), where=changed)


_SUBSAMPLING = {"444": (0, 0), "440": (0, 1), "422": (1, 0), "420": (1, 1), "411": (2, 0), "410": (2, 2)}


def _planar_yuv(alpha, subsampling, bits, endian):
    down_x, down_y = _SUBSAMPLING[subsampling]
    channels = tuple(Channel(i) for i in range(3))
    has_alpha = Channel(3) if alpha == "a" else None
    return Layout("yuv", int(bits or 8), channels, has_alpha, down_x, down_y, endian == "be")


def _planar_rgb(alpha, bits, endian):
    channels = (Channel(2), Channel(0), Channel(1))
    return Layout("rgb", int(bits or 8), channels, Channel(3) if alpha else None, big_endian=endian == "be")


def _gray(bits, endian):
    return Layout("gray", int(bits or 8), (Channel(0),), big_endian=endian == "be")


def _gray_alpha(bits, endian):
    return Layout("gray", int(bits), (Channel(0, 0, 2),), Channel(0, 1, 2), big_endian=endian == "be")


def _semi_planar(name, subsampling, bits, endian):
    """nv12 and its kin (chroma interleaved in one plane); p010 and its kin keep their bits at the top of 16."""
    down_x, down_y = _SUBSAMPLING[subsampling]
    depth = int(bits or 8)
    shift = 16 - depth if name == "p" else 0
    first = 1 if name == "vu" else 0
    channels = (Channel(0, 0, 1, shift), Channel(1, first, 2, shift), Channel(1, 1 - first, 2, shift))
    return Layout("yuv", depth, channels, None, down_x, down_y, endian == "be")


def _packed_rgb(order, bits, endian):
    at = {letter: Channel(0, i, len(order)) for i, letter in enumerate(order)}
    return Layout("rgb", bits, (at["r"], at["g"], at["b"]), at.get("a"), big_endian=endian == "be")


def _packed_yuv422(order, bits, shift=0):
    """Two pixels in four samples: Y0 U Y1 V in the given order."""
    y, u, v = order.index("y"), order.index("u"), order.index("v")
    channels = (Channel(0, y, 2, shift), Channel(0, u, 4, shift), Channel(0, v, 4, shift))
    return Layout("yuv", bits, channels, None, 1, 0)


_ENDIAN = r"(le|be)?"
_FAMILIES = (
    (rf"yuv(a|j|)(444|440|422|420|411|410)p(9|10|12|14|16)?{_ENDIAN}", _planar_yuv),
    (rf"gbr(a?)p(9|10|12|14|16)?{_ENDIAN}", _planar_rgb),
    (rf"gray(9|10|12|14|16)?{_ENDIAN}", _gray),
    (rf"ya(8|16){_ENDIAN}", _gray_alpha),
    (r"nv(12|16|24)", lambda n: _semi_planar("uv", {"12": "420", "16": "422", "24": "444"}[n], 8, None)),
    (r"nv(21|42)", lambda n: _semi_planar("vu", {"21": "420", "42": "444"}[n], 8, None)),
    (r"nv20(le|be)", lambda endian: _semi_planar("uv", "422", 10, endian)),
    (r"p0(10|12|16)(le|be)", lambda bits, endian: _semi_planar("p", "420", bits, endian)),
    (r"p2(10|12|16)(le|be)", lambda bits, endian: _semi_planar("p", "422", bits, endian)),
    (r"p4(10|12|16)(le|be)", lambda bits, endian: _semi_planar("p", "444", bits, endian)),
    (r"(rgb|bgr)24", lambda order: _packed_rgb(order, 8, None)),
    (r"(rgba|bgra|argb|abgr|rgb0|bgr0|0rgb|0bgr)", lambda order: _packed_rgb(order, 8, None)),
    (r"(rgb|bgr)48(le|be)", lambda order, endian: _packed_rgb(order, 16, endian)),
    (r"(rgba|bgra)64(le|be)", lambda order, endian: _packed_rgb(order, 16, endian)),
    (r"(yuyv|uyvy|yvyu)422", lambda order: _packed_yuv422(order, 8)),
    (r"y2(10|12)le", lambda bits: _packed_yuv422("yuyv", int(bits), 16 - int(bits))),
)
