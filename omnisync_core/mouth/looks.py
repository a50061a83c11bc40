"""The frames of a video as the mouth is looked for in them: small."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import media

TRACKED_SIDE = 480
"""Pixels of their shorter side."""


def small_frames(video: media.VideoInfo, count: int | None = None) -> Iterator[tuple[float, np.ndarray]]:
    """(seconds, picture) of the first `count` frames (None: of all), as `track` takes them, one at a time."""
    sides = video.width, video.height
    longest = round(TRACKED_SIDE * max(sides) / min(sides))
    for frame in media.frames_of(video, 0, count):
        yield frame.time, frame.thumbnail(longest)
