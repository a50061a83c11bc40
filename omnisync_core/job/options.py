"""What a job is asked."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from ..marks.options import Marks
from ..timing.timeline import POLICIES

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
    marks: Marks = field(default_factory=Marks)
    """What says of the result that it was edited; no window depends on it."""
    resume: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**64:
            raise InputError(f"seed must be a whole number within 0..2^64-1, got {self.seed}")
        if self.length not in POLICIES:
            raise InputError(f"length must be one of {', '.join(POLICIES)}, got {self.length!r}")
        if self.silence not in SILENCE:
            raise InputError(f"silence must be one of {', '.join(SILENCE)}, got {self.silence!r}")
        if self.preview_seconds is not None and not 0 < self.preview_seconds < math.inf:
            raise InputError(f"preview must be a number of seconds above 0, got {self.preview_seconds}")

    def deciding(self) -> dict:
        """The options that decide the result, but for its marks."""
        return {name: value for name, value in vars(self).items() if name not in ("resume", "marks")}


@dataclass(frozen=True)
class Speaker:
    """Who says what: a sound file, and where this person's mouth is (as `SyncOptions.mouth`)."""

    audio: str | os.PathLike
    mouth: Any = "auto"
