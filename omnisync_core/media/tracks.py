"""The tracks beside the picture: sound and subtitles, copied by packets or encoded once, in step with the picture."""

from __future__ import annotations

import re
import warnings
from collections.abc import Generator, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer, OutputContainer

from ..errors import InputError
from .reader import Part
from .sound import audio_stream, codec_name, read_audio, sound_zero
from .source import Source, open_media, packets_of, zero_of

_COPIED = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_f32le"},
}
"""What players of these containers know; the others (Matroska) copy whatever their muxer takes."""
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


class Track:
    """Packets for an output, muxed up to a time."""

    def __init__(self, output: OutputContainer, packets: Generator[av.Packet]) -> None:
        self._output, self._packets, self._time = output, packets, -np.inf

    def pump(self, until: float) -> None:
        """Muxes what belongs to the time up to `until` (seconds)."""
        while self._time <= until:
            packet = next(self._packets, None)
            if packet is None:
                self._time = np.inf
                return
            self._time = float(packet.dts * packet.time_base)
            self._output.mux(packet)

    def close(self) -> None:
        self._packets.close()


def sound_track(output: OutputContainer, path: Path, duration: float | None) -> Track:
    """The first sound track of `path` as a track of `output`: copied where the container takes its codec, else AAC."""
    with open_media(path) as container:
        stream = audio_stream(container, path)
        taken = _COPIED.get(output.format.name)
        target = _copy_of(output, stream) if taken is None or codec_name(stream) in taken else None
        if target is not None:
            return Track(output, _copied_sound(path, target, duration))
        return Track(output, _encoded_sound(path, _aac_stream(output, stream), duration))


def subtitle_tracks(output: OutputContainer, part: Part) -> list[Track]:
    """The subtitles of a video as tracks of `output`; text of another kind is converted, pictures only copied.

    Of a part of it, those that appear within the part.
    """
    targets, path = {}, part.path
    with open_media(path) as container:
        for stream in container.streams.subtitles:
            target = _subtitle_stream(output, stream)
            if target is None:
                warnings.warn(f"{output.format.name} cannot hold subtitle track {stream.index} of {path}", stacklevel=2)
            else:
                targets[stream.index] = target
    return [Track(output, _subtitles(part, targets))] if targets else []


def copy_attachments(output: OutputContainer, container: InputContainer) -> None:
    """Attached files (the fonts of subtitles) of one Matroska file into another."""
    for stream in container.streams:
        if stream.type == "attachment" and output.format.name == "matroska":
            name = stream.metadata.get("filename", f"attachment_{stream.index}")
            output.add_attachment(name, stream.mimetype or "application/octet-stream", stream.data)


def copied_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """What a file or track says about itself, without what its muxer writes by itself."""
    own = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration", "handler_name", "vendor_id")
    return {k: v for k, v in metadata.items() if k.lower() not in own and not k.startswith(("_STATISTICS", "DURATION"))}


def _copy_of(output: OutputContainer, stream: av.stream.Stream) -> av.stream.Stream | None:
    """A track of `output` for this track's packets as they are; None where the container does not take its codec."""
    try:
        target = output.add_stream_from_template(stream)
    except ValueError:
        return None
    target.metadata.update(copied_metadata(stream.metadata))
    return target


def _copied_sound(path: Path, target: av.AudioStream, duration: float | None) -> Generator[av.Packet]:
    """The packets up to `duration`; plain samples are cut there, or followed by silence up to there, to the sample."""
    with open_media(path) as container:
        stream = audio_stream(container, path)
        zero = round(sound_zero(container, stream) / stream.time_base)
        packets = _packets(container, stream)
        plain = re.fullmatch(r"pcm_[sf](\d+)[lb]e", codec_name(stream))
        if plain and duration is not None:
            size = int(plain[1]) // 8 * stream.codec_context.layout.nb_channels
            packets = _fitted_samples(packets, zero, duration, stream.codec_context.sample_rate, size)
        for packet in packets:
            _shift(packet, zero)
            if duration is not None and packet.pts * packet.time_base >= duration:
                return
            packet.stream = target
            yield packet


