"""Causal video autoencoder: 4x in time, 8x in space, 16 channels; in chunks it gives exactly what it gives as a whole.

Inside, a clip is BTHWC, so that norms, temporal convolutions and 1x1 convolutions are plain matrix products and 3x3
convolutions run in channels-last layout. Nothing is normalised over time; each temporal convolution keeps its last two
frames in a `Memory`, which is all that a later chunk needs of an earlier one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

Memory = dict[int, Tensor]
"""id of a temporal layer -> the last frames it saw. Empty at the start of a clip."""


@dataclass(frozen=True)
class VAEConfig:
    widths: tuple[int, int, int] = (64, 128, 192)
    """Channels at 1/2, 1/4 and 1/8 of the picture's size."""
    encoder_blocks: tuple[int, int, int] = (1, 2, 2)
    decoder_blocks: tuple[int, int, int] = (2, 3, 3)
    latent_channels: int = 16


class VideoVAE(nn.Module):
    """Pixels in -1..1 (B, 3, 1 + 4k, H, W) <-> latents (B, 16, 1 + k, H / 8, W / 8) of unit spread."""

    temporal_stride = 4
    spatial_stride = 8

    def __init__(self, config: VAEConfig | None = None, *, device=None, dtype=None, operations=nn):
        super().__init__()
        config = config or VAEConfig()
        self.config = config
        make = {"device": device, "dtype": dtype}
        self.encoder = Encoder(config, make, operations)
        self.decoder = Decoder(config, make, operations)
        self.register_buffer("latent_mean", torch.zeros(config.latent_channels, **make))
        self.register_buffer("latent_std", torch.ones(config.latent_channels, **make))

    def encode(self, video_BCTHW: Tensor) -> Tensor:
        """The mean of the posterior, normalised per channel."""
        return torch.cat(list(self.encode_chunks([video_BCTHW])), 2)

    def decode(self, latent_BCthw: Tensor) -> Tensor:
        return torch.cat(list(self.decode_chunks([latent_BCthw])), 2)

    def encode_chunks(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Encode a clip given in pieces of any number of frames; ValueError unless they are 1 + 4k in sum."""
        memory: Memory = {}
        waiting, started = None, False
        for chunk in chunks:
            self._check_size(chunk)
            waiting = chunk if waiting is None else torch.cat([waiting, chunk], 2)
            ready = self._whole_groups(waiting.shape[2], started)
            if ready:
                mean, _ = self.moments(waiting[:, :, :ready], memory)
                yield self.normalise(mean)
                waiting, started = waiting[:, :, ready:], True
        left = 0 if waiting is None else waiting.shape[2]
        if left or not started:
            raise ValueError(f"a clip needs 1 + {self.temporal_stride}k frames, got {left} after the last whole group")

    def decode_chunks(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Decode latents given in pieces of any number of latent frames."""
        memory: Memory = {}
        for chunk in chunks:
            if not chunk.shape[2]:
                continue
            x = chunk * self._per_channel(self.latent_std, chunk) + self._per_channel(self.latent_mean, chunk)
            yield self.decoder(rearrange(x, "b c t h w -> b t h w c"), memory)

    def moments(self, video_BCTHW: Tensor, memory: Memory | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the posterior, not normalised."""
        x = self.encoder(video_BCTHW, {} if memory is None else memory)
        return x.chunk(2, 1)

    def normalise(self, latent_BCthw: Tensor) -> Tensor:
        mean, std = (self._per_channel(value, latent_BCthw) for value in (self.latent_mean, self.latent_std))
        return (latent_BCthw - mean) / std

    def _whole_groups(self, frames: int, started: bool) -> int:
        if started:
            return frames - frames % self.temporal_stride
        return frames - (frames - 1) % self.temporal_stride if frames else 0

    def _check_size(self, video_BCTHW: Tensor) -> None:
        height, width = video_BCTHW.shape[-2:]
        if height % self.spatial_stride or width % self.spatial_stride:
            raise ValueError(f"pictures must be multiples of {self.spatial_stride} pixels, got {width} x {height}")

    @staticmethod
    def _per_channel(value: Tensor, x: Tensor) -> Tensor:
        return value.to(x).reshape(-1, 1, 1, 1)


class Encoder(nn.Module):
    def __init__(self, config: VAEConfig, make: dict, operations):
        super().__init__()
        half, quarter, eighth = config.widths
        counts = config.encoder_blocks
        self.inner = operations.Linear(12, half, **make)
        self.layers = nn.ModuleList(
            [
                *(Block(half, make, operations) for _ in range(counts[0])),
                SpaceDown(half, quarter, make, operations),
                TimeDown(quarter, make, operations),
                *(Block(quarter, make, operations) for _ in range(counts[1])),
                SpaceDown(quarter, eighth, make, operations),
                TimeDown(eighth, make, operations),
                *(Block(eighth, make, operations) for _ in range(counts[2])),
            ]
        )
        self.norm = RMSNorm(eighth, make)
        self.outer = operations.Linear(eighth, 2 * config.latent_channels, **make)

    def forward(self, video_BCTHW: Tensor, memory: Memory) -> Tensor:
        x = self.inner(rearrange(video_BCTHW, "b c t (h p) (w q) -> b t h w (p q c)", p=2, q=2))
        for layer in self.layers:
            x = layer(x, memory)
        return rearrange(self.outer(F.silu(self.norm(x))), "b t h w c -> b c t h w")


class Decoder(nn.Module):
    def __init__(self, config: VAEConfig, make: dict, operations):
        super().__init__()
        half, quarter, eighth = config.widths
        counts = config.decoder_blocks
        self.inner = operations.Linear(config.latent_channels, eighth, **make)
        self.layers = nn.ModuleList(
            [
                *(Block(eighth, make, operations) for _ in range(counts[2])),
                TimeUp(eighth, make, operations),
                SpaceUp(eighth, quarter, make, operations),
                *(Block(quarter, make, operations) for _ in range(counts[1])),
                TimeUp(quarter, make, operations),
                SpaceUp(quarter, half, make, operations),
                *(Block(half, make, operations) for _ in range(counts[0])),
            ]
        )
        self.norm = RMSNorm(half, make)
        self.outer = Conv3x3(half, 12, make, operations)

    def forward(self, x_BthwC: Tensor, memory: Memory) -> Tensor:
        x = self.inner(x_BthwC)
        for layer in self.layers:
            x = layer(x, memory)
        x = self.outer(F.silu(self.norm(x)))
        return rearrange(x, "b t h w (p q c) -> b c t (h p) (w q)", p=2, q=2)


class Block(nn.Module):
    """Residual: a 3x3 convolution in space, then a causal one in time."""

    def __init__(self, width: int, make: dict, operations):
        super().__init__()
        self.norm_space, self.norm_time = RMSNorm(width, make), RMSNorm(width, make)
        self.space = Conv3x3(width, width, make, operations)
        self.time = CausalConv(width, width, make, operations)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        h = self.space(F.silu(self.norm_space(x)))
        return x + self.time(F.silu(self.norm_time(h)), memory)


class RMSNorm(nn.Module):
    """Over channels only, in the input's own type."""

    def __init__(self, width: int, make: dict):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, **make))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], self.weight.to(x), 1e-6)


