"""A video frame's own samples, read as RGB, changed in place, and moved between pixel formats.

Shapes: H, W are the frame as stored (before rotation); a channel view is (H, W) for full-size channels and
(ceil(H / 2**down_y), ceil(W / 2**down_x)) for subsampled chroma.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from .formats import Channel, Layout, known_layout

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole pixels; x1 and y1 are excluded."""


@dataclass(frozen=True)
class Colour:
    """How a frame's numbers become RGB: the luma weights and whether the full range of codes is used."""

    kr: float
    kb: float
    full_range: bool
    ycgco: bool = False

    def rgb_to_yuv(self) -> np.ndarray:
        """3x3: rows Y, Cb, Cr (chroma in -0.5..0.5), columns R, G, B (ITU-T H.273)."""
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
    if layout.kind == "rgb":
        return np.stack([_samples(native, layout, i, box) for i in range(3)], axis=-1) * np.float32(1 / layout.peak)
    offset, span = colour.luma_codes(layout.bits)
    luma = (_samples(native, layout, 0, box) - np.float32(offset)) * np.float32(1 / span)
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
    _add_codes(native, layout, 0, box, _mix(delta_HWC, to_yuv[0] * np.float32(colour.luma_codes(layout.bits)[1])))
    if layout.kind == "gray":
        return
    mean, sites = _site_mean(delta_HWC, layout, box, native.width, native.height)
    span = np.float32(colour.chroma_codes(layout.bits)[1])
    for index in (1, 2):
        _add_codes(native, layout, index, sites, _mix(mean, to_yuv[index] * span))


def channel_view(native: av.VideoFrame, layout: Layout, channel: Channel, subsampled: bool = False) -> np.ndarray:
    """The samples of one channel, (H, W), as a view of the frame's memory: writing into it writes into the frame."""
    plane = native.planes[channel.plane]
    height, width = native.height, native.width
    if subsampled:
        height, width = -(-height >> layout.down_y), -(-width >> layout.down_x)
    size = layout.dtype.itemsize
    strides = plane.line_size, channel.step * size
    return np.ndarray((height, width), layout.dtype, buffer=plane, offset=channel.offset * size, strides=strides)


def copy_frame(native: av.VideoFrame) -> av.VideoFrame:
    """A frame of its own memory with the same samples, time, tags and side data (captions, field order)."""
    graph = av.filter.Graph()
    graph.threads = 1
    base = native.time_base or Fraction(1, 1000)
    source = graph.add_buffer(width=native.width, height=native.height, format=native.format, time_base=base)
    copy, sink = graph.add("copy"), graph.add("buffersink")
    source.link_to(copy)
    copy.link_to(sink)
    graph.configure()
    source.push(native)
    return sink.pull()


def repack(native: av.VideoFrame, pix_fmt: str, colour: Colour) -> av.VideoFrame:
    """The frame in another pixel format, sample for sample; only RGB to YUV mixes channels (to BT.709, limited range).

    Chroma is replicated where the target has more of it, codes are scaled where it has more bits, alpha is dropped
    where it has none.
    """
    if native.format.name == pix_fmt:
        return native
    source, target = known_layout(native.format.name), known_layout(pix_fmt)
    if source.kind == "rgb" and target.kind == "yuv":
        mixed = native.reformat(format=pix_fmt, dst_colorspace="ITU709", dst_color_range="MPEG")
        mixed.colorspace, mixed.color_range = 1, 1
        return mixed
    twin = av.VideoFrame(native.width, native.height, pix_fmt)
    for index, channel in enumerate(target.channels):
        view = channel_view(twin, target, channel, target.is_subsampled(index))
        if index < len(source.channels):
            codes = _recoded(native, source, target, colour, index)
            view[:] = codes[: view.shape[0], : view.shape[1]] << channel.shift
        else:  # gray has no chroma
            view[:] = (1 << target.bits - 1) << channel.shift
    if source.alpha is not None and target.alpha is not None:
        alpha = channel_view(native, source, source.alpha) >> source.alpha.shift
        if source.bits != target.bits:
            alpha = np.rint(alpha * (target.peak / source.peak)).astype(target.dtype)
        channel_view(twin, target, target.alpha)[:] = alpha << target.alpha.shift
    for name in ("pts", "duration", "colorspace", "color_range", "color_primaries", "color_trc"):
        setattr(twin, name, getattr(native, name))
    if native.time_base is not None:
        twin.time_base = native.time_base
    return twin


def is_opaque(native: av.VideoFrame, layout: Layout) -> bool:
    """Whether no pixel is transparent."""
    if layout.alpha is None:
        return True
    return bool((channel_view(native, layout, layout.alpha) >> layout.alpha.shift).min() >= layout.peak)


