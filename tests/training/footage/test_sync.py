"""A clip's offset is found where picture and sound agree best."""

import numpy as np
import pytest
import torch
from torch import nn

from omnisync_core.training.footage.sync import FURTHEST, Sync, measure_sync


class Said:
    """A clip whose frames and sounds are one random curve, the sound `late` frames behind."""

    def __init__(self, late: int, length: int = 60):
        self.length, self._late = length, late
        self._curve = np.random.default_rng(1).random(length + 60).astype(np.float32)

    def faces(self, first):
        return np.full((4, 3, 2, 2), self._curve[first + 30])

    def mel(self, first):
        return np.full((80, 13), self._curve[first + 30 - self._late])


class Angle(nn.Module):
    """Unit vectors whose angle is the level; cosines are 1 where levels are equal."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(np.pi / 2, dtype=torch.float32))

    def forward(self, x):
        angle_B = x.flatten(1).mean(1) * self.scale
        return torch.stack([angle_B.cos(), angle_B.sin()], 1)


class Judge(nn.Module):
    def __init__(self):
        super().__init__()
        self.visual_encoder, self.audio_encoder = Angle(), Angle()

    def watch(self, faces):
        return faces


@pytest.mark.parametrize("late", [0, 3, -7, FURTHEST])
def test_the_shift_is_found(late):
    found = measure_sync(Said(late), Judge())
    assert found.offset == late
    assert 0.05 < found.confidence < 1


def test_a_clip_too_short_is_not_measured():
    assert measure_sync(Said(0, length=2 * FURTHEST), Judge()) is None
    assert measure_sync(Said(0, length=2 * FURTHEST + 1), Judge()) == Sync(0, pytest.approx(0.2, abs=0.2))
