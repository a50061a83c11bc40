"""The frames of a video in any order, as a timeline asks for them, with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import media
from ..errors import InputError

BLOCK_BYTES = 64 << 20
"""Decoded frames held while playing backwards."""


def play(video: media.VideoInfo, order_V: np.ndarray, *, seek: bool = False) -> Iterator[media.Frame]:
    """Yield the frames `order_V[0]`, `order_V[1]`, ... of a video; indices may repeat, leave out and run backwards.

    seek: begin at the key frame before, for a few frames of a long video.
    """
    order_V = np.asarray(order_V)
    if not len(order_V):
        return
    turns = np.flatnonzero(np.diff(np.diff(order_V) < 0)) + 1
    first, last = int(order_V.min()), int(order_V.max())
    if len(turns) and last - first < _block(video):
        held = {frame.index: frame for frame in _forward(video, np.arange(first, last + 1))}
        yield from (held[int(index)] for index in order_V)
        return
    for segment in _segments(order_V):
        if segment[-1] >= segment[0]:
            yield from _forward(video, segment, seek=seek)
        else:
            yield from _backward(video, segment)


def _segments(order_V: np.ndarray) -> Iterator[np.ndarray]:
    """Stretches that only rise (or stay) or only fall; where the direction turns, the next one begins."""
    falls = np.diff(order_V) < 0
    start = 0
    while start < len(order_V):
        stop = start + 1
        while stop < len(order_V) and falls[stop - 1] == falls[start]:
            stop += 1
        yield order_V[start:stop]
        start = stop


def _forward(video: media.VideoInfo, order_V: np.ndarray, *, seek: bool = False) -> Iterator[media.Frame]:
    frames = media.frames_of(video, int(order_V[0]), int(order_V[-1]) + 1, seek=seek)
    frame = None
    for index in order_V:
        while frame is None or frame.index < index:
            frame = next(frames, None)
            if frame is None:
                raise InputError(f"{video.path} has changed while it was read: frame {index} is gone")
        yield frame


def _backward(video: media.VideoInfo, order_V: np.ndarray) -> Iterator[media.Frame]:
    size = _block(video)
    for start in range(0, len(order_V), size):
        yield from reversed(list(_forward(video, order_V[start : start + size][::-1], seek=True)))


def _block(video: media.VideoInfo) -> int:
    """Frames that may be held."""
    return max(2, BLOCK_BYTES // (video.width * video.height * 3))
