"""What a job is allowed to change: its crops and masks, found again as the pipeline found them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

from .. import media, mouth
from ..audio import SpeechWave
from ..crop import region
from ..mouth.looks import hearing, small_frames
from ..spec import VideoSpec
from ..timing import timeline
from ..windows.placement import Placement


@lru_cache(maxsize=256)
def placement_of(video: Path, audio: Path, how: tuple[float, ...] | str, spec: VideoSpec) -> Placement:
    """Where the pipeline edits a video at its default options; `how`: the click on the mouth, or "auto"."""
    info = media.probe_video(video)
    frame_size = info.width, info.height
    track = mouth.track(small_frames(info), how, frame_size=frame_size, hear=hearing(info))
    shown = timeline.plan_timeline(info.times_N, SpeechWave(audio).duration)
    return Placement(info, track, shown, spec, np.ones(len(shown), np.float32))


def outside(result: Iterable[np.ndarray], source: Iterable[np.ndarray], placement: Placement) -> float:
    """The largest 8-bit difference of frames (H, W, 3) where the edit's mask is 0."""
    worst = 0
    for position, (edited, shown) in enumerate(zip(result, source, strict=True)):
        difference = np.abs(edited.astype(np.int16) - shown).max(-1)
        spot = placement.spot(position)
        covered = region.cover(spot.box, placement.frame_size)
        if covered is not None:
            x0, y0, x1, y1 = covered
            mask = region.edit_mask(placement.spec.crop_size, spot.mouth_3)[0]
            difference[y0:y1, x0:x1][region.source_mask(mask, spot.box, covered) > 0] = 0
        worst = max(worst, int(difference.max()))
    return float(worst)
