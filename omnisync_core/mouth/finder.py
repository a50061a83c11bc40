"""The mouth finder: a small network that shows where mouths are in one picture, of people, cartoons and animals.

Trained on drawings alone (`training/mouth_finder.py`). A heatmap of mouths at an eighth of the picture's size (Zhou et
al. 2019, Objects as Points), and at every peak the mouth's width, roll and the middle between the eyes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..checkpoint import load_strictly, tensor_digest
from ..errors import CheckpointError
from .detect import Face

ASSET = Path(__file__).parents[1] / "assets" / "mouth_finder.safetensors"
CELL = 8
"""Pixels per cell of the heatmap."""
USUAL = 24.0
"""The width (pixels) at which the network's number for it is 0."""
SHORT_SIDE = 256
"""Of the picture that the network sees."""
STRIDE = 32
SURE = 0.35
"""Heat from which a peak is a mouth."""
MOST = 12
APART = 0.6
"""Mouth widths within which only the surer of two peaks counts."""


def find_mouths(rgb_HWC: np.ndarray, sure: float = SURE, short_side: int = SHORT_SIDE) -> list[Face]:
    """The mouths of a uint8 picture, the surest first; pixels of the picture."""
    height, width = rgb_HWC.shape[:2]
    scale = short_side / min(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(rgb_HWC, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    right, below = -size[0] % STRIDE, -size[1] % STRIDE
    small = cv2.copyMakeBorder(small, 0, below, 0, right, cv2.BORDER_REPLICATE)
    with torch.inference_mode():
        x = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 127.5 - 1
        out = _finder()(x.contiguous(memory_format=torch.channels_last))[0].float().numpy()
    across, along = width / size[0], height / size[1]
    faces = []
    for x, y, wide, roll, heat in _peaks(out, sure):
        x, y = x * across, y * along
        if 0 <= x < width and 0 <= y < height:
            faces.append(Face(x, y, wide * across, roll, heat, "finder"))
    return faces


def mouths_around(rgb_HWC: np.ndarray, x: float, y: float) -> list[Face]:
    """The mouths that are seen from far and, around a point, from near: unsure ones too, and some of them twice."""
    found = list(find_mouths(rgb_HWC, LEAST_SURE))
    for view in VIEWS:
        half = view * min(rgb_HWC.shape[:2]) / 2
        left, top = max(0, int(x - half)), max(0, int(y - half))
        part = rgb_HWC[top : int(y + half) + 1, left : int(x + half) + 1]
        if min(part.shape[:2]) >= 16:
            near = find_mouths(part, LEAST_SURE, VIEW)
            found += [replace(face, x=face.x + left, y=face.y + top) for face in near]
    return found


def mouth_at(found: Sequence[Face], x: float, y: float, reach: float) -> Face | None:
    """Of the mouths that were found, the one whose middle is at most `reach` of its widths from a point."""

    def worth(face: Face) -> float:
        far = np.hypot(face.x - x, face.y - y) / face.width
        return face.confidence * np.exp(-2 * far * far) if far <= reach else 0.0

    best = max(found, key=worth, default=None)
    return best if best is not None and worth(best) > 0 else None


def _peaks(out_7hw: np.ndarray, sure: float) -> list[tuple[float, ...]]:
    """x, y, width, roll, heat of the heatmap's peaks, pixels of the network's picture; none near a surer one."""
    heat = 1 / (1 + np.exp(-out_7hw[0]))
    highest = cv2.dilate(heat, np.ones((3, 3)))
    rows, columns = np.nonzero((heat >= highest) & (heat > sure))
    kept: list[tuple[float, ...]] = []
    for at in np.argsort(-heat[rows, columns])[: 4 * MOST]:
        row, column = rows[at], columns[at]
        _, dx, dy, wide, roll, _, _ = out_7hw[:, row, column]
        x, y = (column + 0.5 + dx) * CELL, (row + 0.5 + dy) * CELL
        width = USUAL * float(np.exp(np.clip(wide, -2, 3)))
        if all(np.hypot(x - a, y - b) > APART * max(width, c) for a, b, c, *_ in kept):
            kept.append((float(x), float(y), width, float(roll), float(heat[row, column])))
    return kept[:MOST]


def save_finder(path: str | Path, finder: MouthFinder) -> None:
    """As half precision, with the digest of its tensors."""
    tensors = {
        name: (value.half() if value.is_floating_point() else value).contiguous().clone()
        for name, value in finder.state_dict().items()
    }
    save_file(tensors, path, {"omnisync.digest": tensor_digest(tensors)})


def load_finder(path: str | Path = ASSET) -> MouthFinder:
    """Strict. CheckpointError: no such file, damaged, another network's."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is missing or damaged ({error}); copy it again") from None
    if metadata.get("omnisync.digest") != tensor_digest(tensors):
        raise CheckpointError(f"{path}: its digest does not fit its tensors; copy it again")
    finder = MouthFinder()
    load_strictly(finder, tensors, str(path))
    return finder.eval().to(memory_format=torch.channels_last)


@lru_cache(maxsize=1)
def _finder() -> MouthFinder:
    return load_finder()


Find = Callable[[np.ndarray], list[Face]]
"""A uint8 picture -> the mouths in it."""
VIEWS = (0.3, 0.5, 0.85)
"""Sides of the squares around a point in which its mouth is looked for, over the picture's shorter side."""
VIEW = 160
LEAST_SURE = 0.12


class MouthFinder(nn.Module):
    """(B, 3, H, W) in -1..1, sides multiples of 32 -> (B, 7, H / 8, W / 8).

    Channels: heat (logit); x and y from the cell's middle (cells); log of the width over USUAL; roll; the middle
    between the eyes from the mouth (mouth widths, x and y).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, 16, 2), _conv(16, 24, 2), _Block(24, groups=24))
        self.down = nn.ModuleList(
            nn.Sequential(_conv(a, b, 2), _Block(b), *(_Block(b, groups=b) for _ in range(more)))
            for a, b, more in ((24, 48, 1), (48, 80, 1), (80, 112, 1))
        )
        self.side = nn.ModuleList(nn.Conv2d(channels, 48, 1) for channels in (48, 80, 112))
        self.up = nn.ModuleList(_conv(48, 48, groups=48) for _ in range(2))
        self.head = nn.Sequential(_conv(48, 48), nn.Conv2d(48, 7, 1))
        nn.init.zeros_(self.head[1].bias)
        nn.init.constant_(self.head[1].bias[:1], -4)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        x, levels = self.stem(x_B3HW), []
        for down in self.down:
            x = down(x)
            levels.append(x)
        x = self.side[2](levels[2])
        for at in (1, 0):
            x = self.up[at](self.side[at](levels[at]) + nn.functional.interpolate(x, scale_factor=2.0))
        return self.head(x)


class _Block(nn.Module):
    def __init__(self, channels: int, groups: int = 1) -> None:
        super().__init__()
        self.first = _conv(channels, channels, groups=groups)
        self.second = _conv(channels, channels) if groups == 1 else _conv(channels, channels, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


def _conv(inputs: int, outputs: int, stride: int = 1, groups: int = 1, kernel: int = 3) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.SiLU())
