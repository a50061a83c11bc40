"""What the pipeline asks of an engine: edit one short window of frames so that the mouth says the sound.

Shapes: T frames, S the side of the crop, N tokens of speech per frame, D their width, K frames of the anchor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..audio import Wave
from ..spec import VideoSpec


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
    """One window of a group, as `Engine.edit` is given it."""

    frames_THWC: np.ndarray
    speech_TND: Any
    mouth_T3: np.ndarray
    seed: int
    lead: int = 0
    """Frames shared with the end of the excerpt before, 1 + 4j; 0 = it starts anew."""


class Speech(Protocol):
    """Features of a sound by time."""

    def at(self, times_T: np.ndarray) -> Any:
        """Features (T, N, D) at times in seconds; times beyond the sound are silence."""


class Engine(Protocol):
    """Edits one window; long video, any rate, any size, faceless stretches, resume and cancel are the pipeline's.

    With an attribute `hears_source` that is true, `speech_TND` is a pair: the features of the new sound, and those of
    the video's own sound at the same frames (None where it has none). With an attribute `sees_roll` that is true,
    `mouth_T3` has a fourth number: how far the head is turned, radians, clockwise.
    """

    spec: VideoSpec
    fingerprint: dict
    """What decides the result (model digest, settings, device, type): plain JSON values, for the resume manifest."""

    def speech(self, wave: Wave) -> Speech:
        """Prepare a sound; the work is done as windows ask for it."""

    def edit(
        self,
        frames_THWC: np.ndarray,
        speech_TND: Any,
        mouth_T3: np.ndarray,
        *,
        anchor: np.ndarray | None,
        seed: int,
        on_step: Callable[[int, int], None],
    ) -> Edit:
        """Edit a window of 1 + 4k crops, T at most `spec.window_frames`.

        `mouth_T3` is x, y and width of the mouth in the crop, 0..1. `anchor` (K, S, S, 3) are finished frames that the
        first K results should continue, K = 1 + 4j. The same arguments give the same result, bit for bit.
        `on_step(done, total)` is called after each step; it may raise anything to cancel, and the engine stays usable.
        """


class GroupEngine(Engine, Protocol):
    """An engine that edits several windows in three strokes: encode all, sample all, decode all.

    Its networks then change places once a group where they do not fit into memory together. Inside a group a window is
    anchored in the latents of the one before, since its pixels are not there yet.
    """

    group: int
    """Windows of a group."""

    def edit_group(
        self, excerpts: Sequence[Excerpt], *, anchor: np.ndarray | None, on_step: Callable[[int, int], None]
    ) -> Iterator[Edit]:
        """The edits of up to `group` windows in their order; `anchor` is the first one's, as `edit` takes it."""
