"""LSE-C, LSE-D and the offset of a clip: its faces and its sound through SyncNet; the real clip as the floor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ..audio import SpeechWave, Wave
from ..errors import InputError
from ..media import VideoInfo
from .clip import Clip, face_crop, nearest, read_frames
from .measure import Column, Measure, Metric, OfWholeClip, Taken, WeightFile, digest
from .syncnet import FPS, SIDE, SyncNet, SyncScore, load_syncnet, score

WEIGHTS = WeightFile(
    "syncnet_v2.model", "robots.ox.ac.uk/~vgg/software/lipsync, and in huggingface.co/ByteDance/LatentSync-1.5 "
    "(auxiliary)", "its code is MIT; no licence is stated for the weights",
)  # fmt: skip
COLUMNS = (
    Column("lse_c", "LSE-C"), Column("lse_d", "LSE-D", "lower"), Column("offset", "offset, frames", "", 1),
)  # fmt: skip


def metric() -> Metric:
    return Metric("lse", COLUMNS, _build, "this project's SyncNet", (WEIGHTS,))


def sync_figures(net: SyncNet, clip: Clip) -> Taken:
    """Of the result with the new sound, and of the source with its own."""
    source, result = clip.source, clip.result
    across, down = result.width / source.width, result.height / source.height
    faces = clip.faces_N3[clip.at_source(result.times_N)] * [across, down, across]  # a tool may have scaled the picture
    made = score_video(net, result, faces, SpeechWave(clip.sound))
    floor = {}
    if source.has_audio:
        floor = _values(score_video(net, source, clip.faces_N3, SpeechWave(clip.row.video)))
    return Taken(_values(made), floor)


def score_video(net: SyncNet, video: VideoInfo, faces_N3: np.ndarray, wave: Wave) -> SyncScore:
    """A video of N frames whose sound `wave` runs on the clock of its file; faces as in `score_frames`."""
    begins = video.times_N[0] + video.start
    return score_frames(
        net, lambda frames: read_frames(video, frames), video.times_N, video.duration, faces_N3, wave, begins
    )


def score_frames(
    net: SyncNet, read: Callable[[np.ndarray], Iterator[np.ndarray]], times_N: np.ndarray, duration: float,
    faces_N3: np.ndarray, wave: Wave, begins: float = 0.0,
) -> SyncScore:  # fmt: skip
    """The longest stretch in which a face's place is known (middle x, y and side in pixels; NaN: not).

    `read` gives the pictures of growing frame numbers; the first is shown when the sound is `begins` seconds old.
    InputError: no such stretch of 0.24 s, or no sound there.
    """
    frames, start = longest_stretch(times_N, duration, faces_N3)
    if not len(frames):
        raise InputError("no mouth is known in this clip; point at it (mouth_x, mouth_y of a list; Mouth Track)")

    def crops() -> Iterator[np.ndarray]:
        for picture, face in zip(read(frames), faces_N3[frames], strict=True):
            yield face_crop(picture, tuple(face), SIDE)

    start += begins
    stop = max(start, min(start + len(frames) / FPS, wave.duration))
    return score(net, crops(), wave.read(start, stop))


def longest_stretch(times_N: np.ndarray, duration: float, faces_N3: np.ndarray) -> tuple[np.ndarray, float]:
    """The frames to show 25 times a second, and how many seconds after the first frame they begin."""
    after = np.arange(max(1, round(duration * FPS))) / FPS
    frames = nearest(times_N, times_N[0] + after)
    known = np.isfinite(faces_N3[frames]).all(1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known.astype(int), [0]])))
    runs = edges.reshape(-1, 2).tolist()
    if not runs:
        return np.zeros(0, int), 0.0
    first, last = max(runs, key=lambda run: run[1] - run[0])
    return frames[first:last], float(after[first])


def _values(found: SyncScore) -> dict[str, float]:
    return {"lse_c": found.confidence, "lse_d": found.distance, "offset": float(found.offset)}


def _build(folder: Path | None, device: str) -> Measure:
    path = WEIGHTS.find(folder)
    net = load_syncnet(path).to(torch.device(device))
    return OfWholeClip(partial(sync_figures, net), f"1 {digest(path)}")
