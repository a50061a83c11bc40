"""X-Dub's small transformer over the sound: each latent frame's features are brought to the network's width.

Names are the official checkpoint's. Shapes: f latent frames of B clips as one batch, P features each.
"""

from __future__ import annotations

from torch import Tensor, nn

from ...models.diffusers_parts import CrossAttention, FeedForward, Maker, Positions
from .config import XDubConfig


class AudioEmbedding(nn.Module):
    """(B, f, P, sound) -> (B, f, P, D). Features attend to those of their own latent frame."""

    def __init__(self, config: XDubConfig, maker: Maker) -> None:
        super().__init__()
        self.proj_in = maker.linear(config.audio_dim, config.audio_width)
        self.layers = nn.ModuleList(AudioLayer(config, maker) for _ in range(config.audio_depth))
        self.proj_out = maker.linear(config.audio_width, config.width)

    def forward(self, audio_BfPA: Tensor, hints: dict) -> Tensor:
        x = self.proj_in(audio_BfPA).flatten(0, 1)
        for layer in self.layers:
            x = layer(x, hints)
        return self.proj_out(x).unflatten(0, audio_BfPA.shape[:2])


class AudioLayer(nn.Module):
    """Positions go into the attention alone, not along with what passes by it."""

    def __init__(self, config: XDubConfig, maker: Maker) -> None:
        super().__init__()
        width = config.audio_width
        self.norm1 = maker.layer_norm(width)
        self.attn = CrossAttention(width, width, maker)
        self.norm2 = maker.layer_norm(width)
        self.ff = FeedForward(width, maker)
        self.pos_embed = Positions(config.audio_positions, width, maker.make.get("device"))

    def forward(self, x: Tensor, hints: dict) -> Tensor:
        placed = self.pos_embed(self.norm1(x))
        x = x + self.attn(placed, placed, hints)
        return x + self.ff(self.norm2(x))
