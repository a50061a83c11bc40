"""Which frame of the source is shown when: what happens where sound and video differ in length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError

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

    Times are seconds on the clock of the file and its sound; the first frame may be late. `fresh_V` is true at the
    first frame and where a loop starts again.
    """

    source_V: np.ndarray
    time_V: np.ndarray
    fresh_V: np.ndarray
    end: float
    """When the last frame ends."""

    def __len__(self) -> int:
        return len(self.source_V)


def plan_timeline(
    times_N: np.ndarray, sound_duration: float, policy: str = "source", limit: float | None = None
) -> Timeline:
    """The timeline of a video whose frames are shown at `times_N`, for a sound of `sound_duration` seconds.

    No policy but `cut_off` and `remap` shortens the video. Frames that are added keep the source's cadence. `limit`
    keeps what begins before that second.
    """
    if policy not in POLICIES:
        raise InputError(f"length must be one of {', '.join(POLICIES)}, got {policy!r}")
    timeline = _source(np.asarray(times_N, dtype=np.float64))
    if policy == "cut_off":
        timeline = _until(timeline, sound_duration)
    elif policy == "remap":
        timeline = _remap(timeline, sound_duration)
    elif policy in ("bounce", "loop", "freeze") and sound_duration > timeline.end:
        timeline = _until(_continue(timeline, sound_duration, policy), sound_duration)
    return timeline if limit is None else _until(timeline, limit)


def interval(times_N: np.ndarray) -> float:
    """The usual time between two frames, seconds."""
    return float(np.median(np.diff(times_N))) if len(times_N) > 1 else STILL_INTERVAL


def _source(times_N: np.ndarray) -> Timeline:
    count = len(times_N)
    return Timeline(np.arange(count), times_N, np.arange(count) == 0, float(times_N[-1]) + interval(times_N))


def _until(timeline: Timeline, end: float) -> Timeline:
    """The frames that begin before `end` (one at least)."""
    if end >= timeline.end:
        return timeline
    keep = max(1, int(np.searchsorted(timeline.time_V, end - 1e-6)))
    cut = {name: getattr(timeline, name)[:keep] for name in ("source_V", "time_V", "fresh_V")}
    return Timeline(**cut, end=max(end, float(cut["time_V"][-1])))


def _continue(source: Timeline, end: float, policy: str) -> Timeline:
    """Append whole passes (or the last frame again) until `end` is reached."""
    count, step = len(source), interval(source.time_V)
    missing, gaps = end - source.end, np.diff(source.time_V)
    if policy == "freeze" or (policy == "bounce" and count == 1):
        extra = int(np.ceil(missing / step)) + 1
        passes = [(np.full(extra, count - 1), np.full(extra, step), np.zeros(extra, dtype=bool))]
    elif policy == "loop":
        once = (source.source_V, np.append(step, gaps), source.fresh_V)
        passes = [once] * (int(missing / (step + gaps.sum())) + 1)
    else:
        same = np.zeros(count - 1, dtype=bool)
        back, forth = (source.source_V[-2::-1], gaps[::-1], same), (source.source_V[1:], gaps, same)
        passes = [back, forth] * (int(missing / (2 * gaps.sum())) + 1)
    order, gaps, fresh = (np.concatenate(parts) for parts in zip(*passes, strict=True))
    times = source.time_V[-1] + np.cumsum(gaps)
    return Timeline(
        np.append(source.source_V, order),
        np.append(source.time_V, times),
        np.append(source.fresh_V, fresh),
        float(times[-1]) + step,
    )


def _remap(source: Timeline, end: float) -> Timeline:
    """At the source's usual rate, the frame that the stretched video shows at each moment.

    Not by stretching the presentation times: at a third of the speed the mouth would move at 8 fps.
    """
    step, first = interval(source.time_V), source.time_V[0]
    if abs(end - source.end) < step / 2:
        return source
    length = max(end - first, step)
    since_V = np.arange(max(1, round(length / step))) * step
    moment_V = first + since_V * ((source.end - first) / length)
    shown_V = np.searchsorted(source.time_V, moment_V + 1e-6, side="right") - 1
    return Timeline(shown_V, first + since_V, np.arange(len(since_V)) == 0, first + length)
