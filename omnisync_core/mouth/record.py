"""Collects what a tracker says frame by frame and makes a smooth `MouthTrack` of it."""

from __future__ import annotations

from array import array

import numpy as np

from .detect import Head
from .pose import Pose
from .smoothing import fill_gaps, smooth
from .types import Look, MouthTrack

CENTER_SECONDS, WIDTH_SECONDS = 0.05, 0.15
"""Gaussian sigma of the smoothing within a shot: width and roll are steadier than the place."""
LONGEST_GAP = 0.5
FILLED_CONFIDENCE, FALLBACK_CONFIDENCE = 0.5, 0.25
UNKNOWN = (float("nan"),) * 6
SOURCES = ("user", "landmarks", "detector", "finder", "filled", "fallback")


class Record:
    """A growing table, a few bytes per frame; lengths are over the frame's width."""

    def __init__(self) -> None:
        self._table, self._heads, self._shot = array("d"), array("d"), 0

    def add(self, look: Look, pose: Pose, confidence: float, source: str, head: Head | None = None) -> None:
        """One frame; `pose` and `head` in pixels of the look's picture."""
        self._shot += look.cut
        height, width = look.gray.shape
        lengths = pose.x / width, pose.y / width, pose.width / width
        self._table.extend((look.time, *lengths, pose.roll, confidence, self._shot, SOURCES.index(source)))
        self._heads.extend(UNKNOWN if head is None else np.ravel(head) / width)
        self._frame_size, self._aspect = look.frame_size, height / width

    def track(self, shift: np.ndarray | None = None) -> MouthTrack:
        """The smoothed track; `shift` (right, down, grown) is where the mouth is as seen from every pose."""
        times, x, y, width, roll, confidence, shot, source = np.array(self._table).reshape(-1, 8).T
        if shift is not None:
            right, down, grown = shift
            x = x + width * (np.cos(roll) * right - np.sin(roll) * down)
            y = y + width * (np.sin(roll) * right + np.cos(roll) * down)
            width = width * grown
        values = np.stack([x, y / self._aspect, width, np.unwrap(roll)], axis=1)
        sources = np.array(SOURCES)[source.astype(int)]
        confidence = confidence.astype(np.float32)
        for number in np.unique(shot):
            here = shot == number
            parts = _smooth_shot(times[here], values[here], confidence[here], sources[here])
            values[here], confidence[here], sources[here] = parts
        center, width, roll, shot = values[:, :2], values[:, 2], values[:, 3], shot.astype(int)
        return MouthTrack(
            times, center, width, confidence, sources, shot, self._frame_size, (), roll_N=roll,
            head_N32=self._smooth_heads(times, shot),
        )  # fmt: skip

    def _smooth_heads(self, times: np.ndarray, shot: np.ndarray) -> np.ndarray:
        heads = np.array(self._heads).reshape(-1, 6)
        if np.isnan(heads).all():
            return np.zeros((0, 3, 2))
        for number in np.unique(shot):
            here = shot == number
            known = ~np.isnan(heads[here]).any(1)
            if known.any():
                filled, more = fill_gaps(times[here], heads[here], known, LONGEST_GAP)
                known |= more
                values = smooth(times[here], np.where(known[:, None], filled, 0), CENTER_SECONDS, known.astype(float))
                heads[here] = np.where(known[:, None], values, np.nan)
        return heads.reshape(-1, 3, 2) / (1, self._aspect)


def _smooth_shot(
    times: np.ndarray, values: np.ndarray, confidence: np.ndarray, sources: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Short gaps filled, then smoothed without lag; where the mouth is lost, its last or next known place stays."""
    known = confidence > 0
    if not known.any():
        return values, confidence, sources
    values, filled = fill_gaps(times, values, known, LONGEST_GAP)
    confidence = np.where(filled, FILLED_CONFIDENCE, confidence)
    sources = np.where(filled, "filled", sources)
    known = known | filled
    nearest = np.interp(np.arange(len(times)), np.flatnonzero(known), np.flatnonzero(known))
    held = values[np.flatnonzero(known)[np.searchsorted(np.flatnonzero(known), np.floor(nearest), "right") - 1]]
    values = np.where(known[:, None], values, held)
    weights = np.where(known, np.clip(confidence, 0.1, 1), 0.0)
    smoothed = values.copy()
    smoothed[:, :2] = smooth(times, values[:, :2], CENTER_SECONDS, weights)
    smoothed[:, 2:] = smooth(times, values[:, 2:], WIDTH_SECONDS, weights)
    return np.where(known[:, None], smoothed, values), confidence, sources
