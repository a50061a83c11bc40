"""The frames of an IMAGE or of a VIDEO with their times, one at a time; a file is streamed, never held."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from comfy_api.latest import Input, InputImpl

from ..omnisync_core import media
from ..omnisync_core.audio import loudness
from ..omnisync_core.errors import InputError
from ..omnisync_core.mouth import MouthTrack
from ..omnisync_core.mouth.looks import hearing, small_frames
from ..omnisync_core.mouth.speaking import Hear
from .host.video import open_video, working_folder
from .types import mono_wave, rgb_frames

USUAL_FPS = 25
"""Of an IMAGE, which has no frame rate."""


@dataclass(frozen=True)
class Pictures:
    """Frames in memory (N, H, W, 3), 0..1."""

    images: torch.Tensor
    fps: Fraction | float = USUAL_FPS
    hear: Hear | None = None
    """How loud their own sound is at times."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.images.shape[2], self.images.shape[1]

    @property
    def count(self) -> int:
        return len(self.images)

    @property
    def times(self) -> np.ndarray:
        """When each frame is shown, seconds."""
        return np.arange(self.count) / float(self.fps)

    def read(self) -> Iterator[tuple[float, np.ndarray]]:
        """(seconds, picture (H, W, 3))."""
        for time, image in zip(self.times, self.images, strict=True):
            yield float(time), image.float().cpu().numpy()

    def pictures(self, numbers_K: np.ndarray) -> Iterator[np.ndarray]:
        """Frames by number, whole, uint8 (H, W, 3)."""
        for number in numbers_K.tolist():
            yield (self.images[number].float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


@dataclass(frozen=True)
class File:
    """Frames of a file, read small as the pipeline does where it looks for a mouth."""

    video: media.VideoInfo

    @property
    def size(self) -> tuple[int, int]:
        return self.video.width, self.video.height

    @property
    def count(self) -> int:
        return self.video.frame_count

    @property
    def times(self) -> np.ndarray:
        return self.video.times_N

    @property
    def hear(self) -> Hear:
        return hearing(self.video)

    def read(self) -> Iterator[tuple[float, np.ndarray]]:
        return small_frames(self.video)

    def pictures(self, numbers_K: np.ndarray) -> Iterator[np.ndarray]:
        """Frames by growing number, in the file's size, uint8 (H, W, 3)."""
        from ..omnisync_core.bench.clip import read_frames

        return read_frames(self.video, numbers_K)


@contextmanager
def open_frames(source, fps: float = USUAL_FPS, seconds: float | None = None) -> Iterator[Pictures | File]:
    """The frames of an IMAGE (shown at `fps`) or of a VIDEO (at its own times), those of the first `seconds` alone.

    InputError: neither, or no frames.
    """
    if isinstance(source, torch.Tensor):
        yield Pictures(_first(rgb_frames(source), fps, seconds), fps)
    elif not isinstance(source, Input.Video):
        raise InputError(f"source must be IMAGE or VIDEO, got {type(source).__name__}; connect Load Video")
    elif isinstance(source, InputImpl.VideoFromComponents):
        parts = source.get_components()
        images = _first(rgb_frames(parts.images, "the video"), parts.frame_rate, seconds)
        yield Pictures(images, parts.frame_rate, _hearing(parts.audio))
    else:
        with working_folder() as folder:
            part = open_video(source, folder, lossless=False)
            if seconds is not None:
                part = replace(part, stop=min(part.start + seconds, part.stop or math.inf))
            yield File(media.probe_video(part))


def refuse_other(track: MouthTrack, frames: Pictures | File) -> None:
    """InputError: the track is of another number of frames."""
    if len(track.pts_N) != frames.count:
        raise InputError(
            f"the mouth track has {len(track.pts_N)} frames, the source {frames.count}: connect its own track"
        )


def _hearing(sound) -> Hear | None:
    if not sound or not sound["waveform"].numel():
        return None
    wave = mono_wave(sound)
    return lambda times_N: loudness(wave, times_N)


def _first(images_NHWC: torch.Tensor, fps: float, seconds: float | None) -> torch.Tensor:
    return images_NHWC if seconds is None else images_NHWC[: max(1, math.ceil(seconds * float(fps)))]
