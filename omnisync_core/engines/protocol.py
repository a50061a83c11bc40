"""What the pipeline asks of an engine: edit short windows of frames so that the mouth says the sound.

Shapes: T frames, S the side of the crop, N tokens of speech per frame, D their width, K frames of the anchor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..audio import Wave
from ..spec import VideoSpec

OnStep = Callable[[int, int], None]
"""`on_step(done, total)` is called after each step of a window; it may raise anything to cancel."""


@dataclass(frozen=True)
class Edit:
    """An edited window, and the source window through the same codec: the edit is the difference of the two.

    Both (T, S, S, 3), 0..1; anything beyond is clipped and both are kept with 8 bits.
    """

    edited_THWC: np.ndarray
    reference_THWC: np.ndarray
    note: str = ""
    """What the user should know of this window; goes into the report."""


@dataclass(frozen=True)
class Excerpt:
    """One window as an engine is given it: 1 + 4k crops, T at most `spec.window_frames`."""

    frames_THWC: np.ndarray
    speech_TND: Any
    """What `Speech.at` gave; with `Engine.hears_source` a pair, see there."""
    mouth_T3: np.ndarray
    """x, y and width of the mouth in the crop, 0..1; with `Engine.sees_head` (T, 10), see there."""
    seed: int
    lead: int = 0
    """Frames shared with the end of the excerpt before, 1 + 4j; 0 = it starts anew."""


class Speech(Protocol):
    """Features of a sound by time."""

    def at(self, times_T: np.ndarray) -> Any:
        """Features (T, N, D) at times in seconds; times beyond the sound are silence."""


class Engine(ABC):
    """Edits windows; long video, any rate, any size, faceless stretches, resume and cancel are the pipeline's."""

    spec: VideoSpec
    fingerprint: dict[str, Any]
    """What decides the result (model digest, settings, device, type): plain JSON values, for the resume manifest."""
    group: int = 1
    """Windows that are edited together; what is unfinished of them is edited again after a stop."""
    hears_source: bool = False
    """Speech is a pair: the features of the new sound, and those of the video's own at the same frames (None where it
    has none)."""
    has_codec: bool = False
    """Pictures go through an autoencoder, which bounds what any edit can reach."""
    sees_head: bool = False
    """The mouth has seven numbers more: how far the head is turned (radians, clockwise), and x, y in the crop of left
    brow, right brow and nose, NaN where nobody knows."""

    @abstractmethod
    def speech(self, wave: Wave) -> Speech:
        """Prepare a sound; the work is done as windows ask for it."""

    @abstractmethod
    def edit_group(self, excerpts: Sequence[Excerpt], *, anchor: np.ndarray | None, on_step: OnStep) -> Iterator[Edit]:
        """The edits of up to `group` windows in their order.

        `anchor` (K, S, S, 3) are finished frames that the first K results of the first window should continue,
        K = 1 + 4j; a later window continues the one before it by its `lead`. The same arguments give the same result,
        bit for bit. After a cancel the engine stays usable.
        """

    def preview(self) -> Any:
        """The last step as a host's progress bar takes pictures; None where there is none."""
        return None

    def through_codec(self, frames_THWC: np.ndarray, source_THWC: np.ndarray) -> np.ndarray:
        """What is left of an edit (T, S, S, 3), 0..1, of `source` after a way through the autoencoder (`has_codec`)."""
        return frames_THWC


class WindowEngine(Engine):
    """An engine whose windows are edited one by one."""

    @abstractmethod
    def edit_window(self, excerpt: Excerpt, anchor: np.ndarray | None, on_step: OnStep) -> Edit:
        """One window; `anchor` as in `edit_group`."""

    def edit_group(self, excerpts: Sequence[Excerpt], *, anchor: np.ndarray | None, on_step: OnStep) -> Iterator[Edit]:
        (excerpt,) = excerpts
        yield self.edit_window(excerpt, anchor, on_step)
