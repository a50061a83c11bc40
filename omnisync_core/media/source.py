"""An open media file: its picture track decoded, upright, and on the file's clock."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideData

from ..errors import InputError
from .exif import UPRIGHT, orientation_of_picture
from .formats import layout_of
from .frame import Frame, Orientation
from .planes import copy_frame

LONGEST_GAP = 3600.0
"""Seconds. Where a file's clock jumps further its times are broken: nobody waits an hour for the next picture."""
LONGEST = 24 * 3600.0
"""Seconds of a sound, or of a result."""


def check_name(path: Path, suffix: str = "") -> None:
    """InputError: a name that systems do not take, with our own suffix; one that is not UTF-8, as FFmpeg needs it."""
    try:
        size = len(f"{path.name}{suffix}".encode())
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(f"the name {str(path)!a} is not UTF-8; rename it") from None
    if size > _LONGEST_NAME:
        more = f" with {suffix}, which is added while it is made" if suffix else ""
        raise InputError(f"the name {path.name[:40]}... has {size} bytes{more}; at most {_LONGEST_NAME} are possible")


_LONGEST_NAME = 255


def check_gap(path: Path, before: float, after: float, what: str) -> None:
    """InputError where a file's clock jumps too far, or it begins too late."""
    if after - before > LONGEST_GAP:
        raise InputError(
            f"{path}: after {before:.2f} s its next {what} comes {long_time(after - before)} later; "
            "its time stamps are broken or it has a hole, cut it there or re-encode it"
        )


def long_time(seconds: float) -> str:
    """A long time for people."""
    return f"{seconds / 86400:.1f} days" if seconds >= 2 * 86400 else f"{seconds / 3600:.1f} h"


def packets_of(container: InputContainer, *streams: av.stream.Stream) -> Iterator[av.Packet | None]:
    """Every packet up to the end, or to the first damage, where None comes last."""
    try:
        yield from container.demux(*streams)
    except av.error.FFmpegError:
        yield None


def open_media(path: str | Path) -> InputContainer:
    """An opened media file; InputError when there is none or it is no media file."""
    path = Path(path)
    check_name(path)
    if not path.exists():
        raise InputError(f"no such file: {path}")
    if not path.is_file():
        raise InputError(f"not a file: {path}")
    if path.stat().st_size == 0:
        raise InputError(f"the file is empty: {path}")
    try:
        # Absolute, for FFmpeg takes what stands before a colon for a protocol.
        return av.open(str(path.absolute()), metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"not a media file, or cut off before its index: {path} ({reason})") from error


