"""The flow: straight paths between data and noise, and the way back. Equations as in the paper.

`sigma` in [0, 1] is the noise level, 1 = noise. `x_sigma = (1 - sigma) * x0 + sigma * eps`, `v = dx/dsigma = eps - x0`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import InputError


def add_noise(x0: Tensor, eps: Tensor, sigma: Tensor | float) -> Tensor:
    """The point at `sigma` on the straight path; with sigma = tau the paper's progressive start, equation (5)."""
    sigma = _like(sigma, x0)
    return (1 - sigma) * x0 + sigma * eps


def velocity(x_sigma: Tensor, x0: Tensor, sigma: Tensor | float) -> Tensor:
    """Velocity of the straight path through `x_sigma` that ends in `x0`; sigma must be above 0."""
    return (x_sigma - x0) / _like(sigma, x0)


def clean(x_sigma: Tensor, v: Tensor, sigma: Tensor | float) -> Tensor:
    """The data point that a velocity aims at: `x0 = x_sigma - sigma * v`."""
    return x_sigma - _like(sigma, x_sigma) * v


def linear_sigmas(steps: int, tau: float = 1.0) -> Tensor:
    """`steps` + 1 levels from tau to 0, evenly spaced. (steps + 1,) float32."""
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    if not 0 < tau <= 1:
        raise InputError(f"tau must be in (0, 1], got {tau}")
    return torch.linspace(tau, 0, steps + 1)


def shift_sigmas(sigmas: Tensor, shift: float) -> Tensor:
    """Timestep shift of large models: `s * sigma / (1 + (s - 1) * sigma)`, rescaled to keep the first level."""
    shifted = shift * sigmas / (1 + (shift - 1) * sigmas)
    return shifted * (sigmas[0] / shifted[0])


def euler(
    velocity_of: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    sigmas: Tensor,
    on_step: Callable[[int, Tensor], Tensor] | None = None,
) -> Tensor:
    """Integrate `dx/dsigma = velocity_of(x, sigma)` along `sigmas`.

    `on_step(index of the finished step, x)` returns the state to go on from; raising in it cancels.
    """
    for index in range(len(sigmas) - 1):
        x = x + (sigmas[index + 1] - sigmas[index]) * velocity_of(x, sigmas[index])
        if on_step is not None:
            x = on_step(index, x)
    return x


def _like(sigma: Tensor | float, x: Tensor) -> Tensor | float:
    """A batch of sigmas shaped so that it broadcasts over the rest of x."""
    if isinstance(sigma, Tensor) and sigma.ndim == 1:
        return sigma.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)
    return sigma
