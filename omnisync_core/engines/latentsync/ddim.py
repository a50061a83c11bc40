"""Deterministic DDIM (Song et al., arXiv 2010.02502) over Stable Diffusion's noise levels, as LatentSync uses it.

`x_t = sqrt(a_t) x0 + sqrt(1 - a_t) eps`, a_t = the product of 1 - beta up to timestep t. State `i` is the one before
step `i`; the last state still holds the little noise of timestep 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from ...errors import InputError

TRAIN_STEPS = 1000
BETAS = 0.00085, 0.012


class Schedule:
    """`steps` timesteps, evenly spaced from high to 1: 20 give 951, 901, ... 51, 1."""

    def __init__(self, steps: int) -> None:
        if not 1 <= steps < TRAIN_STEPS:
            raise InputError(f"steps must be within 1..{TRAIN_STEPS - 1}, got {steps}")
        stride = TRAIN_STEPS // steps
        self.timesteps = tuple(1 + stride * index for index in reversed(range(steps)))
        before = [max(time - stride, 0) for time in self.timesteps]
        self._levels = alphas_cumprod()[[*self.timesteps, before[-1]]]
        self._after = alphas_cumprod()[before]

    def __len__(self) -> int:
        return len(self.timesteps)

    def step(self, index: int, x: Tensor, eps: Tensor) -> Tensor:
        """From state `index` to the next one, given the noise in x."""
        level, after = self._levels[index], self._after[index]
        clean = (x - (1 - level).sqrt() * eps) / level.sqrt()
        return after.sqrt() * clean + (1 - after).sqrt() * eps

    def noised(self, index: int, x0: Tensor, eps: Tensor) -> Tensor:
        """State `index` (0..steps) on the path of x0 with the noise eps."""
        level = self._levels[index]
        return level.sqrt() * x0 + (1 - level).sqrt() * eps


def sample(
    noise_in: Callable[[int, Tensor], Tensor],
    x: Tensor,
    schedule: Schedule,
    on_step: Callable[[int, Tensor], Tensor] = lambda index, x: x,
) -> Tensor:
    """From noise to data. `noise_in(index, x)` predicts the noise in state `index`.

    `on_step(index of the finished step, x)` returns the state to go on from; raising in it cancels.
    """
    for index in range(len(schedule)):
        x = on_step(index, schedule.step(index, x, noise_in(index, x)))
    return x


@lru_cache(maxsize=1)
def alphas_cumprod() -> Tensor:
    """a_t of the 1000 timesteps, float32: betas whose roots are evenly spaced."""
    first, last = (beta**0.5 for beta in BETAS)
    return torch.cumprod(1 - torch.linspace(first, last, TRAIN_STEPS, dtype=torch.float32) ** 2, 0)
