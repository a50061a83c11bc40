"""How X-Dub draws a window: Euler steps along three branches whose weights follow the noise level.

The branches: "none" (u) neither sees the source nor hears, "ref" (r) sees the source, "full" (f) hears too. Shapes:
latents (1, C, f, H, W), k latent frames of motion. Convention of `flow.py`: sigma 1 = noise, v = eps - x0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ...diffusion import flow
from ...errors import InputError

BRANCHES = ("none", "ref", "full")
SHIFT = 5.0
MOST_NOISE = 0.95
"""What the border holds at most: a little of the source is there from the start."""
AUDIO_POWER = 1.5
REFERENCE_SHARES = ((0.85, 1.0), (0.45, 0.6), (0.0, 0.3))
"""The reference's weight from a noise level on, as a share of its scale."""
BEND = 0.1
"""Noise levels below a bound over which one share goes over into the next, along half a cosine."""

Velocity = Callable[[Tensor, float, tuple[str, ...]], Tensor]
"""(latents, sigma, N branches) -> (N, C, f, H, W)."""


def sigmas(steps: int) -> Tensor:
    """steps + 1 noise levels from 1 to 0, shifted as the model was trained: 30 give 1, .9932, ... .1471, 0."""
    return flow.shift_sigmas(flow.linear_sigmas(steps), SHIFT)


def audio_weight(sigma: float, scale: float) -> float:
    """How far v goes from r to f and beyond: strong where lips are placed, weak where they are finished."""
    return scale * sigma**AUDIO_POWER


def reference_weight(sigma: float, scale: float) -> float:
    """How far v goes from u to r and beyond; three levels with bends between."""
    for (bound, share), (_, below) in pairwise(REFERENCE_SHARES):
        if sigma >= bound:
            return scale * share
        if sigma >= bound - BEND:
            way = (bound - sigma) / BEND
            return scale * (share + (below - share) * (1 - math.cos(math.pi * way)) / 2)
    return scale * REFERENCE_SHARES[-1][1]


def sample(
    velocity: Velocity,
    noise: Tensor,
    ref_latents: Tensor,
    sigmas: Tensor | Sequence[float],
    *,
    motion_latents: Tensor | None = None,
    ref_cfg_scale: float = 2.5,
    audio_cfg_scale: float = 10.0,
    dynamic: bool = True,
    border: int = 1,
    reuse: int = 1,
    unguided_below: float = 0.0,
    on_step: Callable[[int, int], None] = lambda step, steps: None,
) -> Tensor:
    """Latents of the edited window, from noise.

    sigmas (S + 1,), the last 0. motion_latents (1, C, k, H, W): finished frames, in their place at every level.
    dynamic False: the weights are the two scales at all levels. border: outermost latent cells that stay the source's.
    reuse: every how many steps all branches are asked; between, "full" alone, with the differences found before.
    unguided_below: under this noise level "full" alone, without guidance. `on_step(done, steps)` after each step;
    raising in it cancels. velocity is asked once a step, for all its branches; inputs stay as they are.
    """
    if reuse < 1:
        raise InputError(f"reuse must be at least 1 (all branches at every step), got {reuse}")
    levels = torch.as_tensor(sigmas)
    hold = _Held(noise, ref_latents, motion_latents, border)
    guided = _Guided(velocity, ref_cfg_scale, audio_cfg_scale, dynamic, reuse, unguided_below)

    def finish_step(index: int, x: Tensor) -> Tensor:
        on_step(index + 1, len(levels) - 1)
        return hold(x, float(levels[index + 1]))

    return flow.euler(guided, hold(noise, float(levels[0])), levels, finish_step)


class _Held:
    """Puts border and motion in their place at a noise level."""

    def __init__(self, noise: Tensor, ref_latents: Tensor, motion_latents: Tensor | None, border: int) -> None:
        self._noise, self._ref, self._motion = noise, ref_latents, motion_latents
        self._inside = torch.zeros(noise.shape[-2:], dtype=torch.bool, device=noise.device)
        height, width = noise.shape[-2:]
        self._inside[border : max(height - border, 0), border : max(width - border, 0)] = True

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        edge = flow.add_noise(self._ref, self._noise, min(sigma, MOST_NOISE))
        x = torch.where(self._inside, x, edge)
        if self._motion is not None:
            x[:, :, : self._motion.shape[2]] = self._motion
        return x


class _Guided:
    """v = u + w_r (r - u) + w_a (f - r), reckoned from f: what is not asked anew is kept as differences."""

    def __init__(
        self, velocity: Velocity, ref_scale: float, audio_scale: float, dynamic: bool, reuse: int, unguided_below: float
    ) -> None:
        self._velocity, self._scales, self._dynamic = velocity, (ref_scale, audio_scale), dynamic
        self._reuse, self._below, self._step = reuse, unguided_below, 0
        self._differences: Tensor | None = None

    def __call__(self, x: Tensor, level: Tensor) -> Tensor:
        sigma, step = float(level), self._step
        self._step += 1
        if sigma < self._below:
            return self._velocity(x, sigma, ("full",)).float()
        if step % self._reuse == 0 or self._differences is None:
            u, r, full = self._velocity(x, sigma, BRANCHES).float().split(1)
            self._differences = torch.cat([r - u, full - r])
        else:
            full = self._velocity(x, sigma, ("full",)).float()
        ref, audio = self._differences.split(1)
        w_r, w_a = self._weights(sigma)
        return full + (w_r - 1) * ref + (w_a - 1) * audio

    def _weights(self, sigma: float) -> tuple[float, float]:
        ref, audio = self._scales
        return (reference_weight(sigma, ref), audio_weight(sigma, audio)) if self._dynamic else (ref, audio)