def _fitted_samples(
    packets: Iterable[av.Packet], zero: int, duration: float, rate: int, size: int
) -> Iterator[av.Packet]:
    """Packets of plain samples (`size` bytes for all channels), cut at `duration` or followed by zeros up to it."""
    total, heard, base = round(duration * rate), 0, Fraction(1, rate)
    for packet in packets:
        base = packet.time_base
        start = round((packet.pts - zero) * base * rate)
        if start >= total:
            return
        heard = min(total, start + packet.size // size)
        if heard < start + packet.size // size:
            packet = _samples_packet(bytes(packet)[: (heard - start) * size], packet.pts, base)
        yield packet
    while heard < total:
        count = min(4096, total - heard)
        yield _samples_packet(bytes(count * size), zero + round(Fraction(heard, rate) / base), base)
        heard += count


def _samples_packet(data: bytes, pts: int, base: Fraction) -> av.Packet:
    packet = av.Packet(data)
    packet.pts, packet.time_base = pts, base
    return packet


def _aac_stream(output: OutputContainer, source: av.AudioStream) -> av.AudioStream:
    rate, layout = source.codec_context.sample_rate, source.codec_context.layout
    if layout.name.endswith(" channels"):  # a file that does not say which channel is which
        if layout.nb_channels not in _LAYOUTS:
            raise InputError(f"AAC takes up to 8 channels, the sound has {layout.nb_channels}; write .mkv to copy it")
        layout = av.AudioLayout(_LAYOUTS[layout.nb_channels])
    rate = min(_AAC_RATES, key=lambda r: (abs(r - rate), -r))
    target = output.add_stream("aac", rate=rate, layout=layout)
    target.bit_rate = 96000 * layout.nb_channels
    target.codec_context.time_base = Fraction(1, rate)
    target.metadata.update(copied_metadata(source.metadata))
    return target


def _encoded_sound(path: Path, target: av.AudioStream, duration: float | None) -> Generator[av.Packet]:
    """The whole sound, cut to or followed by silence up to `duration`, through the track's encoder."""
    rate, layout = target.codec_context.sample_rate, target.codec_context.layout
    written, total = 0, None if duration is None else round(duration * rate)
    for block in _fitted(read_audio(path, rate), layout.nb_channels, total):
        # Interleaved: of 8 channels and more av reads planes that are not there.
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T).reshape(1, -1), "flt", layout.name)
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


def _subtitle_stream(output: OutputContainer, stream: av.subtitles.stream.SubtitleStream) -> Any:
    """A track of `output` for these subtitles: as they are, or as the container's kind of text; None where neither."""
    if stream.codec_context is None:
        return None
    kind, is_mp4 = codec_name(stream), output.format.name in ("mp4", "mov")
    if is_mp4 == (kind == "mov_text"):
        return _copy_of(output, stream)
    if kind not in _TEXT:
        return None
    stream.codec_context.open(strict=False)
    target = output.add_stream("mov_text" if is_mp4 else "subrip")
    target.codec_context.subtitle_header = stream.codec_context.subtitle_header
    target.codec_context.time_base = Fraction(1, 1000)
    target.metadata.update(copied_metadata(stream.metadata))
    return target


_TEXT = ("mov_text", "subrip", "ass", "webvtt", "text")


def _subtitles(part: Part, targets: dict[int, av.stream.Stream]) -> Generator[av.Packet]:
    """The subtitles of a video or part, in the order of the file, for their tracks in the output."""
    with Source(part.path) as source:
        zero = zero_of(source.container, Fraction(source.stream.start_time or 0) * source.stream.time_base)
        end = float("inf") if part.stop is None else part.stop - part.start
        for packet in _packets(source.container, *(source.container.streams[index] for index in targets)):
            target = targets[packet.stream.index]
            _shift(packet, round((zero + Fraction(part.start)) / packet.time_base))
            if not part.is_whole and not 0 <= packet.pts * packet.time_base < end:
                continue
            if codec_name(packet.stream) == codec_name(target):
                if bytes(packet) != b"\0\0":  # MP4's pause between two texts, which its muxer makes itself
                    packet.stream = target
                    yield packet
            elif (text := packet.stream.codec_context.decode2(packet)) is not None:
                converted = target.codec_context.encode_subtitle(text)
                converted.pts = converted.dts = packet.pts
                converted.duration, converted.time_base, converted.stream = packet.duration, packet.time_base, target
                yield converted


def _packets(container: InputContainer, *streams: av.stream.Stream) -> Iterator[av.Packet]:
    """Packets with content and a time, up to the end or the first damage."""
    for packet in packets_of(container, *streams):
        if packet is not None and packet.size and packet.pts is not None:
            yield packet


def _shift(packet: av.Packet, zero: int) -> None:
    packet.pts -= zero
    packet.dts = packet.pts if packet.dts is None else packet.dts - zero
