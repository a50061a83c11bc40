"""What a job tells while it runs, and what it reports at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass


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
    with the plan, and counts windows; `editing` counts steps of windows; `writing` counts frames. Learning a person
    counts windows while `changing` the clip, and seconds while `learning`."""
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
    marks: tuple[str, ...] = ()
    """How the result says that it was edited, a line each; empty where nothing was."""
    whole: Plan | None = None
    """After a preview: what all of it would take, judged by the preview."""

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
