"""A clip under measurement: its result, source and truth, seen moment by moment; memory does not grow with its length.

Pictures are uint8 RGB (H, W, 3), upright. Frames of several videos belong together by time, not by number: a tool may
have changed the frame rate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from .. import media, mouth
from ..errors import InputError
from ..manifest import Row
from ..media import VideoInfo
from ..mouth import MouthTrack
from ..mouth.looks import hearing, small_frames
from ..spec import VideoSpec

RUN = 16
"""Consecutive frames that are looked at together: as many as I3D sees."""
FACE_SIDE, FACE_UP = 4.7, 0.23
"""Side of a face's crop and how far its middle lies above the mouth's, in mouth widths: what the usual crop around a
face's box is (box enlarged by 1.4, moved down by a fifth of its height) where the mouth is .3 of the box's height."""
SMOOTHED = 13
"""Frames over whose median a face's place is taken."""
LABEL = "mouth.json"
"""What the synthesiser writes beside the clips it draws."""


@dataclass(frozen=True)
class Moment:
    """One instant of a result, with what the source and the truth show then."""

    index: int
    """Of the result's frame."""
    run: int
    result: np.ndarray
    source: np.ndarray
    truth: np.ndarray | None
    """As large as the result was made for: a result of another size is scaled to it."""
    face_xys: tuple[float, float, float] | None
    """Middle and side of the face's crop in pixels of the source; None where no mouth is known."""


@dataclass(eq=False)
class Clip:
    """A row of the list and the file that an engine made of it."""

    row: Row
    result_path: Path
    frames: int = 2 * RUN
    """How many frames metrics of pictures look at (0: all of them)."""
    spec: VideoSpec | None = None
    """Of the engine that made it; None where another tool did."""
    needs_face: bool = True
    back_path: Path | None = None
    """The result, edited back to the source's own sound."""
    cost: dict = field(default_factory=dict)
    """What making it took."""

    @cached_property
    def result(self) -> VideoInfo:
        return media.probe_video(self.result_path)

    @cached_property
    def source(self) -> VideoInfo:
        return media.probe_video(self.row.video)

    @cached_property
    def truth(self) -> VideoInfo | None:
        return None if self.row.truth is None else media.probe_video(self.row.truth)

    def check(self) -> None:
        """InputError: one of its videos cannot be read, whatever metric would look at it."""
        for video in (self.result, self.source, self.truth):
            if video is not None and not video.frame_count:
                raise InputError(f"{video.path} has no frames")

    @cached_property
    def drawn(self) -> Path | None:
        """The folder of a clip that the synthesiser drew, which holds its exact truth."""
        folder = self.row.video.parent
        return folder if self.row.video.name == "source.mkv" and (folder / LABEL).is_file() else None

    @cached_property
    def track(self) -> MouthTrack:
        """Where the mouth is in the source: exactly in drawn clips, else from the row's point or as it is found."""
        if self.drawn is not None:
            return _drawn_track(self.drawn, self.source)
        how = self.row.mouth or "auto"
        size = self.source.width, self.source.height
        return mouth.track(small_frames(self.source), how, frame_size=size, hear=hearing(self.source))

    @cached_property
    def sound(self) -> Path:
        """What is heard with the result: its own sound, or the row's where it has none."""
        return self.result_path if self.result.has_audio else self.row.audio

    @cached_property
    def faces_N3(self) -> np.ndarray:
        """Middle x, y and side of the face's crop in every frame of the source, pixels; NaN where no mouth is known."""
        return faces_of(self.track)

    def at_source(self, times_N: np.ndarray) -> np.ndarray:
        """The source's frame that is shown at each of the times."""
        return nearest(self.source.times_N, times_N)

    def moments(self) -> Iterator[Moment]:
        """Runs of consecutive frames, evenly over the clip. InputError: a video without frames in common."""
        lasts = self.source.times_N[-1] + 1 / self.source.average_fps
        shown = np.flatnonzero(self.result.times_N < lasts)
        chosen, runs = _runs(len(shown), self.frames)
        times = self.result.times_N[shown[chosen]]
        sources = self.at_source(times)
        others = [_picked(self.source, sources)]
        if self.truth is not None:
            others.append(_picked(self.truth, nearest(self.truth.times_N, times)))
        pictures = zip(_picked(self.result, shown[chosen]), *others, strict=True)
        for number, index, run, (result, source, *truth) in zip(sources, shown[chosen], runs, pictures, strict=True):
            face = self.faces_N3[number] if self.needs_face else np.full(3, np.nan)
            place = tuple(face.tolist()) if np.isfinite(face).all() else None
            result = like(result, truth[0] if truth else source)
            yield Moment(int(index), int(run), result, source, truth[0] if truth else None, place)


