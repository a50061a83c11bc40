"""SyncNet (Chung and Zisserman 2016): does a mouth go with a sound? LSE-D, LSE-C (Prajwal et al. 2020) and the offset.

The network is that of the public `syncnet_v2.model`, key by key; its front end is the public evaluation's: 25 frames a
second of 224 x 224 (BGR, 0..255), 13 cepstra of 16 bit sound at 16 kHz, 100 a second. N windows of 5 frames (0.2 s).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import fft
from torch import Tensor, nn

from ..checkpoint import load_strictly
from ..errors import InputError
from ..models.published import read_content, tensors_of

FPS, SIDE, WINDOW = 25, 224, 5
RATE, CEPSTRA, PER_FRAME = 16000, 13, 4
"""Samples and cepstra; cepstra a frame."""
REACH = 15
"""Frames by which the sound is tried early and late."""
SHORTEST = WINDOW + 1
BATCH = 20
_FFT, _FRAME, _HOP, _FILTERS, _LIFTER, _EMPHASIS = 512, 400, 160, 26, 22, 0.97
_TINY = np.finfo(np.float64).eps


@dataclass(frozen=True)
class SyncScore:
    """What SyncNet says of a clip."""

    confidence: float
    """LSE-C: median over the offsets minus the least distance; higher is better."""
    distance: float
    """LSE-D: the least mean distance; lower is better."""
    offset: int
    """Frames (1/25 s) by which the sound comes before the mouth; 0 is in time."""


class SyncNet(nn.Module):
    """Lips (N, 3, 5, 224, 224) and cepstra (N, 1, 13, 20) to 1024 numbers each; near where they go together."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_conv2d(1, 64), nn.MaxPool2d(1, 1), *_conv2d(64, 192), nn.MaxPool2d(3, (1, 2)), *_conv2d(192, 384),
            *_conv2d(384, 256), *_conv2d(256, 256), nn.MaxPool2d(3, 2), *_conv2d(256, 512, (5, 4), 0),
        )  # fmt: skip
        self.netfcaud = _head()
        self.netfclip = _head()
        self.netcnnlip = nn.Sequential(
            *_conv3d(3, 96, (5, 7, 7), 2, 0), nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_conv3d(96, 256, (1, 5, 5), 2, 1), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_conv3d(256, 256), *_conv3d(256, 256), *_conv3d(256, 256), nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_conv3d(256, 512, (1, 6, 6), 1, 0),
        )  # fmt: skip

    def lips(self, frames_N3THW: Tensor) -> Tensor:
        return self.netfclip(self.netcnnlip(frames_N3THW).flatten(1))

    def sound(self, cepstra_N1CF: Tensor) -> Tensor:
        return self.netfcaud(self.netcnnaud(cepstra_N1CF).flatten(1))


def load_syncnet(path: str | Path) -> SyncNet:
    """The public file (or a safetensors copy). CheckpointError: damaged, or of another network."""
    net = SyncNet().eval().requires_grad_(False)
    tensors = tensors_of(read_content(Path(path)), "state_dict", path)
    # Counters of training steps, which old files do not hold, decide nothing.
    counters = {key: value for key, value in net.state_dict().items() if key.endswith("num_batches_tracked")}
    load_strictly(net, counters | tensors, str(path))
    return net


def score(net: SyncNet, crops: Iterable[np.ndarray], wave_S: np.ndarray) -> SyncScore:
    """A face's crops (224, 224, 3), RGB uint8, 25 a second, against the sound (S,), float -1..1 at 16 kHz.

    InputError: fewer than 6 frames of either.
    """
    cepstra_FC = mfcc(as_16_bit(wave_S))
    most = len(wave_S) * FPS // RATE
    lips, frames = [], 0
    for batch, read in _windows(crops):
        frames = read
        if len(batch):
            with torch.inference_mode():
                lips.append(net.lips(batch.to(_device(net))).cpu())
    count = min(frames, most)
    if count < SHORTEST:
        raise InputError(f"SyncNet needs {SHORTEST} frames (0.24 s) of face and sound, this clip has {count}")
    windows = count - WINDOW  # as the public evaluation counts: the last window is left out
    heard = [cepstra_FC[PER_FRAME * at : PER_FRAME * (at + WINDOW)].T for at in range(windows)]
    sounds = []
    for start in range(0, windows, BATCH):
        part = torch.from_numpy(np.stack(heard[start : start + BATCH])).float()[:, None]
        with torch.inference_mode():
            sounds.append(net.sound(part.to(_device(net))).cpu())
    return compare(torch.cat(lips)[:windows], torch.cat(sounds))