class Source:
    """A video file, opened for decoding its first real picture track (no cover art). A context manager."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.container = open_media(path)
        tracks = [s for s in self.container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        stream = next((s for s in tracks if s.codec_context is not None), None)
        if stream is None:
            self.container.close()
            what = "its video codec is unknown here" if tracks else "it has no video track"
            raise InputError(f"{path} cannot be used as a video: {what}")
        self.stream: av.VideoStream = stream
        self.rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(25)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exc: object) -> None:
        self.container.close()

    def frames(self) -> Iterator[Frame]:
        """Every frame from the first on. A damaged or cut-off file gives what decodes, and a warning."""
        clock = _Clock(self.container, self.stream, self.rate)
        frame = None
        for index, native in enumerate(self._decoded()):
            time = clock.time(native)
            check_gap(self.path, frame.time if frame else 0.0, time, "frame")
            frame = self._frame(native, time, index, frame)
            yield frame
        if frame is not None:
            self._warn_if_short(frame)

    def frames_from(self, seconds: float) -> Iterator[Frame]:
        """Every frame from a key frame at or before `seconds` on, or from the first where the file is not sought in.

        Their numbers count from there.
        """
        clock, frame = _Clock(self.container, self.stream, self.rate), None
        if seconds > 0 and clock.is_absolute:
            with suppress(av.error.FFmpegError):
                self.container.seek(clock.stamp(seconds), stream=self.stream)
        for index, native in enumerate(self._decoded()):
            frame = self._frame(native, clock.time(native), index, frame)
            yield frame

    def frames_near(self, start: int, times_N: np.ndarray) -> Iterator[Frame] | None:
        """Frames from a key frame at or before `start` on; None where the file's index does not lead to one."""
        clock = _Clock(self.container, self.stream, self.rate)
        if not clock.is_absolute:
            return None
        try:
            self.container.seek(clock.stamp(times_N[start]), stream=self.stream)
            natives = self._decoded()
            first = next(natives, None)
        except av.error.FFmpegError:
            return None
        if first is None or first.pts is None:
            return None
        time = clock.time(first)
        if not 0 <= _position(time, times_N) <= start:
            return None

        def frames() -> Iterator[Frame]:
            frame = self._frame(first, time, _position(time, times_N), None)
            yield frame
            for native in natives:
                shown = clock.time(native)
                frame = self._frame(native, shown, _position(shown, times_N), frame)
                yield frame

        return frames()

    def _frame(self, native: av.VideoFrame, time: float, index: int, before: Frame | None) -> Frame:
        if before is None and display_matrix(native) is None and (native.rotation or self._is_turned_picture()):
            raise InputError(f"{self.path} is turned by its EXIF data, which would be lost; save it upright")
        native = reachable(native)
        if before is None:
            return Frame(native, time, index, orientation_of(native))
        looks = [(f.width, f.height, f.format.name) for f in (before.native, native)]
        if looks[0] != looks[1]:
            old, new = ("{}x{} {}".format(*look) for look in looks)
            raise InputError(f"{self.path} changes from {old} to {new} at {time:.2f} s; cut it there or re-encode it")
        return Frame(native, time, index, before.orientation)

    def _is_turned_picture(self) -> bool:
        """Whether a picture's EXIF data turns or mirrors it."""
        return self.container.format.name.endswith("_pipe") and orientation_of_picture(Path(self.path)) != UPRIGHT

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """Every frame that decodes; damage is passed over and warned of once."""
        decoder, damaged = _decoder(self.stream), False
        for packet in packets_of(self.container, self.stream):
            if packet is None:
                damaged = True
                break
            damaged |= packet.is_corrupt
            try:
                yield from decoder.decode(packet)
            except av.error.DecoderNotFoundError as error:
                raise InputError(f"{self.path} cannot be decoded: {error.strerror}") from error
            except av.error.FFmpegError:
                damaged = True
        if damaged:
            warnings.warn(f"{self.path} is damaged or cut off; what decodes of it is used", stacklevel=2)

    def _warn_if_short(self, last: Frame) -> None:
        """A cut-off file often just ends, but in these containers its head still says how long the track was."""
        if self.container.format.name not in (*_OWN_TIMELINE, "avi"):
            return
        begins = Fraction(self.stream.start_time or 0) * self.stream.time_base
        end = _seconds(self.stream.metadata.get("DURATION", ""))
        if end is None and self.stream.duration:
            end = begins + self.stream.duration * self.stream.time_base
        if end is None:
            return
        ends = float(end - zero_of(self.container, begins))
        if ends - last.time - float((last.native.duration or 0) * self.stream.time_base) > float(3 / self.rate):
            where = f"it ends at {last.time:.2f} s of {ends:.2f} s"
            warnings.warn(f"{self.path} is cut off: {where}; what decodes of it is used", stacklevel=2)


class _Clock:
    """Presentation times of frames as they come: seconds since the file's start, strictly growing."""

    def __init__(self, container: InputContainer, stream: av.VideoStream, rate: Fraction) -> None:
        # AVI keeps no presentation times, and those that FFmpeg makes up jump around B-frames.
        self._by_decoding = container.format.name == "avi"
        self.is_absolute = container.format.name in _OWN_TIMELINE
        self._base, self._step = stream.time_base, 1 / rate
        self._start = Fraction(stream.start_time or 0) * self._base
        self._shift = -zero_of(container, self._start)
        self._last: Fraction | None = None

    def time(self, native: av.VideoFrame) -> float:
        """The frame's time; to be asked once for each frame, in order."""
        stamp = native.dts if self._by_decoding else native.pts
        if self._last is None and (stamp is None or self._by_decoding):
            self._shift += self._start - (stamp or 0) * self._base
        time = None if stamp is None else stamp * self._base + self._shift
        after = Fraction(0) if self._last is None else self._last + self._step
        if time is None:
            time = after
        elif self._last is not None and time <= self._last:  # the clock was set back in mid-stream
            self._shift += after - time
            time = after
        self._last = time
        return float(time)

    def stamp(self, time: float) -> int:
        """The presentation time stamp of a time."""
        return round((Fraction(time) - self._shift) / self._base)


