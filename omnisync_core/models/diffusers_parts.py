"""Parts of transformers under the names that diffusers gives them. Shapes: N sequences, L tokens, C channels.

Products are taken in place on what a layer has just made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Attention


@dataclass(frozen=True)
class Maker:
    """What every part is built with."""

    operations: Any
    make: dict
    attention: Attention
    heads: int

    def linear(self, inputs: int, outputs: int, bias: bool = True) -> nn.Module:
        return self.operations.Linear(inputs, outputs, bias=bias, **self.make)

    def layer_norm(self, width: int) -> nn.Module:
        return self.operations.LayerNorm(width, **self.make)


class CrossAttention(nn.Module):
    def __init__(self, width: int, context_width: int, maker: Maker) -> None:
        super().__init__()
        self.heads, self.attention = maker.heads, maker.attention
        self.to_q = maker.linear(width, width, bias=False)
        self.to_k = maker.linear(context_width, width, bias=False)
        self.to_v = maker.linear(context_width, width, bias=False)
        self.to_out = nn.ModuleList([maker.linear(width, width)])

    def forward(self, x_NLC: Tensor, context_NMD: Tensor, hints: dict) -> Tensor:
        q, k, v = self.to_q(x_NLC), self.to_k(context_NMD), self.to_v(context_NMD)
        return self.to_out[0](self.attention(q, k, v, self.heads, **hints))


class Positions(nn.Module):
    """Adds a table of positions, which the checkpoint holds."""

    def __init__(self, positions: int, width: int, device: Any) -> None:
        super().__init__()
        self.register_buffer("pe", torch.zeros(1, positions, width, device=device))

    def forward(self, x_NLC: Tensor) -> Tensor:
        return x_NLC + self.pe[:, : x_NLC.shape[1]].to(x_NLC)


class FeedForward(nn.Module):
    """Gated by an exact GELU, four times as wide. `net.1` was dropout."""

    def __init__(self, width: int, maker: Maker) -> None:
        super().__init__()
        gated, back = GatedProjection(width, 4 * width, maker), maker.linear(4 * width, width)
        self.net = nn.ModuleList([gated, nn.Identity(), back])

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](self.net[0](x))


class GatedProjection(nn.Module):
    def __init__(self, inputs: int, outputs: int, maker: Maker) -> None:
        super().__init__()
        self.proj = maker.linear(inputs, 2 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, -1)
        return F.gelu(gate).mul_(value)