def read_frames(video: VideoInfo, indices_N: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """The frames of growing numbers (None: all), one at a time; a number given twice gives its frame twice."""
    return _picked(video, np.arange(video.frame_count) if indices_N is None else indices_N)


def like(picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A picture as large as another."""
    size = other.shape[1::-1]
    if picture.shape[1::-1] == size:
        return picture
    shrinks = picture.shape[1] > size[0]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def face_crop(picture: np.ndarray, face_xys: tuple[float, float, float], side: int) -> np.ndarray:
    """The square of a face as `side` x `side`; grey beyond the frame."""
    x, y, size = face_xys
    scale, middle = side / size, side / 2 - 0.5
    step = max(1, int(1 / scale))
    if step > 1:  # every pixel counts
        picture = cv2.resize(picture, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
    shift_x, shift_y = (scale * (0.5 * step - at) + middle for at in (x, y))
    matrix = np.array([[scale * step, 0, shift_x], [0, scale * step, shift_y]], np.float64)
    grey = (110, 110, 110)
    return cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=grey)


def faces_of(track: MouthTrack) -> np.ndarray:
    """The crop around a face in every frame: middle x, y and side in pixels, smoothed by a running median in a shot."""
    width, height = track.frame_size
    side = FACE_SIDE * track.width_N * width
    faces = np.column_stack([track.center_N2[:, 0] * width, track.center_N2[:, 1] * height, side])
    faces[:, 1] -= FACE_UP / FACE_SIDE * side
    faces[track.confidence_N == 0] = np.nan
    for shot in np.unique(track.shot_N):
        here = np.flatnonzero((track.shot_N == shot) & np.isfinite(faces[:, 0]))
        if len(here):
            faces[here] = _running_median(faces[here])
    return faces


def _running_median(values_N3: np.ndarray) -> np.ndarray:
    reach = SMOOTHED // 2
    padded = np.pad(values_N3, ((reach, reach), (0, 0)), mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, SMOOTHED, axis=0), axis=-1)


def _runs(count: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of `count` frames to look at, and the run that each belongs to."""
    if not count:
        raise InputError("the result shows nothing while the source lasts; is it the result of another video?")
    if not wanted or wanted >= count:
        return np.arange(count), np.arange(count) // RUN
    number = max(1, min(wanted, count) // RUN)
    length = min(RUN, count, wanted)
    starts = np.linspace(0, count - length, number).round().astype(int) if number > 1 else [(count - length) // 2]
    chosen = np.concatenate([np.arange(start, start + length) for start in starts])
    runs = np.repeat(np.arange(number), length)
    chosen, first = np.unique(chosen, return_index=True)
    return chosen, runs[first]


def nearest(times_N: np.ndarray, at_M: np.ndarray) -> np.ndarray:
    after = np.clip(np.searchsorted(times_N, at_M), 1, max(len(times_N) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(times_N) - 1)
    return np.where(at_M - times_N[before] <= times_N[after] - at_M, before, after)


def _picked(video: VideoInfo, indices_N: np.ndarray) -> Iterator[np.ndarray]:
    wanted = iter(indices_N.tolist())
    index = next(wanted, None)
    for frame in media.frames_of(video, int(indices_N[0]) if len(indices_N) else 0):
        picture = None
        while index is not None and frame.index == index:
            picture = np.rint(frame.rgb() * 255).astype(np.uint8) if picture is None else picture
            yield picture
            index = next(wanted, None)
        if index is None:
            return


def _drawn_track(folder: Path, video: VideoInfo) -> MouthTrack:
    label = json.loads((folder / LABEL).read_text(encoding="utf-8"))
    size, count = np.array([video.width, video.height]), video.frame_count
    center_N2 = np.array(label["mouth_center_xy"])[:count] / size
    return MouthTrack(
        video.times_N, center_N2, np.full(count, label["mouth_width"] / video.width), np.ones(count),
        np.full(count, "user"), np.zeros(count, int), (video.width, video.height),
    )  # fmt: skip
