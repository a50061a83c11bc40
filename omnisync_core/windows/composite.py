"""Finished windows go back onto the source's frames."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .. import media
from ..crop import region
from ..job.store import Store, window_name
from .placement import Placement


class Compositor:
    """Applies the finished edit of every frame; holds two windows at a time."""

    def __init__(self, placement: Placement, store: Store) -> None:
        self._placement = placement
        self._read = lru_cache(maxsize=2)(lambda index: store.read(window_name(index)))

    def apply(self, frame: media.Frame, position: int) -> media.Frame:
        """The source frame shown at `position` of the result, with its mouth edited; itself where nothing is edited."""
        placement, gain = self._placement, self._placement.gain_V[position]
        spot = placement.spot(position)
        covered = region.cover(spot.box, placement.frame_size)
        if gain == 0 or covered is None:
            return frame
        edited_SSC, reference_SSC = self._edit(position)
        mask_SS = gain * region.edit_mask(placement.spec.crop_size, spot.mouth_3)[0]
        delta_HWC = region.delta(frame.rgb(covered), covered, spot.box, edited_SSC, reference_SSC, mask_SS)
        return frame.add_rgb(covered, delta_HWC)

    def _edit(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Edited and reference crop, 0..1; between two edited frames linear in time."""
        placement = self._placement
        after = int(np.searchsorted(placement.edited_E, position))
        if placement.edited_E[after] == position:
            return self._finished(after)
        if placement.window_E[after] < 0:
            return self._finished(after - 1)
        times = placement.timeline.time_V
        start, stop = times[placement.edited_E[after - 1]], times[placement.edited_E[after]]
        share = np.float32((times[position] - start) / (stop - start))
        pairs = zip(self._finished(after - 1), self._finished(after), strict=True)
        edited_SSC, reference_SSC = (one + share * (other - one) for one, other in pairs)
        return edited_SSC, reference_SSC

    def _finished(self, edited: int) -> tuple[np.ndarray, np.ndarray]:
        window = self._placement.by_index[int(self._placement.window_E[edited])]
        arrays = self._read(window.index)
        return tuple(arrays[name][edited - window.start] / np.float32(255) for name in ("edited", "reference"))
