"""Reading a video: what it is, and its frames one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path

import numpy as np

from ..errors import InputError
from .frame import Frame
from .planes import is_opaque
from .source import Source

TRIM_TOLERANCE = 5e-4
"""Seconds by which a frame may appear before a part's start and still be in it: cuts are given in rounded seconds."""


@dataclass(frozen=True)
class Part:
    """The frames of a video file that appear from `start` to `stop` (seconds since its start; None: to its end).

    InputError: an end that is no number, before which and after which nothing lies.
    """

    path: Path
    start: float = 0.0
    stop: float | None = None

    def __post_init__(self) -> None:
        if isnan(self.start) or (self.stop is not None and isnan(self.stop)):
            raise InputError(f"{self.path} is trimmed from {self.start} to {self.stop} s: give both as numbers")

    @property
    def is_whole(self) -> bool:
        return self.start == 0 and self.stop is None

    @classmethod
    def of(cls, video: str | os.PathLike | Part) -> Part:
        """A part as it is, a path as the whole file."""
        return video if isinstance(video, Part) else cls(Path(video))


@dataclass(frozen=True, eq=False)
class VideoInfo:
    """What a video file, or a part of it, holds.

    Sizes are upright; times are seconds since the file's start (the clock of its sound), or since the part's.
    """

    path: Path
    width: int
    height: int
    frame_count: int
    """Counted by decoding."""
    duration: float
    """From the first frame's appearance to the last one's end."""
    average_fps: float
    times_N: np.ndarray
    """float64, strictly growing: when each frame appears; the first may differ from 0."""
    rotation: int
    """Degrees counter-clockwise from stored to upright."""
    pix_fmt: str
    has_alpha: bool
    """Whether any pixel of any frame is transparent."""
    has_audio: bool
    has_hdr: bool
    start: float = 0.0
    """Where in the file the part begins, seconds."""
    before_N: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """When in the file each frame before the part appears."""


def probe_video(video: str | os.PathLike | Part, on_frame: Callable[[int], None] | None = None) -> VideoInfo:
    """What the video holds, by decoding it once; `on_frame(number of frames so far)` may raise to stop.

    InputError: no such file, not a video, no frames. A damaged or cut-off file: what decodes of it, and a warning.
    """
    part = Part.of(video)
    path, begin = part.path, part.start - TRIM_TOLERANCE
    end = float("inf") if part.stop is None else part.stop - TRIM_TOLERANCE
    with Source(path) as source:
        before, times, first, opaque, last_duration = [], [], None, True, 0.0
        for frame in source.frames():
            if frame.time >= end:
                break
            if on_frame is not None:
                on_frame(frame.index + 1)
            if not part.is_whole and frame.time < begin:
                before.append(frame.time)
                continue
            if first is None:
                first, start = frame, min(part.start, frame.time)
            times.append(frame.time - start)
            opaque = opaque and is_opaque(frame.native, frame.layout)
            last_duration = float((frame.native.duration or 0) * source.stream.time_base)
        if first is None:
            raise InputError(_nothing(part, before))
        duration = times[-1] - times[0] + (last_duration or float(1 / source.rate))
        return VideoInfo(
            path=path,
            width=first.width,
            height=first.height,
            frame_count=len(times),
            duration=duration,
            average_fps=len(times) / duration,
            times_N=np.array(times, np.float64),
            rotation=first.orientation.turns * 90,
            pix_fmt=first.native.format.name,
            has_alpha=not opaque,
            has_audio=any(s.type == "audio" and s.codec_context is not None for s in source.container.streams),
            has_hdr=first.is_hdr,
            start=start,
            before_N=np.array(before, np.float64),
        )


def frames_of(video: VideoInfo, start: int = 0, stop: int | None = None, *, seek: bool = False) -> Iterator[Frame]:
    """The frames start..stop of a probed video or part, counted and timed from its own start, one at a time.

    `seek`: from the key frame before `start` on (a part always does), else everything before is decoded and dropped.
    """
    skipped = len(video.before_N)
    times_N = np.append(video.before_N, video.times_N + video.start) if seek or skipped else None
    stop = video.frame_count if stop is None else min(stop, video.frame_count)
    for frame in read_frames(video.path, start + skipped, stop + skipped, times_N):
        yield Frame(frame.native, frame.time - video.start, frame.index - skipped, frame.orientation)


def read_frames(
    path: str | Path, start: int = 0, stop: int | None = None, times_N: np.ndarray | None = None
) -> Iterator[Frame]:
    """The frames start..stop (stop excluded) by index, one at a time.

    Those before `start` are decoded and dropped, from the file's beginning on; with the video's `times_N` given, only
    from the key frame before `start` on.
    """
    with Source(path) as source:
        frames = source.frames() if times_N is None or start == 0 else source.frames_near(start, times_N)
        for frame in frames or ():
            if stop is not None and frame.index >= stop:
                return
            if frame.index >= start:
                yield frame
    if frames is None:
        yield from read_frames(path, start, stop)


def frames_from(path: str | Path, seconds: float) -> Iterator[Frame]:
    """Frames from a key frame at or before `seconds` (of the file) on, numbered from there, one at a time."""
    with Source(path) as source:
        yield from source.frames_from(seconds)


def _nothing(part: Part, before: list[float]) -> str:
    if not before:
        return f"{part.path} has a video track, but no frame of it can be decoded"
    return f"{part.path} has no frame from {part.start:g} s on: its last one is at {before[-1]:.2f} s; trim less"
