"""Reading sound: of a sound file or of a video's sound track, in blocks, on the file's clock."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer

from ..errors import InputError, NoSoundError
from .source import LONGEST, check_gap, long_time, open_media, packets_of, zero_of

RATES = (1000, 768000)
"""Samples a second that a recording may have."""
MOST_CHANNELS = 64
"""FFmpeg's resampler takes no more."""


@dataclass(frozen=True)
class AudioInfo:
    """What a sound track holds. `duration` is in seconds since the file's start."""

    path: Path
    rate: int
    channels: int
    duration: float
    codec: str
    goes_on: bool = False
    """Whether there is more than `duration`, which nobody asked for."""


def open_audio(path: str | Path, until: float | None = None) -> AudioInfo:
    """What the first decodable sound track holds, by decoding it once, or its first `until` seconds.

    NoSoundError: no sound track that can be decoded, an empty one. InputError: no such file, a damaged one.
    """
    with open_media(path) as container:
        stream, samples, goes_on = audio_stream(container, path), 0, False
        context = stream.codec_context
        rate, most = context.sample_rate, None if until is None else ceil(until * context.sample_rate)
        for block in _blocks(container, stream, path, rate):
            samples += block.shape[1]
            if most is not None and samples > most:
                samples, goes_on = most, True
                break
        channels = context.layout.nb_channels
        return AudioInfo(Path(path), rate, channels, samples / rate, codec_name(stream), goes_on)


def read_audio(path: str | Path, rate: int | None = None) -> Iterator[np.ndarray]:
    """Blocks of float32 (channels, samples) at the track's own rate, or resampled by FFmpeg to `rate`.

    Sample n is heard n / rate seconds after the file's start: a late track begins with zeros, holes are zeros.
    Errors as `open_audio`.
    """
    with open_media(path) as container:
        stream = audio_stream(container, path)
        yield from _blocks(container, stream, path, rate or stream.codec_context.sample_rate)


def audio_stream(container: InputContainer, path: str | Path) -> av.AudioStream:
    """The first sound track that can be decoded."""
    for stream in container.streams:
        # A codec that is unknown here has no context (av), and an unreadable header leaves the rate at 0.
        if stream.type == "audio" and stream.codec_context is not None and stream.codec_context.sample_rate:
            _check_shape(stream.codec_context, path)
            return stream
    raise NoSoundError(f"no sound track that can be decoded in {path}; give a file with sound")


def _check_shape(context: av.AudioCodecContext, path: str | Path) -> None:
    least, most = RATES
    if not least <= context.sample_rate <= most:
        raise InputError(f"the sound of {path} declares {context.sample_rate} samples a second; save it at 48000")
    if context.layout.nb_channels > MOST_CHANNELS:
        raise InputError(f"the sound of {path} has {context.layout.nb_channels} channels; mix it down to stereo")


def codec_name(stream: av.stream.Stream) -> str:
    """The codec, whichever of its decoders or encoders is at work."""
    return stream.codec_context.codec.canonical_name


def sound_zero(container: InputContainer, stream: av.AudioStream) -> Fraction:
    """The moment on the track's clock that counts as the file's start (an encoder's lead-in lies before it)."""
    begins = Fraction(stream.start_time or 0) * stream.time_base
    return zero_of(container, max(begins, Fraction(0)))


def _blocks(container: InputContainer, stream: av.AudioStream, path: str | Path, rate: int) -> Iterator[np.ndarray]:
    zero = sound_zero(container, stream)
    resampler, shape, heard = None, None, 0
    for frame in _decoded(container, stream, path):
        if resampler is None:
            shape = frame.layout.nb_channels, frame.sample_rate
            # Interleaved: with more than 8 channels, av reads planes that are not there.
            resampler = av.AudioResampler("flt", frame.layout, rate)
        if shape != (frame.layout.nb_channels, frame.sample_rate):
            raise InputError(f"the sound of {path} changes its channels or rate at {heard / rate:.2f} s; re-encode it")
        due = None if frame.pts is None else round((frame.pts * frame.time_base - zero) * rate)
        check_gap(Path(path), heard / rate, heard / rate if due is None else due / rate, "sound")
        if max(heard, due or 0) > LONGEST * rate:
            raise InputError(f"the sound of {path} lasts longer than {long_time(LONGEST)}; cut it")
        if due is not None and due - heard > rate // 20:  # smaller holes are the container's rounding
            for block in _zeros(due - heard, shape[0]):
                heard += block.shape[1]
                yield block
        surplus = -due if heard == 0 and due is not None and due < 0 else 0
        for out in _resampled(resampler, frame, path):
            block = _block(out)[:, surplus:]
            surplus = max(0, surplus - out.samples)
            heard += block.shape[1]
            if block.size:
                yield block
    for out in resampler.resample(None) if resampler is not None else ():
        heard += out.samples
        yield _block(out)
    if heard == 0:
        raise NoSoundError(f"the sound track of {path} is empty; give a file with sound")


def _resampled(resampler: av.AudioResampler, frame: av.AudioFrame, path: Any) -> list[av.AudioFrame]:
    try:
        return resampler.resample(frame)
    except av.error.FFmpegError as error:
        raise InputError(f"the sound of {path} cannot be converted ({error.strerror}); re-encode it") from None


def _block(frame: av.AudioFrame) -> np.ndarray:
    return np.ascontiguousarray(frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T)


def _zeros(samples: int, channels: int) -> Iterator[np.ndarray]:
    for start in range(0, samples, 65536):
        yield np.zeros((channels, min(65536, samples - start)), np.float32)


def _decoded(container: InputContainer, stream: av.AudioStream, path: str | Path) -> Iterator[av.AudioFrame]:
    """Every frame that decodes; damage is passed over and warned of once."""
    stream.thread_type = "AUTO"
    damaged = False
    for packet in packets_of(container, stream):
        if packet is None:
            damaged = True
            break
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            damaged = True
    if damaged:
        warnings.warn(f"the sound of {path} is damaged or cut off; what decodes of it is used", stacklevel=2)
