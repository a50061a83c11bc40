"""A video as the mouth is looked for in it: small frames, and how loud its own sound is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import audio, media
from ..errors import InputError
from .speaking import Hear

TRACKED_SIDE = 480
"""Pixels of their shorter side."""


def small_frames(video: media.VideoInfo, count: int | None = None) -> Iterator[tuple[float, np.ndarray]]:
    """(seconds, picture) of the first `count` frames (None: of all), as `track` takes them, one at a time."""
    sides = video.width, video.height
    longest = round(TRACKED_SIDE * max(sides) / min(sides))
    for frame in media.frames_of(video, 0, count):
        yield frame.time, frame.thumbnail(longest)


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
