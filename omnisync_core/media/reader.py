"""Reading a video: what it is, and its frames one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from .frame import Frame
from .planes import is_opaque
from .source import Source


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
    """float64, strictly growing: when each frame appears; the first may differ from 0."""
    rotation: int
    """Degrees counter-clockwise from stored to upright."""
    pix_fmt: str
    has_alpha: bool
    """Whether any pixel of any frame is transparent."""
    has_audio: bool
    has_hdr: bool


def probe_video(path: str | Path) -> VideoInfo:
    """What the video holds, by decoding it once.

    InputError: no such file, not a video, no frames. A damaged or cut-off file: what decodes of it, and a warning.
    """
    with Source(path) as source:
        times, first, opaque, last_duration = [], None, True, 0.0
        for frame in source.frames():
            first = first or frame
            times.append(frame.time)
            opaque = opaque and is_opaque(frame.native, frame.layout)
            last_duration = float((frame.native.duration or 0) * source.stream.time_base)
        if first is None:
            raise InputError(f"{path} has a video track, but no frame of it can be decoded")
        duration = times[-1] - times[0] + (last_duration or float(1 / source.rate))
        return VideoInfo(
            path=Path(path),
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
        )


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
