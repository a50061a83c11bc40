"""Every size law of a window of video, written once."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class VideoSpec:
    """How an engine sees video: strides, window lengths (frames) and crop (pixels).

    A causal video VAE maps 1 + 4k frames to 1 + k latent frames: the first latent frame holds one frame, each later
    one holds `temporal_stride` frames.
    """

    temporal_stride: int = 4
    spatial_stride: int = 8
    latent_channels: int = 16
    crop_size: int = 96
    crop_scale: float = 2.4
    """Side of the crop over the width of the mouth."""
    head_scale: float = 0.0
    """Side of the crop over the spread of brows and nose (see `crop/region.py`), where these are known; 0: the mouth's
    width alone tells it."""
    window_frames: int = 17
    overlap_frames: int = 5
    max_fps: float = 30.5
    """Faster video is edited at every second (third, ...) frame; the edit is interpolated between."""
    mouth_height: float = 0.5
    """Where the mouth lies in the crop, from its top: more than half shows more of the face above."""
    shared_noise: bool = False
    """Whether every window is given the same seed; else each has its own."""

    def __post_init__(self) -> None:
        if self.pad_frames(self.window_frames) != self.window_frames:
            raise ValueError(f"window_frames must be 1 + {self.temporal_stride}k, got {self.window_frames}")
        if not 0 < self.mouth_height < 1:
            raise ValueError(f"mouth_height must be within 0..1, got {self.mouth_height}")
        if not 0 <= self.overlap_frames < self.window_frames:
            raise ValueError(f"overlap_frames must be within 0..{self.window_frames - 1}, got {self.overlap_frames}")

    def latent_frames(self, frames: int) -> int:
        """Latent frames of a clip of `frames` frames (which must be 1 + 4k)."""
        if frames < 1 or (frames - 1) % self.temporal_stride:
            raise ValueError(f"a clip needs 1 + {self.temporal_stride}k frames, got {frames}")
        return (frames - 1) // self.temporal_stride + 1

    def pad_frames(self, frames: int) -> int:
        """The smallest 1 + 4k that is not below `frames`."""
        return 1 + -(-max(frames - 1, 0) // self.temporal_stride) * self.temporal_stride

    def frame_stride(self, fps: float) -> int:
        """Every how many frames of a video of `fps` are edited."""
        return max(1, math.ceil(fps / self.max_fps))
