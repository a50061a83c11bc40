"""A frozen regressor that reads how a drawn mouth is held from pictures, to judge generated mouths by.

It sees a crop around the mouth's true place, so that it needs no tracker. Trained by `training/mouth_reader.py` on
training families only.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..checkpoint import load_strictly
from ..crop.region import Box, crop

WEIGHTS = Path(__file__).with_name("mouth_reader.safetensors")
CROP_SIZE = 48
CROP_SCALE = 2.0
"""Side of the crop over the mouth's resting width."""
CROP_DOWN = 0.2
"""The crop's centre lies this many widths below the mouth's: mouths open downwards."""
OUTPUTS = 5
"""As `synth.mouths.MOUTH_PARAMS`; the opening is the first."""


class MouthReader(nn.Module):
    """(B, 3, 48, 48) in -1..1 -> (B, 5) mouth parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_stage(3, 16, 5, 2), *_stage(16, 32, 3, 2), *_stage(32, 48, 3, 1), *_stage(48, 64, 3, 2),
            *_stage(64, 64, 3, 1), *_stage(64, 96, 3, 2),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(96 * 9, 96), nn.SiLU(), nn.Linear(96, OUTPUTS))

    def forward(self, crops_B3HW: Tensor) -> Tensor:
        return self.head(self.features(crops_B3HW))


def read_opening(frames_THWC: np.ndarray, center_T2: np.ndarray, width: float) -> np.ndarray:
    """The mouth's opening in each uint8 frame, (T,) float32; true centre and resting width of the mouth in pixels."""
    crops = np.stack([mouth_crop(frame, x, y, width) for frame, (x, y) in zip(frames_THWC, center_T2, strict=True)])
    with torch.inference_mode():
        parts = [_reader()(as_input(part)) for part in torch.as_tensor(crops).split(256)]
    return torch.cat(parts)[:, 0].numpy()


def mouth_crop(frame_HWC: np.ndarray, x: float, y: float, width: float) -> np.ndarray:
    """What the reader sees of a uint8 frame, uint8 (48, 48, 3); beyond the frame its edge repeats."""
    side = CROP_SCALE * width
    box = Box(x - side / 2, y + CROP_DOWN * width - side / 2, side)
    height, across = frame_HWC.shape[:2]

    def rgb(xyxy: tuple[int, int, int, int]) -> np.ndarray:
        x0, y0, x1, y1 = xyxy
        return frame_HWC[y0:y1, x0:x1].astype(np.float32)

    return np.clip(np.rint(crop(rgb, (across, height), box, CROP_SIZE)), 0, 255).astype(np.uint8)


def as_input(crops_BHWC: Tensor) -> Tensor:
    """uint8 crops as the reader takes them."""
    return crops_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1


@lru_cache(maxsize=1)
def _reader() -> MouthReader:
    reader = MouthReader()
    load_strictly(reader, load_file(WEIGHTS), str(WEIGHTS))
    return reader.eval()


def _stage(inputs: int, outputs: int, kernel: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()
