"""The parts of the UNet: residual blocks over all frames, attention within a frame, attention along time.

Frames are carried as a batch: x is (B * F, C, H, W), N = B * F, P = B * H * W. Names are the checkpoint's.
Sums are taken in place on what a layer has just made, which nothing needs for its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ...models import diffusers_parts
from ...models.diffusers_parts import CrossAttention, FeedForward, Positions
from .config import AttentionConfig, BlockConfig, LayerConfig, MotionConfig

FEW = 16
"""Numbers in a group from which on a norm over it is steady."""


@dataclass(frozen=True)
class Maker(diffusers_parts.Maker):
    """What every part is built with."""

    groups: int
    time_width: int

    def conv(self, inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Module:
        return self.operations.Conv2d(inputs, outputs, size, stride, padding=size // 2, **self.make)

    def group_norm(self, width: int, eps: float) -> nn.Module:
        return self.operations.GroupNorm(self.groups, width, eps=eps, **self.make)


def run_part(part: nn.Module, x: Tensor, given: Given) -> Tensor:
    """One residual block, attention or motion module. A training may put a way of its own in its place."""
    return part(x, given)


@dataclass(frozen=True)
class Given:
    """What every layer is given: frames in each clip, the time's embedding, the sound's features of each frame.

    `hints` go to every call of the injected attention by name.
    """

    frames: int
    time_BE: Tensor
    audio_NLD: Tensor | None
    hints: dict
    run: Callable[[nn.Module, Tensor, Given], Tensor] = run_part


class Block(nn.Module):
    """Layers of one resolution: residual block, attention within the frame, attention along time."""

    def __init__(self, config: BlockConfig, maker: Maker) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Resnet(layer.inputs, layer.outputs, maker) for layer in config.layers)
        self.attentions = _optional(Transformer, "attention", config.layers, maker)
        self.motion_modules = _optional(MotionModule, "motion", config.layers, maker)

    def layer(self, index: int, x: Tensor, given: Given) -> Tensor:
        x = given.run(self.resnets[index], x, given)
        for parts in (self.attentions, self.motion_modules):
            if str(index) in parts:
                x = given.run(parts[str(index)], x, given)
        return x


class Middle(nn.Module):
    """A residual block, then attention (and motion) each followed by one more."""

    def __init__(self, config: tuple[LayerConfig, ...], maker: Maker) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Resnet(layer.inputs, layer.outputs, maker) for layer in config)
        self.attentions = _optional(Transformer, "attention", config[1:], maker)
        self.motion_modules = _optional(MotionModule, "motion", config[1:], maker)

    def forward(self, x: Tensor, given: Given) -> Tensor:
        x = given.run(self.resnets[0], x, given)
        for index, resnet in enumerate(self.resnets[1:]):
            for parts in (self.attentions, self.motion_modules):
                if str(index) in parts:
                    x = given.run(parts[str(index)], x, given)
            x = given.run(resnet, x, given)
        return x


def _optional(kind: Callable[..., nn.Module], field: str, layers: Sequence[LayerConfig], maker: Maker) -> nn.ModuleDict:
    """Parts that only some layers have, under the layer's number as in a list with holes."""
    found = {str(index): getattr(layer, field) for index, layer in enumerate(layers)}
    widths = {str(index): layer.outputs for index, layer in enumerate(layers)}
    return nn.ModuleDict({index: kind(config, widths[index], maker) for index, config in found.items() if config})


class Resnet(nn.Module):
    """Its norms take mean and variance over all frames of a clip: frames of one clip influence each other here."""

    def __init__(self, inputs: int, outputs: int, maker: Maker) -> None:
        super().__init__()
        self.norm1 = maker.group_norm(inputs, 1e-5)
        self.conv1 = maker.conv(inputs, outputs, 3)
        self.time_emb_proj = maker.linear(maker.time_width, outputs)
        self.norm2 = maker.group_norm(outputs, 1e-5)
        self.conv2 = maker.conv(outputs, outputs, 3)
        self.conv_shortcut = maker.conv(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor, given: Given) -> Tensor:
        bias_BC = self.time_emb_proj(F.silu(given.time_BE))
        hidden = self.conv1(F.silu(norm_over_frames(self.norm1, x, given.frames), inplace=True))
        hidden += bias_BC.repeat_interleave(given.frames, 0)[..., None, None]
        hidden = self.conv2(F.silu(norm_over_frames(self.norm2, hidden, given.frames), inplace=True))
        hidden += x if self.conv_shortcut is None else self.conv_shortcut(x)
        return hidden


def norm_over_frames(norm: nn.Module, x: Tensor, frames: int) -> Tensor:
    """A group norm with its statistics over (C / groups, F, H, W)."""
    return steady_norm(norm, x.unflatten(0, (-1, frames)).transpose(1, 2)).transpose(1, 2).flatten(0, 1)


def steady_norm(norm: nn.Module, x: Tensor) -> Tensor:
    """A group norm of (N, C, ...), exact where a group has but a few numbers.

    There the mean far outweighs what is left of it, and torch subtracts it last: a lone number becomes its rounding
    error, magnified a thousand times. So the mean is taken off before.
    """
    groups = x.reshape(len(x), norm.num_groups, -1) if x[0].numel() < FEW * norm.num_groups else None
    return norm(x if groups is None else (groups - groups.mean(-1, keepdim=True)).reshape(x.shape))