def zero_of(container: InputContainer, first: Fraction) -> Fraction:
    """The moment on the tracks' clock that counts as the file's start; `first` is when the track in question begins.

    MP4 and Matroska have a timeline of their own, on which a track may begin late; only a piece cut from a stream
    begins far from 0. Elsewhere the clock begins anywhere, and the earliest track begins the file.
    """
    start = first if container.start_time is None else Fraction(container.start_time, av.time_base)
    if container.format.name in _OWN_TIMELINE and start < _PIECE_OF_STREAM:
        return min(first, Fraction(0))
    return min(start, first)


_OWN_TIMELINE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
_PIECE_OF_STREAM = 10
"""Seconds."""


def orientation_of(native: av.VideoFrame) -> Orientation:
    """The nearest of the eight upright orientations to the frame's display matrix."""
    matrix = display_matrix(native)
    if matrix is None:
        return Orientation()
    # Shown x = a x + c y, shown y = b x + d y (y down). A negative determinant is a mirror; undo it on the shown x.
    a, b, c, d = (value / 65536 for value in (matrix[0], matrix[1], matrix[3], matrix[4]))
    mirrored = a * d - b * c < 0
    turns = round(np.degrees(np.arctan2(-b, -a if mirrored else a)) / 90) % 4
    return Orientation(int(turns), bool(mirrored))


def display_matrix(native: av.VideoFrame) -> tuple[int, ...] | None:
    """The nine fixed-point numbers of the display matrix, if the frame carries one."""
    data = side_data(native, SideData.DISPLAYMATRIX)
    return None if data is None else tuple(int(v) for v in np.frombuffer(data, np.int32)[:9])


def side_data(native: av.VideoFrame, kind: SideData) -> bytes | None:
    """The frame's side data of one kind."""
    try:
        kept = list(native.side_data)
    except ValueError:  # a kind that av does not know yet (a picture's EXIF): it then gives none of them
        return None
    return next((bytes(data) for data in kept if data.type == kind), None)


def reachable(native: av.VideoFrame) -> av.VideoFrame:
    """The frame itself, or, where its samples cannot be reached one by one, its nearest equal that has planes."""
    if layout_of(native.format.name) is not None:
        upside_down = any(plane.line_size < 0 for plane in native.planes)
        return copy_frame(native) if upside_down else native
    deep = max(component.bits for component in native.format.components) > 8
    alpha = native.format.has_palette or any(component.is_alpha for component in native.format.components)
    if native.format.is_rgb or native.format.has_palette:
        target = ("rgba64le" if deep else "rgba") if alpha else ("gbrp16le" if deep else "gbrp")
    else:
        target = ("yuva444p16le" if deep else "yuva444p") if alpha else ("yuv444p16le" if deep else "yuv444p")
    return native.reformat(format=target)


def _decoder(stream: av.VideoStream) -> av.VideoCodecContext:
    """The stream's own decoder; for transparent VP8 and VP9 the one that knows transparency."""
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.codec.canonical_name)
    if stream.metadata.get("alpha_mode") == "1" and name in av.codecs_available:
        return av.CodecContext.create(name, "r")
    stream.thread_type = "AUTO"
    return stream.codec_context


def _position(time: float, times_N: np.ndarray) -> int:
    """The index of a frame by its time; -1 when no frame has it."""
    index = int(np.searchsorted(times_N, time - 1e-6))
    return index if index < len(times_N) and abs(times_N[index] - time) < 1e-6 else -1


def _seconds(clock: str) -> Fraction | None:
    """Seconds of Matroska's "hh:mm:ss.fraction"."""
    try:
        hours, minutes, seconds = clock.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    except ValueError:
        return None