def _samples(native: av.VideoFrame, layout: Layout, index: int, box: Box) -> np.ndarray:
    """Code values of one channel inside a box of its samples, float32."""
    x0, y0, x1, y1 = box
    channel = layout.channels[index]
    view = channel_view(native, layout, channel, layout.is_subsampled(index))[y0:y1, x0:x1]
    return (view >> channel.shift if channel.shift else view).astype(np.float32)


def _chroma_rgb(native: av.VideoFrame, layout: Layout, colour: Colour, box: Box) -> np.ndarray:
    """What the chroma samples under the box add to R, G and B, (sites_y, sites_x, 3)."""
    sites = _sites(box, layout)
    offset, span = colour.chroma_codes(layout.bits)
    matrix = (np.linalg.inv(colour.rgb_to_yuv())[:, 1:] / span).astype(np.float32)
    u, v = (_samples(native, layout, index, sites) - np.float32(offset) for index in (1, 2))
    return np.stack([u * from_u + v * from_v for from_u, from_v in matrix], axis=-1)


def _mix(image_HWC: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted sum of three channels, sample by sample: a BLAS product depends on the shape in its last bit."""
    red, green, blue = (image_HWC[..., index] * weights[index] for index in range(3))
    return red + green + blue


def _upsample(chroma: np.ndarray, layout: Layout, box: Box) -> np.ndarray:
    """Chroma sites repeated to pixels and cut to the box."""
    if not (layout.down_x or layout.down_y):
        return chroma
    x0, y0, x1, y1 = box
    rows = (np.arange(y0, y1) >> layout.down_y) - (y0 >> layout.down_y)
    columns = (np.arange(x0, x1) >> layout.down_x) - (x0 >> layout.down_x)
    return chroma.take(rows, axis=0).take(columns, axis=1)


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
    padded = np.zeros(((sites[3] - sites[1]) * step_y, (sites[2] - sites[0]) * step_x, 3), np.float32)
    top, left = box[1] - sites[1] * step_y, box[0] - sites[0] * step_x
    padded[top : top + delta.shape[0], left : left + delta.shape[1]] = delta
    rows: np.ndarray = sum(padded[y::step_y] for y in range(step_y))  # type: ignore[assignment]
    summed: np.ndarray = sum(rows[:, x::step_x] for x in range(step_x))  # type: ignore[assignment]
    # A site at the right or lower edge of an odd-sized frame stands for fewer pixels.
    count_y = np.minimum(step_y, height - np.arange(sites[1], sites[3]) * step_y)
    count_x = np.minimum(step_x, width - np.arange(sites[0], sites[2]) * step_x)
    return summed / (count_y[:, None, None] * count_x[None, :, None]).astype(np.float32), sites


def _add_codes(native: av.VideoFrame, layout: Layout, index: int, box: Box, change: np.ndarray) -> None:
    """Adds a change in code values, rounded, to one channel; only samples with a change are written."""
    x0, y0, x1, y1 = box
    channel = layout.channels[index]
    view = channel_view(native, layout, channel, layout.is_subsampled(index))[y0:y1, x0:x1]
    steps = np.rint(change, out=change).astype(np.int32)
    codes = steps + (view >> channel.shift)
    np.clip(codes, 0, layout.peak, out=codes)
    np.copyto(view, (codes << channel.shift).astype(layout.dtype), where=steps != 0)


def _recoded(native: av.VideoFrame, source: Layout, target: Layout, colour: Colour, index: int) -> np.ndarray:
    """All code values of one channel in the target's bits and at the target's chroma resolution (or just over it)."""
    channel = source.channels[index]
    codes = channel_view(native, source, channel, source.is_subsampled(index)) >> channel.shift
    if source.bits != target.bits:
        offset, span = _coding(source, colour, index)
        wanted_offset, wanted_span = _coding(target, colour, index)
        codes = np.rint((codes - offset) * (wanted_span / span) + wanted_offset)
        codes = np.clip(codes, 0, target.peak).astype(target.dtype)
    if source.is_subsampled(index):
        codes = codes.repeat(1 << source.down_y - target.down_y, axis=0)
        codes = codes.repeat(1 << source.down_x - target.down_x, axis=1)
    return codes


def _coding(layout: Layout, colour: Colour, index: int) -> tuple[float, float]:
    """Offset and span of a channel's code values."""
    if layout.kind == "rgb":
        return 0.0, float(layout.peak)
    return colour.chroma_codes(layout.bits) if index else colour.luma_codes(layout.bits)
