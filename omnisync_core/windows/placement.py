"""Where in the result what is edited: the mouth's crop, the strength of the edit and the window of every frame.

Legend: N frames of the source, V frames of the result (the timeline), E edited frames among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .. import media
from ..crop import region
from ..mouth import MouthTrack
from ..spec import VideoSpec
from ..timing.timeline import Timeline
from . import chunks


@dataclass(frozen=True)
class Spot:
    """The mouth on one frame: the crop's box in the source's pixels; inside it, 0..1, the mouth's x, y and width; the
    head's roll, and its brows and nose in the crop."""

    box: region.Box
    mouth_3: np.ndarray
    roll: float
    head_32: np.ndarray


class Placement:
    """One job's geometry; everything here is small (some numbers per frame)."""

    def __init__(
        self, video: media.VideoInfo, track: MouthTrack, timeline: Timeline, spec: VideoSpec, speaks_V: np.ndarray
    ) -> None:
        """`speaks_V` scales the edit over time: 0 shows the source's own pixels."""
        self.video, self.track, self.timeline, self.spec = video, track, timeline, spec
        self._regions = region.plan_crops(track, spec)
        self._region_N = np.repeat(np.arange(len(self._regions)), [r.stop - r.start for r in self._regions])
        self.found_V = np.concatenate([r.strength_T for r in self._regions])[timeline.source_V]
        self.gain_V = (self.found_V * speaks_V).astype(np.float32)
        shot_V = track.shot_N[timeline.source_V]
        fresh_V = timeline.fresh_V | np.append(True, np.diff(shot_V) != 0)
        stride = spec.frame_stride(video.average_fps)
        self.edited_E, runs = chunks.edited_frames(fresh_V, stride)
        planned = chunks.plan_windows(runs, spec.window_frames, spec.overlap_frames)
        self.windows = [window for window in planned if self._is_needed(window)]
        """Those with something to edit; their indices keep the gaps."""

    @property
    def frame_size(self) -> tuple[int, int]:
        return self.video.width, self.video.height

    def spot(self, position: int) -> Spot:
        """The mouth on a frame of the result."""
        frame = int(self.timeline.source_V[position])
        here = self._regions[self._region_N[frame]]
        at = frame - here.start
        return Spot(here.box(frame), here.mouth_T3[at], float(here.roll_T[at]), here.head_T32[at])

    def positions(self, window: chunks.Window) -> np.ndarray:
        """The frames of the result that a window edits."""
        return self.edited_E[window.start : window.stop]

    def crop(self, frame: media.Frame, position: int) -> np.ndarray:
        """The crop of a frame, (S, S, 3) float32."""
        return region.crop(frame.rgb, self.frame_size, self.spot(position).box, self.spec.crop_size)

    @cached_property
    def window_E(self) -> np.ndarray:
        """Index of the window that holds the finished edit of each edited frame; -1 where none does."""
        index_E = np.full(len(self.edited_E), -1)
        for window in self.windows:
            index_E[window.start : window.stop] = window.index
        return index_E

    @cached_property
    def by_index(self) -> dict[int, chunks.Window]:
        return {window.index: window for window in self.windows}

    def _is_needed(self, window: chunks.Window) -> bool:
        after = self.edited_E[window.stop] if window.stop < len(self.edited_E) else len(self.timeline)
        return bool(self.gain_V[self.edited_E[window.start] : after].any())
