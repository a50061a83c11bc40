"""Parts shared by the networks. Shapes: B batch, L tokens, D width, H heads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Attention = Callable[..., Tensor]
"""(q_BLD, k_BMD, v_BMD, heads, **hints) -> BLD. The host injects its own; `attend` is the default."""


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Scaled dot product attention over flattened heads."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)


def attend_plainly(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """The same by two matrix products; its backward is several times faster on CPU."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(-2)


def two_layers(
    inputs: int, hidden: int, outputs: int, between: nn.Module, make: dict, operations: Any
) -> nn.Sequential:
    """Linear layers `0` and `2` with an activation between."""
    first, second = operations.Linear(inputs, hidden, **make), operations.Linear(hidden, outputs, **make)
    return nn.Sequential(first, between, second)


def timestep_embedding(t_B: Tensor, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Sinusoids of t (0..1000), cosines first, reckoned in `dtype`; (B, width)."""
    frequencies = torch.exp(-math.log(10000) * torch.arange(width // 2, device=t_B.device).to(dtype) / (width // 2))
    angles = t_B.to(dtype)[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)


def rope_axes(head_dim: int) -> tuple[int, int, int]:
    """How a head's channels are shared by time, height and width (Wan's division)."""
    side = 2 * (head_dim // 6)
    return head_dim - 2 * side, side, side


def rope_table(
    grid: tuple[int, int, int],
    head_dim: int,
    device: torch.device | str | None,
    start: tuple[int, int, int] = (0, 0, 0),
) -> Tensor:
    """cos and sin of the 3D rotary embedding for every token of a (t, h, w) grid: (2, L, 1, head_dim / 2) float32.

    start: place of the first token.
    """
    angles = []
    for axis, (length, channels) in enumerate(zip(grid, rope_axes(head_dim), strict=True)):
        frequencies = 10000.0 ** (-torch.arange(0, channels, 2, device=device).float() / channels)
        shape = [1, 1, 1, channels // 2]
        shape[axis] = length
        places = torch.arange(start[axis], start[axis] + length, device=device)
        table = places.float()[:, None] * frequencies
        angles.append(table.reshape(shape).expand(*grid, channels // 2))
    angles = torch.cat(angles, -1).flatten(0, 2)[:, None]
    return torch.stack([angles.cos(), angles.sin()])


def rotate(x_BLD: Tensor, table: Tensor, heads: int) -> Tensor:
    """Rotate every head's channel pairs (i, i + head_dim / 2) by the table's angles."""
    cos, sin = table.to(x_BLD.dtype)
    x = x_BLD.unflatten(-1, (heads, -1))
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).flatten(-2)


def rotate_pairs(x_BLD: Tensor, table: Tensor, heads: int) -> Tensor:
    """The same on the neighbouring pairs (2 i, 2 i + 1), as Wan's published weights have them."""
    cos, sin = table.to(x_BLD.dtype)
    first, second = x_BLD.unflatten(-1, (heads, -1, 2)).unbind(-1)
    turned = torch.stack([first * cos - second * sin, second * cos + first * sin], -1)
    return turned.flatten(-3)
