"""What everything that knows where the mouth is speaks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError


@dataclass(frozen=True)
class MouthTrack:
    """Place and size of the mouth in each of N frames."""

    pts_N: np.ndarray
    """Presentation times, seconds."""
    center_N2: np.ndarray
    """x, y in 0..1 of the frame's width and height."""
    width_N: np.ndarray
    """Width of the mouth over the width of the frame."""
    confidence_N: np.ndarray
    """0..1; 0 = there is no mouth to edit (none found, lost, off the frame)."""
    source_N: np.ndarray
    """Who says so: user, landmarks, detector, finder, filled or fallback."""
    shot_N: np.ndarray
    """Index of the shot, from 0."""
    frame_size: tuple[int, int]
    """Width and height that pixels refer to."""
    warnings: tuple[str, ...] = ()
    """What the user should know, one line each."""
    roll_N: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """How far the head is turned in the picture, radians, clockwise; empty where nobody knows."""
    head_N32: np.ndarray = field(default_factory=lambda: np.zeros((0, 3, 2)))
    """The head where landmarks or a detector tell it: x, y of left brow, right brow and nose (as the picture shows
    them), 0..1 of the frame; NaN where nobody knows, empty where nobody ever does."""

    @property
    def mouth_N3(self) -> np.ndarray:
        """x, y and width as above, float32: what the guidance is given."""
        return np.column_stack([self.center_N2, self.width_N]).astype(np.float32)


@dataclass(frozen=True)
class Look:
    """One frame as the trackers see it."""

    time: float
    rgb: np.ndarray
    """uint8, small on its shorter side."""
    gray: np.ndarray
    cut: bool
    """The first frame of a new shot."""
    frame_size: tuple[int, int]

    @property
    def scale(self) -> float:
        """Pixels of `rgb` per pixel of the video."""
        return self.rgb.shape[1] / self.frame_size[0]


@dataclass(frozen=True)
class Point:
    """A user's word: the mouth's centre on the first frame, in pixels; `width` (pixels) is estimated where None."""

    x: float
    y: float
    width: float | None = None


@dataclass(frozen=True)
class Choice:
    """Which of several faces speaks."""

    by: str = "largest"
    """`largest` of each shot; `index`, from the left when a shot first shows so many; `point`, the face there."""
    index: int = 0
    point: Point | None = None
    """On the first frame."""

    def __post_init__(self) -> None:
        if self.by not in ("largest", "index", "point"):
            raise InputError(f"the speaker is chosen by largest, index or point, got {self.by!r}")
        if self.index < 0:
            raise InputError(f"the speaker's index counts from 0 at the left, got {self.index}")
        if (self.by == "point") != (self.point is not None):
            raise InputError("a speaker's point is given if and only if the speaker is chosen by it")
