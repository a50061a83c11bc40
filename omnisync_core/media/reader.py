"""Reading a video: what it is, and its frames one by one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType

from ..errors import InputError
from .frame import Frame, Orientation
from .planes import layout_of


@dataclass(frozen=True, eq=False)
class VideoInfo:
    """What a video file holds. Sizes are upright; times are seconds since the file's start (the clock of its sound)."""

    path: Path
    width: int
    height: int
    frame_count: int
    """Counted by decoding."""
    duration: float
    """From the first frame's appearance to the last one's end."""
    average_fps: float
    times_N: np.ndarray
    """float64, when each frame appears; the first may differ from 0."""
    rotation: int
    """Degrees counter-clockwise from stored to upright."""
    pix_fmt: str
    has_alpha: bool
    has_audio: bool
    has_hdr: bool


def probe_video(path: str | Path) -> VideoInfo:
    """What the video holds, by decoding it once. InputError: no such file, not a video, no frames."""
    with _Source(path) as source:
        times, first, last_duration = [], None, 0.0
        for frame in source.frames():
            first = first or frame
            times.append(frame.time)
            last_duration = float(frame.native.duration * frame.native.time_base)
        if first is None:
            raise InputError(f"{path} has a video track but no frame of it can be decoded")
        times_N = np.array(times, np.float64)
        span = float(times_N[-1] - times_N[0])
        step = span / (len(times) - 1) if len(times) > 1 else float(1 / (source.stream.average_rate or 25))
        duration = span + (last_duration or step)
        return VideoInfo(
            path=Path(path),
            width=first.width,
            height=first.height,
            frame_count=len(times),
            duration=duration,
            average_fps=len(times) / duration,
            times_N=times_N,
            rotation=first.orientation.turns * 90,
            pix_fmt=source.stream.codec_context.pix_fmt or first.native.format.name,
            has_alpha=first.layout.alpha is not None,
            has_audio=any(s.type == "audio" for s in source.container.streams),
            has_hdr=is_hdr(first.native),
        )


def read_frames(path: str | Path, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
    """The frames start..stop (stop excluded) by index, one at a time; those before `start` are decoded and dropped."""
    with _Source(path) as source:
        for frame in source.frames():
            if stop is not None and frame.index >= stop:
                return
            if frame.index >= start:
                yield frame


def open_media(path: str | Path) -> av.container.InputContainer:
    """An opened media file; InputError when there is none or it is no media file."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"no such file: {path}")
    if not path.is_file():
        raise InputError(f"not a file: {path}")
    if path.stat().st_size == 0:
        raise InputError(f"the file is empty: {path}")
    try:
        return av.open(str(path), metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"not a media file, or cut off before its index: {path} ({reason})") from error


def source_clock(path: str | Path) -> tuple[Fraction, Fraction, Fraction | None]:
    """Time base (at most 0.1 ms a tick), mean frame rate and sample aspect ratio of a video."""
    with _Source(path) as source:
        base = source.stream.time_base
        base /= max(1, -(-10000 * base.numerator // base.denominator))
        rate = Fraction(source.stream.average_rate or 25).limit_denominator(1001)
        return base, rate, source.stream.sample_aspect_ratio


def is_hdr(native: av.VideoFrame) -> bool:
    """Whether the transfer tag is PQ or HLG."""
    return native.color_trc in (16, 18)


class _Source:
    """An open video file and the clock of its frames."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.container = open_media(path)
        streams = [s for s in self.container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not streams:
            self.container.close()
            raise InputError(f"no video track in {path}; give a video file")
        self.stream = streams[0]
        self.stream.thread_type = "AUTO"
        self.zero = start_of(self.container, self.stream)

    def __enter__(self) -> _Source:
        return self

    def __exit__(self, *exc) -> None:
        self.container.close()

    def frames(self) -> Iterator[Frame]:
        time_base = self.stream.time_base
        orientation = None
        for index, native in enumerate(self._decode()):
            if orientation is None:
                orientation = orientation_of(native)
            native = reachable(native)
            time = float(native.pts * time_base - self.zero)
            yield Frame(native, time, index, orientation)

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Every frame that decodes; damage is passed over and told once, as a warning."""
        damage = 0
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.error.FFmpegError:
                damage += 1
                break
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                damage += 1
                continue
            yield from frames
        if damage:
            warnings.warn(f"{self.path} is damaged or cut off; the frames that decode are used", stacklevel=2)


def start_of(container: av.container.InputContainer, video) -> Fraction:
    """Seconds of the file's presentation start: its earliest track, where sound's lead-in before 0 does not count."""
    first = Fraction(video.start_time or 0) * video.time_base
    whole = Fraction(container.start_time, av.time_base) if container.start_time is not None else first
    return min(max(whole, Fraction(0)), first)


def orientation_of(native: av.VideoFrame) -> Orientation:
    """The nearest of the eight upright orientations to the frame's display matrix."""
    matrix = display_matrix(native)
    if matrix is None:
        return Orientation()
    a, b, c, d = (v / 65536 for v in (matrix[0], matrix[1], matrix[3], matrix[4]))
    # Display x = a x + c y, y = b x + d y, y downwards. A mirror has a negative determinant; undo it on display x.
    mirrored = a * d - b * c < 0
    if mirrored:
        a = -a
    turns = round(np.degrees(np.arctan2(-b, a)) / 90) % 4
    return Orientation(int(turns), bool(mirrored))


def display_matrix(native: av.VideoFrame) -> tuple[int, ...] | None:
    """The nine fixed-point numbers of the display matrix, if the frame carries one."""
    for data in native.side_data:
        if data.type == SideDataType.DISPLAYMATRIX:
            return tuple(int(v) for v in np.frombuffer(bytes(data), np.int32)[:9])
    return None


def reachable(native: av.VideoFrame) -> av.VideoFrame:
    """The frame itself, or, where its samples cannot be reached one by one, its nearest equal that has planes."""
    if layout_of(native.format.name) is not None:
        return native
    deep = max(c.bits for c in native.format.components) > 8
    alpha = native.format.has_palette or any(c.is_alpha for c in native.format.components)
    if native.format.is_rgb or native.format.has_palette:
        target = ("rgba64le" if deep else "rgba") if alpha else ("gbrp16le" if deep else "gbrp")
    else:
        target = ("yuva444p16le" if deep else "yuva444p") if alpha else ("yuv444p16le" if deep else "yuv444p")
    return native.reformat(format=target)
