"""Which parts of a video can be learned from, and where its face is at 25 frames a second.

A stretch lies in one shot, shows the mouth in every frame and is long enough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ...engines.latentsync import align
from ...mouth import MouthTrack

FPS = 25


@dataclass(frozen=True)
class Stretch:
    """Frames start..stop (stop excluded) of a video, by number, and from when to when they are shown, seconds."""

    start: int
    stop: int
    begin: float
    end: float
    confidence: float
    """The least of its frames, 0..1."""

    @property
    def frames(self) -> int:
        """At 25 a second."""
        return int((self.end - self.begin) * FPS + 1e-6)

    def split(self, pts_N: np.ndarray, parts: int) -> list[Stretch]:
        """Equal parts, as far as frames allow."""
        edges = np.linspace(self.start, self.stop, parts + 1).round().astype(int)
        times = [self.begin, *(float(pts_N[at]) for at in edges[1:-1]), self.end]
        return [
            replace(self, start=int(edges[i]), stop=int(edges[i + 1]), begin=times[i], end=times[i + 1])
            for i in range(parts)
        ]


def find_stretches(track: MouthTrack, least_confidence: float, least_frames: int) -> list[Stretch]:
    """In their order; what is too short (counted at 25 frames a second) is left out."""
    count = len(track.pts_N)
    ends_N = np.append(track.pts_N[1:], track.pts_N[-1] + _interval(track.pts_N))
    good_N = track.confidence_N >= max(least_confidence, 1e-6)
    borders_N = np.ones(count + 1, bool)
    borders_N[1:-1] = (good_N[1:] != good_N[:-1]) | (np.diff(track.shot_N) != 0)
    edges = np.flatnonzero(borders_N)
    found = [
        Stretch(
            int(a), int(b), float(track.pts_N[a]), float(ends_N[b - 1]), round(float(track.confidence_N[a:b].min()), 3)
        )
        for a, b in pairwise(edges)
        if good_N[a]
    ]
    return [one for one in found if one.frames >= least_frames]


def shown_frames(stretch: Stretch, pts_N: np.ndarray) -> np.ndarray:
    """The number of the frame that is on the screen at each of the stretch's 25 frames a second, (F,)."""
    times_F = stretch.begin + np.arange(stretch.frames) / FPS
    shown_F = np.searchsorted(pts_N, times_F + 1e-6, side="right") - 1
    return np.clip(shown_F, stretch.start, stretch.stop - 1)


def affines(track: MouthTrack, stretch: Stretch, resolution: int) -> np.ndarray:
    """To the aligned face, (N, 2, 3) for the stretch's own frames.

    By brows and nose where all frames tell them, else of one size, placed as the mouth and turned as the head is.
    """
    here = slice(stretch.start, stretch.stop)
    size = np.array(track.frame_size)
    head_N32 = track.head_N32[here] * size - 0.5
    if len(head_N32) and np.isfinite(head_N32).all():
        return np.stack([align.from_points(one, resolution) for one in head_N32])
    place_N2 = track.center_N2[here] * size - 0.5
    width = float(np.median(track.width_N[here])) * size[0]
    roll_N = track.roll_N[here] if len(track.roll_N) else np.zeros(stretch.stop - stretch.start)
    return np.stack(
        [
            align.from_points(align.points_of_mouth(np.array([*at, width]), float(roll)), resolution)
            for at, roll in zip(place_N2, roll_N, strict=True)
        ]
    )


def _interval(pts_N: np.ndarray) -> float:
    return float(np.median(np.diff(pts_N))) if len(pts_N) > 1 else 1 / FPS
