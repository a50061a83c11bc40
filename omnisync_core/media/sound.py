"""Reading sound: of a sound file or of a video's sound track, in blocks, on the file's clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ..errors import InputError
from .reader import open_media


@dataclass(frozen=True)
class AudioInfo:
    """What a sound track holds. `duration` is in seconds since the file's start."""

    path: Path
    rate: int
    channels: int
    duration: float
    codec: str


def open_audio(path: str | Path) -> AudioInfo:
    """What the first decodable sound track holds. InputError: no such file, no sound track, an empty one."""
    with open_media(path) as container:
        stream = audio_stream(container, path)
        rate, channels = stream.codec_context.sample_rate, stream.codec_context.layout.nb_channels
        samples = sum(block.shape[1] for block in _blocks(container, stream, path))
        if samples == 0:
            raise InputError(f"the sound track of {path} is empty")
        return AudioInfo(Path(path), rate, channels, samples / rate, stream.codec_context.name)


def read_audio(path: str | Path, rate: int | None = None) -> Iterator[np.ndarray]:
    """Blocks of float32 (channels, samples) at the track's own rate (or resampled by FFmpeg to `rate`).

    Sample n is heard at n / rate seconds after the file's start: a late track begins with zeros, holes are zeros.
    """
    with open_media(path) as container:
        stream = audio_stream(container, path)
        empty = True
        for block in _blocks(container, stream, path, rate):
            empty = False
            yield block
        if empty:
            raise InputError(f"the sound track of {path} is empty")


def audio_stream(container: av.container.InputContainer, path: str | Path) -> av.AudioStream:
    """The first sound track that can be decoded."""
    for stream in container.streams:
        context = stream.codec_context if stream.type == "audio" else None
        if context is not None and context.sample_rate > 0:
            return stream
    raise InputError(f"no sound track that can be decoded in {path}")


def sound_start(container: av.container.InputContainer, stream: av.AudioStream) -> Fraction:
    """Seconds of the file's presentation start on the sound track's clock."""
    if container.start_time is not None:
        return Fraction(container.start_time, av.time_base)
    return Fraction(stream.start_time or 0) * stream.time_base


def _blocks(container, stream, path, rate: int | None = None) -> Iterator[np.ndarray]:
    stream.thread_type = "AUTO"
    zero = sound_start(container, stream)
    resampler, written = None, 0
    for frame in _decode(container, stream):
        if resampler is None:
            resampler = av.AudioResampler("fltp", frame.layout, rate or frame.sample_rate)
            out_rate = rate or frame.sample_rate
        if frame.pts is not None:
            due = round((frame.pts * frame.time_base - zero) * out_rate)
            if due - written > out_rate // 20:  # smaller holes are the container's rounding
                yield from _zeros(due - written, frame.layout.nb_channels)
                written = due
        for out in resampler.resample(frame):
            block = out.to_ndarray()
            written += block.shape[1]
            yield block
    if resampler is not None:
        for out in resampler.resample(None):
            yield out.to_ndarray()


def _zeros(samples: int, channels: int) -> Iterator[np.ndarray]:
    for start in range(0, samples, 65536):
        yield np.zeros((channels, min(65536, samples - start)), np.float32)


def _decode(container, stream) -> Iterator[av.AudioFrame]:
    """Every frame that decodes; damaged packets are passed over."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            return
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            continue
