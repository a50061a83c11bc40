"""What a job is asked, what it tells while it runs, and what it reports at the end."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from .errors import InputError
from .timeline import POLICIES

SILENCE = ("close", "keep")


@dataclass(frozen=True)
class SyncOptions:
    """How to sync; how to sample (steps, tau, guidance, prompt) is the engine's."""

    seed: int = 0
    length: str = "source"
    """Where sound and video differ in length: one of `timeline.POLICIES`."""
    silence: str = "close"
    """Where nobody speaks: `close` lets the mouth rest, `keep` leaves the source's own pixels."""
    mouth: Any = "auto"
    """`auto`, `centre`, (x, y[, width]) in pixels of the first frame, masks (1 or N, H, W), or a `MouthTrack` of the
    whole video."""
    preview_seconds: float | None = None
    """Do only the first seconds."""
    lossless: bool = False
    resume: bool = False

    def __post_init__(self):
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**64:
            raise InputError(f"seed must be a whole number within 0..2^64-1, got {self.seed}")
        if self.length not in POLICIES:
            raise InputError(f"length must be one of {', '.join(POLICIES)}, got {self.length!r}")
        if self.silence not in SILENCE:
            raise InputError(f"silence must be one of {', '.join(SILENCE)}, got {self.silence!r}")
        if self.preview_seconds is not None and not 0 < self.preview_seconds < math.inf:
            raise InputError(f"preview must be a number of seconds above 0, got {self.preview_seconds}")

    def deciding(self) -> dict:
        """The options that decide the result."""
        return {name: value for name, value in vars(self).items() if name != "resume"}


@dataclass(frozen=True)
class Speaker:
    """Who says what: a sound file, and where this person's mouth is (as `SyncOptions.mouth`)."""

    audio: str | os.PathLike
    mouth: Any = "auto"


@dataclass(frozen=True)
class Plan:
    """What a job will take, as far as one knows before it starts."""

    frames: int
    video_seconds: float
    edited_frames: int
    windows: int
    windows_done: int
    """Found finished when resuming."""
    seconds: float
    """Estimated time to the end."""
    disk_bytes: int
    """Estimated need on the output's disk, for the finished windows and the result."""

    def __str__(self) -> str:
        done = f" ({self.windows_done} of them done before)" if self.windows_done else ""
        return (
            f"{self.frames} frames ({self.video_seconds:.1f} s of video), {self.edited_frames} of them edited in "
            f"{self.windows} windows{done}; about {clock(self.seconds)}, {size(self.disk_bytes)} of disk"
        )


@dataclass(frozen=True)
class Progress:
    """Where a job is: `done` of `total` in a stage."""

    stage: str
    """`opening` counts frames now and then, `total` still unknown (0); `reading` counts frames; `planned` comes once,
    with the plan, and counts windows; `editing` counts steps of windows; `writing` counts frames."""
    done: int
    total: int
    plan: Plan | None = None


Listener = Callable[[Progress], None]
"""Told of progress; whatever it raises cancels the job, which can be resumed."""


@dataclass(frozen=True)
class Passed:
    """A stretch of the result that shows the source's own pixels, seconds from its first frame."""

    start: float
    stop: float
    frames: int
    reason: str
    """`no mouth` or `silence`."""


@dataclass(frozen=True)
class Report:
    """What was done. `as_json` gives plain values."""

    output: str
    frames: int
    edited: int
    """Frames of the result that were changed."""
    windows: int
    passed: tuple[Passed, ...]
    mouth_sources: dict[str, int]
    """Frames by who said where the mouth is: user, landmarks, detector, finder, filled, fallback."""
    shots: int
    warnings: tuple[str, ...]
    seconds: float

    def as_json(self) -> dict:
        return asdict(self)


def clock(seconds: float) -> str:
    """A time for people."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("KB", "MB"):
        count /= 1000
        if count < 1000:
            return f"{count:.0f} {unit}"
    return f"{count / 1000:.1f} GB"
