"""Where the mouth is in a video, as a file and as a picture, without any edit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .. import media, mouth
from ..errors import InputError, OutputError
from ..files import replacing
from ..mouth.looks import hearing, small_frames
from .track_sheet import Samples, draw


def find(
    video: str | PathLike, how: Any = "auto", on_frame: Callable[[int, int], None] = lambda done, total: None
) -> tuple[mouth.MouthTrack, np.ndarray]:
    """The mouth in every frame of a file, and a picture (uint8 RGB) of some of them. `how` as of `mouth.track`."""
    info = media.probe_video(video)
    samples = Samples()

    def frames() -> Iterator[tuple[float, np.ndarray]]:
        for number, (time, picture) in enumerate(small_frames(info), 1):
            samples.add(picture)
            yield time, picture
            on_frame(number, info.frame_count)

    track = mouth.track(frames(), how, frame_size=(info.width, info.height), hear=hearing(info))
    return track, draw(track, samples.chosen())


def write_track(path: str | PathLike, track: mouth.MouthTrack) -> None:
    """JSON: per frame the time (seconds), x, y, width (pixels), roll (radians, clockwise), confidence, source, shot."""
    width, height = track.frame_size
    roll_N = track.roll_N if len(track.roll_N) else np.zeros(len(track.pts_N))
    frames = [
        {
            "time": round(float(time), 5), "x": round(float(x) * width, 2), "y": round(float(y) * height, 2),
            "width": round(float(wide) * width, 2), "roll": round(float(roll), 4),
            "confidence": round(float(sure), 3), "source": str(source), "shot": int(shot),
        }
        for time, (x, y), wide, roll, sure, source, shot in zip(
            track.pts_N, track.center_N2, track.width_N, roll_N, track.confidence_N, track.source_N, track.shot_N,
            strict=True,
        )
    ]  # fmt: skip
    document = {"frame_size": [width, height], "warnings": list(track.warnings), "frames": frames}
    _write(path, json.dumps(document, indent=1).encode())


def write_picture(path: str | PathLike, rgb_HWC: np.ndarray) -> None:
    """PNG or JPEG, as the name ends."""
    if Path(path).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"{path}: a picture's name ends in .png or .jpg")
    done, data = cv2.imencode(Path(path).suffix, rgb_HWC[..., ::-1])
    if not done:
        raise OutputError(f"cannot write {path}: the picture was not encoded")
    _write(path, data.tobytes())


def _write(path: str | PathLike, data: bytes) -> None:
    """Beside, then moved into place."""
    try:
        with replacing(path) as part:
            part.write_bytes(data)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
