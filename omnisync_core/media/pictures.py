"""Pictures and samples from memory into files without loss, so that they take the same way as any other file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer

from ..errors import InputError
from .formats import known_layout
from .planes import Colour, add_rgb, channel_view
from .sound import RATES

BT709 = Colour(0.2126, 0.0722, full_range=False)
BLOCK = 1 << 16
"""Samples written at a time."""


def write_pictures(
    path: str | Path,
    pictures: Iterable[np.ndarray],
    rate: Fraction,
    pix_fmt: str,
    sound: tuple[np.ndarray, int] | None = None,
) -> None:
    """A video (.mp4, FFV1) of pictures (H, W, 3), float RGB in 0..1 (beyond is clipped), one at a time.

    `pix_fmt` bgr0 or gbrp16le keeps 8 or 16 bits of each colour; a YUV format is BT.709, limited range. `sound`:
    samples (channels, S) and their rate. The same gives the same bytes. InputError: no pictures, numbers that are not
    finite, a rate that is not above 0.
    """
    if not 0 < rate <= 1000:
        raise InputError(f"the frame rate must be above 0 and at most 1000, got {float(rate):g}")
    with av.open(str(path), "w", format="mp4", container_options={"fflags": "+bitexact"}) as output:
        stream, samples = None, None
        for index, picture in enumerate(pictures):
            if not np.isfinite(picture).all():
                raise InputError(f"frame {index} holds numbers that are not finite (NaN or infinite); mend it first")
            if stream is None:
                stream = _stream(output, picture.shape, rate, pix_fmt)
                samples = _Samples(output, *sound) if sound else None
            frame = _frame(picture, pix_fmt)
            frame.pts, frame.time_base = index, 1 / rate
            output.mux(stream.encode(frame))
            if samples:
                samples.write(until=float((index + 1) / rate))
        if stream is None:
            raise InputError("there are no frames: the batch is empty")
        output.mux(stream.encode(None))
        if samples:
            samples.finish()


def write_samples(path: str | Path, wave_CS: np.ndarray, rate: int) -> None:
    """A sound file (.wav) of float32 samples (channels, S) as they are; beyond 4 GB it is RF64. InputError: none."""
    with av.open(str(path), "w", format="wav", container_options={"rf64": "auto", "fflags": "+bitexact"}) as output:
        _Samples(output, wave_CS, rate).finish()


class _Samples:
    """A track of plain float32 samples, written as the time goes on."""

    def __init__(self, output: OutputContainer, wave_CS: np.ndarray, rate: int) -> None:
        self._wave_CS, self._rate, self._at = np.asarray(wave_CS, np.float32), rate, 0
        count = len(self._wave_CS)
        if not self._wave_CS.size:
            raise InputError(f"a sound needs channels and samples, got shape {self._wave_CS.shape}")
        if count >= len(_LAYOUTS):
            most = len(_LAYOUTS) - 1
            raise InputError(f"the sound has {count} channels, more than {most}; mix it down to stereo")
        if not RATES[0] <= rate <= RATES[1]:
            raise InputError(f"the sound has {rate} samples a second; resample it to 48000")
        self._layout, self._output = _LAYOUTS[count], output
        self._stream = output.add_stream("pcm_f32le", rate=rate, layout=self._layout)

    def write(self, until: float) -> None:
        """Samples up to `until` seconds."""
        stop = min(self._wave_CS.shape[1], math.ceil(until * self._rate))
        while self._at < stop:
            block_CS = self._wave_CS[:, self._at : min(stop, self._at + BLOCK)]
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block_CS.T).reshape(1, -1), "flt", self._layout)
            frame.sample_rate, frame.pts, frame.time_base = self._rate, self._at, Fraction(1, self._rate)
            self._output.mux(self._stream.encode(frame))
            self._at += block_CS.shape[1]

    def finish(self) -> None:
        self.write(until=self._wave_CS.shape[1] / self._rate)
        self._output.mux(self._stream.encode(None))


_LAYOUTS = (None, "mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")


def _stream(output: OutputContainer, shape: tuple[int, int, int], rate: Fraction, pix_fmt: str) -> av.VideoStream:
    stream = output.add_stream("ffv1", rate=rate, options={"level": "3", "slicecrc": "1"})
    context = stream.codec_context
    stream.height, stream.width, stream.pix_fmt = shape[0], shape[1], pix_fmt
    context.time_base = stream.time_base = 1 / rate
    if known_layout(pix_fmt).kind == "yuv":
        context.colorspace = context.color_primaries = context.color_trc = context.color_range = 1
    return stream


def _frame(picture_HWC: np.ndarray, pix_fmt: str) -> av.VideoFrame:
    """The picture added to black: swscale, at odd sizes, would mix in memory that nobody wrote."""
    layout, black = known_layout(pix_fmt), 0
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