class Conv3x3(nn.Module):
    """A 2D convolution of every frame, BTHWC to BTHWC without a copy."""

    def __init__(self, inner: int, outer: int, make: dict, operations, stride: int = 1):
        super().__init__()
        self.conv = operations.Conv2d(inner, outer, 3, stride=stride, padding=1, **make)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.flatten(0, 1).permute(0, 3, 1, 2)
        return self.conv(frames).permute(0, 2, 3, 1).unflatten(0, x.shape[:2])


class CausalConv(nn.Module):
    """Kernel 3 in time over this and the two frames before, as one matrix product; zeros before the clip."""

    def __init__(self, inner: int, outer: int, make: dict, operations):
        super().__init__()
        self.linear = operations.Linear(3 * inner, outer, **make)

    def forward(self, x: Tensor, memory: Memory, stride: int = 1) -> Tensor:
        before = memory.get(id(self))
        first = stride - 1 if before is not None else 0
        if before is None:
            before = torch.zeros_like(x[:, :1]).expand(-1, 2, -1, -1, -1)
        frames = torch.cat([before, x], 1)
        memory[id(self)] = frames[:, -2:]
        taps = [frames[:, start : start + x.shape[1]][:, first::stride] for start in range(3)]
        return self.linear(torch.cat(taps, -1))


class TimeDown(nn.Module):
    """1 + 2k frames to 1 + k; in later chunks 2k to k."""

    def __init__(self, width: int, make: dict, operations):
        super().__init__()
        self.conv = CausalConv(width, width, make, operations)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        return self.conv(x, memory, stride=2)


class TimeUp(nn.Module):
    """1 + k frames to 1 + 2k; in later chunks k to 2k."""

    def __init__(self, width: int, make: dict, operations):
        super().__init__()
        self.conv = CausalConv(width, 2 * width, make, operations)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        first = id(self.conv) not in memory
        pairs = rearrange(self.conv(x, memory), "b t h w (p c) -> b (t p) h w c", p=2)
        return pairs[:, 1:] if first else pairs


class SpaceDown(nn.Module):
    def __init__(self, inner: int, outer: int, make: dict, operations):
        super().__init__()
        self.conv = Conv3x3(inner, outer, make, operations, stride=2)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        return self.conv(x)


class SpaceUp(nn.Module):
    def __init__(self, inner: int, outer: int, make: dict, operations):
        super().__init__()
        self.linear = operations.Linear(inner, 4 * outer, **make)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        return rearrange(self.linear(x), "b t h w (p q c) -> b t (h p) (w q) c", p=2, q=2)