def compare(lips_ND: Tensor, sounds_ND: Tensor) -> SyncScore:
    """Distances of every window's lips to the sound up to `REACH` frames before and after; zeros beyond its ends."""
    padded = F.pad(sounds_ND, (0, 0, REACH, REACH))
    moved = [padded[shift : shift + len(lips_ND)] for shift in range(2 * REACH + 1)]
    mean_S = torch.stack([F.pairwise_distance(lips_ND, sound).mean() for sound in moved])
    least, at = mean_S.min(0)
    return SyncScore(float(mean_S.median() - least), float(least), REACH - int(at))


def as_16_bit(wave_S: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(np.asarray(wave_S, np.float64) * 32768), -32768, 32767)


def mfcc(samples_S: np.ndarray) -> np.ndarray:
    """13 liftered cepstra (F, 13) of every 25 ms, 10 ms apart, the first of them the frame's log energy."""
    wave_S = np.asarray(samples_S, np.float64)
    wave_S = np.append(wave_S[:1], wave_S[1:] - _EMPHASIS * wave_S[:-1])
    frames = 1 + max(0, -(-(len(wave_S) - _FRAME) // _HOP))
    wave_S = np.pad(wave_S, (0, max(0, (frames - 1) * _HOP + _FRAME - len(wave_S))))
    cut_FW = np.lib.stride_tricks.sliding_window_view(wave_S, _FRAME)[::_HOP][:frames]
    power_FK = np.abs(fft.rfft(cut_FW, _FFT)) ** 2 / _FFT
    bands_FB = np.maximum(power_FK @ _bank().T, _TINY)
    cepstra_FC = fft.dct(np.log(bands_FB), norm="ortho")[:, :CEPSTRA]
    cepstra_FC *= 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(CEPSTRA) / _LIFTER)
    cepstra_FC[:, 0] = np.log(np.maximum(power_FK.sum(1), _TINY))
    return cepstra_FC


def _windows(crops: Iterable[np.ndarray]) -> Iterator[tuple[Tensor, int]]:
    """Batches of windows (N, 3, 5, 224, 224) and how many frames were read so far; memory is that of a batch."""
    held: list[Tensor] = []
    count = 0
    for count, crop in enumerate(crops, 1):
        if crop.shape != (SIDE, SIDE, 3):
            raise ValueError(f"SyncNet sees {SIDE} x {SIDE} x 3, got {crop.shape}")
        held.append(torch.from_numpy(np.ascontiguousarray(crop[..., ::-1])).permute(2, 0, 1).float())
        if len(held) == BATCH + WINDOW - 1:
            yield _stacked(held), count
            held = held[BATCH:]
    if len(held) >= WINDOW:
        yield _stacked(held), count
    elif count:
        yield torch.empty(0, 3, WINDOW, SIDE, SIDE), count


def _stacked(frames: list[Tensor]) -> Tensor:
    return torch.stack([torch.stack(frames[at : at + WINDOW], 1) for at in range(len(frames) - WINDOW + 1)])


@lru_cache(maxsize=1)
def _bank() -> np.ndarray:
    """26 triangles over the 257 bins, evenly on the mel scale from 0 to 8 kHz, corners on whole bins."""
    mel = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), _FILTERS + 2)
    corner = np.floor((_FFT + 1) * 700 * (10 ** (mel / 2595) - 1) / RATE)
    bins = np.arange(_FFT // 2 + 1)
    bank = np.zeros((_FILTERS, len(bins)))
    for number, (low, top, high) in enumerate(zip(corner, corner[1:], corner[2:], strict=False)):
        rising, falling = (bins >= low) & (bins < top), (bins >= top) & (bins < high)
        bank[number, rising] = (bins[rising] - low) / (top - low)
        bank[number, falling] = (high - bins[falling]) / (high - top)
    return bank


def _device(net: nn.Module) -> torch.device:
    return next(net.parameters()).device


def _conv2d(inputs: int, outputs: int, kernel: int | tuple[int, int] = 3, padding: int = 1) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, kernel, padding=padding), nn.BatchNorm2d(outputs), nn.ReLU()


def _conv3d(
    inputs: int, outputs: int, kernel: tuple[int, int, int] = (1, 3, 3), stride: int = 1, padding: int = 1
) -> tuple[nn.Module, ...]:
    conv = nn.Conv3d(inputs, outputs, kernel, (1, stride, stride), (0, padding, padding))
    return conv, nn.BatchNorm3d(outputs), nn.ReLU()


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))
