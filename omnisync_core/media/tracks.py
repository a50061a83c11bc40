"""The tracks beside the picture: sound, copied by packets or encoded once, fed in step with the picture."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ..errors import InputError
from .reader import open_media
from .sound import audio_stream, read_audio, sound_start

_COPIED = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_f32le"},
}
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


def sound_track(output: av.container.OutputContainer, path: Path, duration: float | None) -> SoundTrack:
    """The first sound track of `path` as a track of `output`: copied where the container takes the codec, else AAC."""
    container = open_media(path)
    stream = audio_stream(container, path)
    name, taken = stream.codec_context.codec.canonical_name, _COPIED.get(output.format.name)
    if taken is None or name in taken:
        try:
            target = output.add_stream_from_template(stream)
        except ValueError:  # the container does not take this codec
            pass
        else:
            target.metadata.update(_track_metadata(stream))
            return SoundTrack(output, target, container, _copied(container, stream, target, duration))
    target = _aac_stream(output, stream)
    container.close()
    return SoundTrack(output, target, None, _encoded(path, target, duration))


class SoundTrack:
    """Packets of one track, muxed up to a time."""

    def __init__(self, output, target, container, packets: Iterator[av.Packet]):
        self._output, self._target, self._container, self._packets = output, target, container, packets
        self._time = -np.inf

    def pump(self, until: float) -> None:
        """Muxes what is heard up to `until` seconds."""
        while self._time <= until:
            packet = next(self._packets, None)
            if packet is None:
                self._time = np.inf
                return
            stamp = packet.dts if packet.dts is not None else packet.pts
            self._time = float(stamp * packet.time_base)
            self._output.mux(packet)

    def close(self) -> None:
        self._packets.close()
        if self._container is not None:
            self._container.close()


def _copied(container, stream, target, duration: float | None) -> Iterator[av.Packet]:
    zero = round(sound_start(container, stream) / stream.time_base)
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            return
        if packet.size == 0 or packet.pts is None:
            continue
        packet.pts -= zero
        packet.dts = packet.pts if packet.dts is None else packet.dts - zero
        if duration is not None and packet.pts * packet.time_base >= duration:
            return
        packet.stream = target
        yield packet


def _aac_stream(output, source: av.AudioStream) -> av.AudioStream:
    rate, layout = source.codec_context.sample_rate, source.codec_context.layout
    if layout.name.endswith(" channels"):  # a file that does not say which channel is which
        if layout.nb_channels not in _LAYOUTS:
            raise InputError(f"AAC takes up to 8 channels, got {layout.nb_channels}; write .mkv, which copies the sound")
        layout = av.AudioLayout(_LAYOUTS[layout.nb_channels])
    rate = min(_AAC_RATES, key=lambda r: (abs(r - rate), -r))
    target = output.add_stream("aac", rate=rate, layout=layout)
    target.bit_rate = 96000 * layout.nb_channels
    target.codec_context.time_base = Fraction(1, rate)
    target.metadata.update(_track_metadata(source))
    return target


def _encoded(path: Path, target: av.AudioStream, duration: float | None) -> Iterator[av.Packet]:
    """The whole sound, cut to or followed by silence up to `duration`, through the track's encoder."""
    rate, layout = target.codec_context.sample_rate, target.codec_context.layout
    written, total = 0, None if duration is None else round(duration * rate)
    for block in _fitted(read_audio(path, rate), layout.nb_channels, total):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "fltp", layout.name)
        frame.sample_rate, frame.pts, frame.time_base = rate, written, Fraction(1, rate)
        written += block.shape[1]
        yield from target.encode(frame)
    yield from target.encode(None)


def _fitted(blocks: Iterator[np.ndarray], channels: int, total: int | None) -> Iterator[np.ndarray]:
    """The blocks cut at `total` samples or followed by zeros up to it."""
    written = 0
    for block in blocks:
        block = block if total is None else block[:, : total - written]
        if block.shape[1] == 0:
            return
        written += block.shape[1]
        yield block
    while total is not None and written < total:
        silence = np.zeros((channels, min(65536, total - written)), np.float32)
        written += silence.shape[1]
        yield silence


def _track_metadata(stream) -> dict[str, str]:
    return {k: v for k, v in stream.metadata.items() if k in ("language", "title")}