class Transformer(nn.Module):
    """Attention among the pixels of a frame and from them to the frame's sound."""

    def __init__(self, config: AttentionConfig, width: int, maker: Maker) -> None:
        super().__init__()
        self.linear = config.linear
        project = maker.linear if config.linear else lambda inputs, outputs: maker.conv(inputs, outputs, 1)
        self.norm = maker.group_norm(width, 1e-6)
        self.proj_in = project(width, config.width)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(config.width, config.audio_dim, maker) for _ in range(config.depth)
        )
        self.proj_out = project(config.width, width)

    def forward(self, x: Tensor, given: Given) -> Tensor:
        hidden = steady_norm(self.norm, x)
        tokens_NLC = to_tokens(hidden if self.linear else self.proj_in(hidden))
        tokens_NLC = self.proj_in(tokens_NLC) if self.linear else tokens_NLC
        for block in self.transformer_blocks:
            tokens_NLC = block(tokens_NLC, given)
        if self.linear:
            return x + to_picture(self.proj_out(tokens_NLC), x)
        return self.proj_out(to_picture(tokens_NLC, x)).add_(x)


class TransformerBlock(nn.Module):
    def __init__(self, width: int, audio_dim: int | None, maker: Maker) -> None:
        super().__init__()
        self.norm1 = maker.layer_norm(width)
        self.attn1 = CrossAttention(width, width, maker)
        if audio_dim is not None:
            self.norm2 = maker.layer_norm(width)
            self.attn2 = CrossAttention(width, audio_dim, maker)
        self.hears = audio_dim is not None
        self.norm3 = maker.layer_norm(width)
        self.ff = FeedForward(width, maker)

    def forward(self, x_NLC: Tensor, given: Given) -> Tensor:
        normed = self.norm1(x_NLC)
        x_NLC = self.attn1(normed, normed, given.hints).add_(x_NLC)
        if self.hears and given.audio_NLD is not None:
            x_NLC = self.attn2(self.norm2(x_NLC), given.audio_NLD, given.hints).add_(x_NLC)
        return self.ff(self.norm3(x_NLC)).add_(x_NLC)


class MotionModule(nn.Module):
    """Self-attention of every pixel along time. One more level of names, as in the checkpoint."""

    def __init__(self, config: MotionConfig, width: int, maker: Maker) -> None:
        super().__init__()
        self.temporal_transformer = TemporalTransformer(config, width, maker)

    def forward(self, x: Tensor, given: Given) -> Tensor:
        return self.temporal_transformer(x, given)


class TemporalTransformer(nn.Module):
    def __init__(self, config: MotionConfig, width: int, maker: Maker) -> None:
        super().__init__()
        self.norm = maker.group_norm(width, 1e-6)
        self.proj_in = maker.linear(width, config.width)
        self.transformer_blocks = nn.ModuleList(TemporalBlock(config, maker) for _ in range(config.depth))
        self.proj_out = maker.linear(config.width, width)

    def forward(self, x: Tensor, given: Given) -> Tensor:
        tokens_NLC = self.proj_in(to_tokens(steady_norm(self.norm, x)))
        pixels = tokens_NLC.shape[1]
        along_PFC = tokens_NLC.unflatten(0, (-1, given.frames)).transpose(1, 2).flatten(0, 1)
        for block in self.transformer_blocks:
            along_PFC = block(along_PFC, given.hints)
        tokens_NLC = along_PFC.unflatten(0, (-1, pixels)).transpose(1, 2).flatten(0, 1)
        return x + to_picture(self.proj_out(tokens_NLC), x)


class TemporalBlock(nn.Module):
    def __init__(self, config: MotionConfig, maker: Maker) -> None:
        super().__init__()
        width = config.width
        self.norms = nn.ModuleList(maker.layer_norm(width) for _ in range(config.attentions))
        self.attention_blocks = nn.ModuleList(
            TemporalAttention(width, config.positions, maker) for _ in range(config.attentions)
        )
        self.ff_norm = maker.layer_norm(width)
        self.ff = FeedForward(width, maker)

    def forward(self, x_PFC: Tensor, hints: dict) -> Tensor:
        for norm, attention in zip(self.norms, self.attention_blocks, strict=True):
            x_PFC = attention(norm(x_PFC), hints).add_(x_PFC)
        return self.ff(self.ff_norm(x_PFC)).add_(x_PFC)


class TemporalAttention(CrossAttention):
    """Sinusoidal positions are added after the norm, so to queries, keys and values alike."""

    def __init__(self, width: int, positions: int | None, maker: Maker) -> None:
        super().__init__(width, width, maker)
        self.pos_encoder = None if positions is None else Positions(positions, width, maker.make.get("device"))

    def forward(self, x_PFC: Tensor, hints: dict) -> Tensor:  # type: ignore[override]  # is its own context
        x_PFC = x_PFC if self.pos_encoder is None else self.pos_encoder(x_PFC)
        return super().forward(x_PFC, x_PFC, hints)


class Downsampler(nn.Module):
    def __init__(self, width: int, maker: Maker) -> None:
        super().__init__()
        self.conv = maker.conv(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Upsampler(nn.Module):
    def __init__(self, width: int, maker: Maker) -> None:
        super().__init__()
        self.conv = maker.conv(width, width, 3)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """To `size`, twice as large (or one pixel less where the way down met an odd side)."""
        return self.conv(F.interpolate(x, size=size, mode="nearest"))


def to_tokens(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H * W, C)."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def to_picture(tokens_NLC: Tensor, like: Tensor) -> Tensor:
    """(N, H * W, C) -> (N, C, H, W), H and W those of `like`."""
    return tokens_NLC.unflatten(1, tuple(like.shape[2:])).permute(0, 3, 1, 2)
