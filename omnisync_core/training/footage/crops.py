"""Crops around the mouth as the pipeline makes them for an engine, 25 a second, and what lies beside a clip."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...crop.region import crop, plan_crops
from ...errors import InputError
from ...files import replacing
from ...media import Frame, VideoInfo, frames_of
from ...mouth import MouthTrack
from ...spec import VideoSpec
from .stretches import Stretch, shown_frames


def crop_frames(
    info: VideoInfo, track: MouthTrack, stretch: Stretch, spec: VideoSpec
) -> tuple[Iterator[np.ndarray], np.ndarray]:
    """The stretch's crops, uint8 RGB, and the mouth in each of them (F, 3): x, y and width over the crop's side."""
    shots, size = plan_crops(track, spec), spec.crop_size
    (shot,) = (one for one in shots if one.start <= stretch.start and stretch.stop <= one.stop)

    def draw(frame: Frame) -> np.ndarray:
        return crop(frame.rgb, (info.width, info.height), shot.box(frame.index), size) * 255

    shown_F = shown_frames(stretch, track.pts_N)
    return drawn_frames(info, track, stretch, draw), shot.mouth_T3[shown_F - shot.start]


def drawn_frames(
    info: VideoInfo, track: MouthTrack, stretch: Stretch, draw: Callable[[Frame], np.ndarray]
) -> Iterator[np.ndarray]:
    """`draw(frame)`, 0..255, of what is on the screen at each of the stretch's 25 frames a second, uint8."""
    wanted = iter(shown_frames(stretch, track.pts_N).tolist())
    number = next(wanted, None)
    for frame in frames_of(info, stretch.start, stretch.stop, seek=True):
        if frame.index != number:
            continue
        picture = draw(frame).clip(0, 255).round().astype(np.uint8)
        while frame.index == number:
            yield picture
            number = next(wanted, None)


def write_beside(clip: Path, fields: dict[str, Any]) -> None:
    """What is known of a clip, as JSON under its name."""
    with replacing(clip.with_suffix(".json")) as part:
        part.write_text(json.dumps(fields), encoding="utf-8")


def read_beside(clip: Path) -> dict[str, Any]:
    """InputError: nothing is known of it, so that it is no crop."""
    try:
        return json.loads(clip.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            f"nothing says where the mouth is in {clip}; prepare the footage again with --crops, into another folder"
        ) from None
