"""Weights and inputs that follow from their names alone: the same wherever they are made, no vector holds them."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from omnisync_core.training.latentsync.perceptual import PerceptualDistance
from omnisync_core.training.latentsync.syncnet import StableSyncNet, SyncNetConfig, TowerConfig
from omnisync_core.training.latentsync.videomae import VideoMAEConfig

SYNCNET = SyncNetConfig(
    TowerConfig(1, (32, 32, 64, 256), ((2, 1), (5, 2), (2, 2), (4, 13)), (False, False, True, False)),
    TowerConfig(12, (32, 64, 256), ((1, 2), (4, 4), (4, 8)), (False, True, False)),
    frames=4,
    resolution=32,
)
"""Every kind of block and of stride: pictures of 12 x 16 x 32, sounds of 80 x 52."""
VIDEOMAE = VideoMAEConfig(width=32, depth=2, heads=2, hidden=139, classes=3)


def numbers(name: str, *shape: int) -> Tensor:
    """Normal random numbers of the legacy generator, which numpy keeps as it is for ever."""
    return torch.as_tensor(np.random.RandomState(crc32(name.encode())).standard_normal(shape).astype(np.float32))


def fill(module: nn.Module) -> nn.Module:
    """Every tensor by its name: norms near the identity, matrices that keep the size of what goes through."""
    state = module.state_dict()
    for key, value in state.items():
        drawn = numbers(key, *value.shape)
        if value.ndim < 2:
            state[key] = 0.1 * drawn + float(key.endswith("weight"))
        else:
            state[key] = drawn / value[0].numel() ** 0.5
    module.load_state_dict(state)
    return module.eval().requires_grad_(False)


def syncnet() -> StableSyncNet:
    return fill(StableSyncNet(SYNCNET))


def perceptual() -> PerceptualDistance:
    network = fill(PerceptualDistance())
    for index in range(5):
        network.get_submodule(f"lin{index}").model[1].weight.abs_()
    return network
