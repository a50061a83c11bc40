"""The mouth's crops out of pictures in memory, and their edits back: the pipeline's geometry without its files.

Legend: N frames H x W, S pixels of a crop's side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..mouth import MouthTrack
from ..spec import VideoSpec
from ..windows.chunks import SHORTEST
from . import region

ASPECT_TOLERANCE = 0.02
"""How far the shapes of two copies of a video may be apart: sizes are rounded when it is scaled."""


@dataclass(frozen=True)
class Change:
    """What an edit does to one picture: `pixels` (h, w, 3) take the place of those of `box`; `mask` (h, w), 0..1."""

    box: tuple[int, int, int, int]
    pixels: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Region:
    """Where the crops of N frames lie; a few numbers per frame."""

    regions: tuple[region.ShotCrop, ...]
    frame_size: tuple[int, int]
    size: int
    track: MouthTrack

    def __len__(self) -> int:
        return len(self.track.pts_N)

    @property
    def padded(self) -> int:
        """Frames that a model is given: 1 + 4k, the last crop repeated, as the pipeline does with one window."""
        return VideoSpec().pad_frames(max(len(self), SHORTEST))

    def cut(self, picture_HWC: np.ndarray, frame: int, size: int | None = None) -> np.ndarray:
        """The crop of a frame, (S, S, 3) float32."""
        here = self._region(frame)
        return region.crop(_provider(picture_HWC), self.frame_size, here.box(frame), size or self.size)

    def change(
        self, picture_HWC: np.ndarray, frame: int, edited_SSC: np.ndarray, reference_SSC: np.ndarray | None = None
    ) -> Change | None:
        """What an edited crop changes on its picture; None where it changes nothing. S may be any.

        reference: the crop through the model's codec. The crop itself where None: then the codec's own errors count as
        edits, and its shift of the colours is not taken off. Pixels where the mask is 0 keep their bits.
        """
        here = self._region(frame)
        box, gain = here.box(frame), here.strength_T[frame - here.start]
        covered = region.cover(box, self.frame_size)
        if gain == 0 or covered is None:
            return None
        size = len(edited_SSC)
        reference_SSC = self.cut(picture_HWC, frame, size) if reference_SSC is None else reference_SSC
        mask_SS = gain * region.edit_mask(size, here.mouth_T3[frame - here.start])[0]
        source_HWC = _provider(picture_HWC)(covered)
        delta_HWC = region.delta(source_HWC, covered, box, edited_SSC, reference_SSC, mask_SS)
        mask_HW = region.source_mask(mask_SS, box, covered)
        pixels_HWC = np.where(delta_HWC != 0, np.clip(source_HWC + delta_HWC, 0, 1), source_HWC)
        return Change(covered, pixels_HWC, mask_HW)

    def mask(self, frame: int) -> tuple[tuple[int, int, int, int], np.ndarray] | None:
        """Where a frame may be edited: a box and the mask in it (h, w), 0..1; None where nowhere."""
        here = self._region(frame)
        box, gain = here.box(frame), here.strength_T[frame - here.start]
        covered = region.cover(box, self.frame_size)
        if gain == 0 or covered is None:
            return None
        mask_SS = gain * region.edit_mask(self.size, here.mouth_T3[frame - here.start])[0]
        return covered, region.source_mask(mask_SS, box, covered)

    def mouths(self) -> MouthTrack:
        """The mouth inside the `padded` crops, as a track of them."""
        mouth_N3 = np.concatenate([here.mouth_T3 for here in self.regions])
        at = np.minimum(np.arange(self.padded), len(self) - 1)
        times = self.track.pts_N
        step = float(np.median(np.diff(times))) if len(times) > 1 else 1 / 25
        return replace(
            self.track,
            pts_N=times[at] + step * (np.arange(self.padded) - at),
            center_N2=mouth_N3[at, :2].astype(np.float64),
            width_N=mouth_N3[at, 2].astype(np.float64),
            confidence_N=self.track.confidence_N[at],
            source_N=self.track.source_N[at],
            shot_N=self.track.shot_N[at],
            frame_size=(self.size, self.size),
            roll_N=self.track.roll_N[at] if len(self.track.roll_N) else self.track.roll_N,
            head_N32=self._heads()[at] if len(self.track.head_N32) else self.track.head_N32,
        )

    def _heads(self) -> np.ndarray:
        return np.concatenate([here.head_T32 for here in self.regions]).astype(np.float64)

    def _region(self, frame: int) -> region.ShotCrop:
        return next(here for here in self.regions if here.start <= frame < here.stop)


def plan_region(track: MouthTrack, frame_size: tuple[int, int], frames: int, size: int) -> Region:
    """Crops of `size` pixels for a track and `frames` pictures of `frame_size` (width, height).

    The pictures may be a scaled copy of those that the track was made from. InputError: another number of them, or
    another shape.
    """
    if len(track.pts_N) != frames:
        raise InputError(
            f"the mouth track has {len(track.pts_N)} frames, the images are {frames}: connect the track of these images"
        )
    (width, height), (across, along) = frame_size, track.frame_size
    if abs(width * along / (height * across) - 1) > ASPECT_TOLERANCE:
        raise InputError(
            f"the mouth track is of {across}x{along} pictures, the images are {width}x{height}: connect the track of "
            "these images, or of the same ones in another size"
        )
    track = replace(track, frame_size=(width, height))
    return Region(tuple(region.plan_crops(track, VideoSpec(crop_size=size))), (width, height), size, track)


def _provider(picture_HWC: np.ndarray) -> Callable[[tuple[int, int, int, int]], np.ndarray]:
    def rgb(box: tuple[int, int, int, int]) -> np.ndarray:
        x0, y0, x1, y1 = box
        return np.asarray(picture_HWC[y0:y1, x0:x1, :3], np.float32)

    return rgb
