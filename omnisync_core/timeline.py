"""Which frame of the source is shown when: what happens where sound and video differ in length."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .errors import InputError

POLICIES = {
    "source": "the video's frames and times; the sound is cut or followed by silence",
    "cut_off": "the shorter of the two rules",
    "bounce": "the video runs back and forth to the sound's end",
    "loop": "the video starts again, to the sound's end",
    "freeze": "the last frame stays to the sound's end",
    "remap": "the video is stretched to the sound, at its own frame rate",
    "silence": "the video's frames and times; the mouth rests after the sound",
}
STILL_INTERVAL = 1 / 25
"""Seconds between the frames of a video that has only one."""


@dataclass(frozen=True)
class Timeline:
    """V frames of the result: the source frame each shows, when, and whether it follows from the one before.

    `time_V` are presentation times in the source's own count (the first need not be 0); the sound starts with the
    first frame. `fresh_V` is true at the first frame and where a loop starts again.
    """

    source_V: np.ndarray
    time_V: np.ndarray
    fresh_V: np.ndarray
    duration: float
    """Seconds from the first frame to the end of the last."""

    @property
    def sound_V(self) -> np.ndarray:
        """Time of each frame in the sound, seconds."""
        return self.time_V - self.time_V[0]

    def __len__(self) -> int:
        return len(self.source_V)


def plan(times_N: np.ndarray, sound_duration: float, policy: str = "source", limit: float | None = None) -> Timeline:
    """The timeline of a video whose frames are shown at `times_N`, for a sound of `sound_duration` seconds.

    No policy but `cut_off` shortens the video. Frames that are added keep the source's cadence. `limit` keeps the
    first seconds only.
    """
    if policy not in POLICIES:
        raise InputError(f"length must be one of {', '.join(POLICIES)}, got {policy!r}")
    timeline = _source(np.asarray(times_N, dtype=np.float64))
    if policy == "cut_off":
        timeline = _first(timeline, sound_duration)
    elif policy == "remap":
        timeline = _remap(timeline, sound_duration)
    elif policy in ("bounce", "loop", "freeze") and sound_duration > timeline.duration:
        timeline = _first(_continue(timeline, sound_duration, policy), sound_duration)
    return timeline if limit is None else _first(timeline, limit)


def interval(times_N: np.ndarray) -> float:
    """The usual time between two frames, seconds."""
    return float(np.median(np.diff(times_N))) if len(times_N) > 1 else STILL_INTERVAL


def _source(times_N: np.ndarray) -> Timeline:
    count = len(times_N)
    duration = float(times_N[-1] - times_N[0]) + interval(times_N)
    return Timeline(np.arange(count), times_N, np.arange(count) == 0, duration)


def _first(timeline: Timeline, seconds: float) -> Timeline:
    """The frames that begin within `seconds` (one at least)."""
    if seconds >= timeline.duration:
        return timeline
    keep = max(1, int(np.searchsorted(timeline.sound_V, seconds - 1e-6)))
    return replace(
        timeline,
        source_V=timeline.source_V[:keep],
        time_V=timeline.time_V[:keep],
        fresh_V=timeline.fresh_V[:keep],
        duration=seconds,
    )


def _continue(source: Timeline, seconds: float, policy: str) -> Timeline:
    """Append whole passes (or the last frame again) until `seconds` are filled."""
    count, step = len(source), interval(source.time_V)
    if policy == "freeze" or (policy == "bounce" and count == 1):
        extra = int(np.ceil((seconds - source.duration) / step)) + 1
        passes = [(np.full(extra, count - 1), np.full(extra, step), np.zeros(extra, dtype=bool))]
    elif policy == "loop":
        gaps = np.append(step, np.diff(source.time_V))
        passes = [(source.source_V, gaps, source.fresh_V)] * int(np.ceil(seconds / source.duration))
    else:
        gaps = np.diff(source.time_V)
        same = np.zeros(count - 1, dtype=bool)
        back, forth = (source.source_V[-2::-1], gaps[::-1], same), (source.source_V[1:], gaps, same)
        passes = [back, forth] * int(np.ceil(seconds / (2 * gaps.sum())))
    order, gaps, fresh = (np.concatenate(parts) for parts in zip(*passes, strict=True))
    times = source.time_V[-1] + np.cumsum(gaps)
    return Timeline(
        np.append(source.source_V, order),
        np.append(source.time_V, times),
        np.append(source.fresh_V, fresh),
        float(times[-1] - source.time_V[0]) + step,
    )


def _remap(source: Timeline, seconds: float) -> Timeline:
    """At the source's usual rate, the frame that the stretched video shows at each moment.

    Not by stretching the presentation times: at a third of the speed the mouth would move at 8 fps.
    """
    step = interval(source.time_V)
    if abs(seconds - source.duration) < step / 2:
        return source
    sound = np.arange(max(1, round(seconds / step))) * step
    shown = np.searchsorted(source.sound_V, sound * (source.duration / seconds) + 1e-6, side="right") - 1
    return Timeline(shown, source.time_V[0] + sound, np.arange(len(sound)) == 0, seconds)
