"""Pictures and samples from memory into files without loss, so that they take the same way as any other file."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ..errors import InputError
from .formats import layout_of
from .planes import Colour, add_rgb, channel_view

BT709 = Colour(0.2126, 0.0722, full_range=False)
BLOCK = 1 << 16
"""Samples written at a time."""


def write_pictures(path: str | Path, pictures: Iterable[np.ndarray], rate: Fraction, pix_fmt: str) -> None:
    """A video (.mp4, FFV1) of pictures (H, W, 3), float RGB in 0..1 (beyond is clipped), one at a time.

    `pix_fmt` bgr0 or gbrp16le keeps 8 or 16 bits of each colour; a YUV format is BT.709, limited range. The same
    pictures give the same bytes. InputError: no pictures, numbers that are not finite, a rate that is not above 0.
    """
    if not 0 < rate <= 1000:
        raise InputError(f"the frame rate must be above 0 and at most 1000, got {float(rate):g}")
    with av.open(str(path), "w", format="mp4", container_options={"fflags": "+bitexact"}) as output:
        stream = None
        for index, picture in enumerate(pictures):
            if not np.isfinite(picture).all():
                raise InputError(f"frame {index} holds numbers that are not finite (NaN or infinite); mend it first")
            if stream is None:
                stream = _stream(output, picture.shape, rate, pix_fmt)
            frame = _frame(picture, pix_fmt)
            frame.pts, frame.time_base = index, 1 / rate
            output.mux(stream.encode(frame))
        if stream is None:
            raise InputError("there are no frames: the batch is empty")
        output.mux(stream.encode(None))


def write_samples(path: str | Path, wave_CS: np.ndarray, rate: int) -> None:
    """A sound file (.wav) of float32 samples (channels, S) as they are; beyond 4 GB it is RF64."""
    wave_CS = np.asarray(wave_CS, np.float32)
    count = len(wave_CS)
    layout = next(iter(_LAYOUTS[count : count + 1]), None)
    if layout is None or not wave_CS.size:
        raise InputError(f"a sound needs 1 to 8 channels and samples, got shape {wave_CS.shape}")
    with av.open(str(path), "w", format="wav", container_options={"rf64": "auto", "fflags": "+bitexact"}) as output:
        stream = output.add_stream("pcm_f32le", rate=rate, layout=layout)
        for start in range(0, wave_CS.shape[1], BLOCK):
            block_CS = wave_CS[:, start : start + BLOCK]
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block_CS.T).reshape(1, -1), "flt", layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


_LAYOUTS = (None, "mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")


def _stream(output, shape: tuple[int, int, int], rate: Fraction, pix_fmt: str) -> av.VideoStream:
    stream = output.add_stream("ffv1", rate=rate, options={"level": "3", "slicecrc": "1"})
    context = stream.codec_context
    stream.height, stream.width, stream.pix_fmt = shape[0], shape[1], pix_fmt
    context.time_base = stream.time_base = 1 / rate
    if layout_of(pix_fmt).kind == "yuv":
        context.colorspace = context.color_primaries = context.color_trc = context.color_range = 1
    return stream


def _frame(picture_HWC: np.ndarray, pix_fmt: str) -> av.VideoFrame:
    """The picture added to black: swscale, at odd sizes, would mix in memory that nobody wrote."""
    layout, black = layout_of(pix_fmt), 0
    height, width = picture_HWC.shape[:2]
    frame = av.VideoFrame(width, height, pix_fmt)
    for index, channel in enumerate(layout.channels):
        if layout.kind == "yuv":
            black = round((BT709.chroma_codes if index else BT709.luma_codes)(layout.bits)[0])
        channel_view(frame, layout, channel, layout.is_subsampled(index))[:] = black
    add_rgb(frame, layout, BT709, (0, 0, width, height), np.clip(picture_HWC, 0, 1).astype(np.float32))
    if layout.kind == "yuv":
        frame.colorspace = frame.color_primaries = frame.color_trc = frame.color_range = 1
    return frame
