"""Dynamic spatiotemporal classifier-free guidance (DS-CFG): strong at the mouth and early, weak elsewhere and late."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from . import CONVENTIONS

BOUNDS = {"w_peak": (0.0, 100.0), "w_base": (0.0, 100.0), "gamma": (0.0, 100.0), "sigma_g": (0.01, 100.0)}
"""What each weight of a `Guidance` may be; widgets offer a part of it."""


@dataclass(frozen=True)
class Guidance:
    """Weights of DS-CFG.

    With G(x, y) = w_base + (w_peak - w_base) * exp(-d^2 / 2 sigma_g^2), d the distance to the mouth, and
    s = sigma ^ gamma: `paper` multiplies by `G * w_peak * s` as printed (up to w_peak^2), `normalised` by `G * s`,
    `floored` by `1 + (G - 1) * s`, which fades to the conditional prediction instead of the unconditional one.
    """

    w_peak: float = 2.0
    w_base: float = 1.0
    gamma: float = 1.5
    sigma_g: float = 0.7
    """Width of the Gaussian, in mouth widths."""
    convention: str = "floored"

    def __post_init__(self) -> None:
        for name, (low, high) in BOUNDS.items():
            value = vars(self)[name]
            if not (math.isfinite(value) and low <= value <= high):
                raise InputError(f"{name} must be a number within {low:g}..{high:g}, got {value}")
        if self.convention not in CONVENTIONS:
            raise InputError(f"convention must be one of {', '.join(CONVENTIONS)}, got {self.convention!r}")

    @property
    def is_off(self) -> bool:
        """Whether the weight is 1 everywhere and always, so that the unconditional pass can be left out."""
        steady = self.convention == "floored" or self.gamma == 0
        return steady and self.w_peak == self.w_base == 1

    def weight(self, sigma: float | Tensor, mouth_T3: Tensor, size: tuple[int, int]) -> Tensor:
        """Weight per position. mouth_T3: centre x, y and mouth width, all over the side of the picture; size (h, w).

        Returns (T, h, w) float32.
        """
        spatial = self.w_base + (self.w_peak - self.w_base) * gaussian(mouth_T3, size, self.sigma_g)
        time = float(sigma) ** self.gamma
        if self.convention == "paper":
            return spatial * self.w_peak * time
        if self.convention == "normalised":
            return spatial * time
        return 1 + (spatial - 1) * time


def gaussian(mouth_T3: Tensor, size: tuple[int, int], sigma_g: float) -> Tensor:
    """exp(-d^2 / 2 s^2) around each mouth, s = sigma_g * mouth width; (T, h, w), positions at pixel centres.

    A mouth without width is a point.
    """
    height, width = size
    y = (torch.arange(height, device=mouth_T3.device) + 0.5) / height
    x = (torch.arange(width, device=mouth_T3.device) + 0.5) / width
    center_x, center_y, mouth_width = (value.reshape(-1, 1, 1) for value in mouth_T3.float().unbind(-1))
    distance = (x - center_x) ** 2 + (y[:, None] - center_y) ** 2
    return torch.exp(-distance / (2 * (sigma_g * mouth_width).clamp(min=1e-4) ** 2))


def guide(unconditional: Tensor, conditional: Tensor, weight: Tensor) -> Tensor:
    """`u + w * (c - u)`, the weight broadcast over batch and channels."""
    return unconditional + weight.to(conditional.dtype) * (conditional - unconditional)


def mouth_per_latent_frame(mouth_T3: Tensor, stride: int) -> Tensor:
    """The mouth's mean position over the frames of each latent frame: frame 0 alone, then groups of `stride`."""
    first, rest = mouth_T3[:1], mouth_T3[1:]
    return torch.cat([first, rest.reshape(-1, stride, mouth_T3.shape[-1]).mean(1)])
