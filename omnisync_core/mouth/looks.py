"""A video as the mouth is looked for in it: small frames, how loud its own sound is; a track made elsewhere on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .. import audio, media
from ..errors import InputError
from .speaking import Hear
from .types import MouthTrack

TRACKED_SIDE = 480
"""Pixels of their shorter side."""


def small_frames(video: media.VideoInfo, count: int | None = None) -> Iterator[tuple[float, np.ndarray]]:
    """(seconds, picture) of the first `count` frames (None: of all), as `track` takes them, one at a time."""
    sides = video.width, video.height
    longest = round(TRACKED_SIDE * max(sides) / min(sides))
    return media.ahead((frame.time, frame.thumbnail(longest)) for frame in media.frames_of(video, 0, count))


def hearing(video: media.VideoInfo) -> Hear:
    """How loud the video's own sound is at times of its frames; without a sound it is even. Opened when first asked."""
    opened: list[audio.SpeechWave | None] = []

    def hear(times_N: np.ndarray) -> np.ndarray:
        opened[:] = opened or [_own_sound(video)]
        wave = opened[0]
        return np.zeros(len(times_N)) if wave is None else audio.loudness(wave, times_N + video.start)

    return hear


def _own_sound(video: media.VideoInfo) -> audio.SpeechWave | None:
    try:
        return audio.own_sound(video.path)
    except InputError:  # a damaged one: it only helps to choose, and may not be needed otherwise
        return None


def fitted_track(track: MouthTrack, video: media.VideoInfo, count: int) -> MouthTrack:
    """A given track over the frames that are shown, at the video's own times and size; it may end where they do."""
    found = len(track.pts_N)
    begins_alike = count <= found < video.frame_count and np.allclose(track.pts_N, video.times_N[:found], atol=1e-3)
    if found != video.frame_count and not begins_alike:
        raise InputError(
            f"the mouth track has {found} frames, the video {video.frame_count}: make it from the same video, and "
            "of as many seconds"
        )
    series = {name: value[:count] for name, value in vars(track).items() if name.endswith(("_N", "_N2", "_N32"))}
    series["pts_N"] = video.times_N[:count]
    return replace(track, **series, frame_size=(video.width, video.height))
