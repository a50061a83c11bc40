"""Causal video autoencoder: 4x in time, 8x in space, 16 channels; in chunks it gives exactly what it gives as a whole.

Inside, a clip is BTHWC, so that norms, temporal convolutions and 1x1 convolutions are plain matrix products and 3x3
convolutions run in channels-last layout. Nothing is normalised over time; each temporal convolution keeps its last two
frames in a `Memory`, which is all that a later chunk needs of an earlier one.

With `skips` the decoder also sees the source, the clip that the latents are an edit of, through the encoder's features,
and chooses for every pixel between what it paints and the source's own: what does not change stays sharp.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

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
    skips: bool = False
    """Whether the decoder can be given the source."""
    architecture: str = "omnisync"
    """"wan": Wan 2.1's (`models/wan_vae.py`), whose blocks are as published."""


class VideoVAE(nn.Module):
    """Pixels in -1..1 (B, 3, 1 + 4k, H, W) <-> latents (B, 16, 1 + k, H / 8, W / 8) of unit spread."""

    temporal_stride = 4
    spatial_stride = 8

    def __init__(
        self,
        config: VAEConfig | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        operations: Any = nn,
    ) -> None:
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

    def encode_source(self, video_BCTHW: Tensor) -> tuple[Tensor, Source]:
        """`encode`, and what `decode_edit` is to be given: the encoder looks at a clip once. ValueError: not 1 + 4k."""
        self._check_size(video_BCTHW)
        frames = video_BCTHW.shape[2]
        if self._whole_groups(frames, started=False) != frames or not frames:
            raise ValueError(f"a clip needs 1 + {self.temporal_stride}k frames, got {frames}")
        source = Source(video_BCTHW, self.encoder.features(video_BCTHW, {}))
        mean, _ = self.encoder.moments(source.features[0]).chunk(2, 1)
        return self.normalise(mean), source

    def decode(self, latent_BCthw: Tensor, source_BCTHW: Tensor | None = None) -> Tensor:
        """source: with `skips`, the frames that these latents are an edit of, as many as come out."""
        return torch.cat(list(self.decode_chunks([latent_BCthw], source_BCTHW)), 2)

    def decode_edit(self, latent_BCthw: Tensor, source: Source) -> Tensor:
        """`decode` where the encoder has looked at the source before."""
        self._check_source(source.pixels_BCTHW, latent_BCthw, source.pixels_BCTHW.shape[2])
        return self.decoder(self._as_input(latent_BCthw), {}, source)

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

    def decode_chunks(self, chunks: Iterable[Tensor], source_BCTHW: Tensor | None = None) -> Iterator[Tensor]:
        """Decode latents given in pieces of any number of latent frames; `source` is the whole clip's."""
        memory: Memory = {}
        seen: Memory = {}
        done = 0
        for chunk in chunks:
            if not chunk.shape[2]:
                continue
            frames = self.temporal_stride * chunk.shape[2] - (self.temporal_stride - 1 if not done else 0)
            source = None
            if source_BCTHW is not None and self.config.skips:
                pixels = source_BCTHW[:, :, done : done + frames]
                self._check_source(pixels, chunk, frames)
                source = Source(pixels, self.encoder.features(pixels, seen))
            done += frames
            yield self.decoder(self._as_input(chunk), memory, source)

    def moments(self, video_BCTHW: Tensor, memory: Memory | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the posterior, not normalised."""
        x = self.encoder(video_BCTHW, {} if memory is None else memory)
        return x.chunk(2, 1)

    def normalise(self, latent_BCthw: Tensor) -> Tensor:
        mean, std = (self._per_channel(value, latent_BCthw) for value in (self.latent_mean, self.latent_std))
        return (latent_BCthw - mean) / std

    def denormalise(self, latent_BCthw: Tensor) -> Tensor:
        mean, std = (self._per_channel(value, latent_BCthw) for value in (self.latent_mean, self.latent_std))
        return latent_BCthw * std + mean

    def _as_input(self, latent_BCthw: Tensor) -> Tensor:
        return rearrange(self.denormalise(latent_BCthw.to(self.latent_mean)), "b c t h w -> b t h w c")

    def _whole_groups(self, frames: int, started: bool) -> int:
        if started:
            return frames - frames % self.temporal_stride
        return frames - (frames - 1) % self.temporal_stride if frames else 0

    def _check_size(self, video_BCTHW: Tensor) -> None:
        height, width = video_BCTHW.shape[-2:]
        if height % self.spatial_stride or width % self.spatial_stride:
            raise ValueError(f"pictures must be multiples of {self.spatial_stride} pixels, got {width} x {height}")

    def _check_source(self, pixels_BCTHW: Tensor, latent_BCthw: Tensor, frames: int) -> None:
        size = (frames, *(self.spatial_stride * side for side in latent_BCthw.shape[-2:]))
        if tuple(pixels_BCTHW.shape[2:]) != size:
            raise ValueError(f"the source has {tuple(pixels_BCTHW.shape[2:])} frames and pixels, the latents {size}")

    @staticmethod
    def _per_channel(value: Tensor, x: Tensor) -> Tensor:
        return value.to(x).reshape(-1, 1, 1, 1)


@dataclass(frozen=True)
class Source:
    """What a decoder with skips is given of the clip that is edited."""

    pixels_BCTHW: Tensor
    features: tuple[Tensor, Tensor, Tensor]
    """BTHWC at 1/8, 1/4 and 1/2 of the size: each as many frames as the decoder has there."""


class Encoder(nn.Module):
    def __init__(self, config: VAEConfig, make: dict, operations: Any) -> None:
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
        deepest, *_ = self.features(video_BCTHW, memory)
        return self.moments(deepest)

    def moments(self, deepest_BthwC: Tensor) -> Tensor:
        """Mean and log-variance, BCthw, from the coarsest features."""
        return rearrange(self.outer(F.silu(self.norm(deepest_BthwC))), "b t h w c -> b c t h w")

    def features(self, video_BCTHW: Tensor, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
        """What each level ends with, BTHWC, the coarsest first."""
        video_BCTHW = video_BCTHW.to(self.norm.weight.dtype)
        x = self.inner(rearrange(video_BCTHW, "b c t (h p) (w q) -> b t h w (p q c)", p=2, q=2))
        levels = []
        for layer in self.layers:
            if isinstance(layer, SpaceDown):
                levels.append(x)
            x = layer(x, memory)
        half, quarter = levels
        return x, quarter, half


class Decoder(nn.Module):
    def __init__(self, config: VAEConfig, make: dict, operations: Any) -> None:
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
        if config.skips:
            self.skips = nn.ModuleList(operations.Linear(width, width, **make) for width in (eighth, quarter, half))
            self.blend = Blend(half, make, operations)

    def forward(self, x_BthwC: Tensor, memory: Memory, source: Source | None = None) -> Tensor:
        waiting = [] if source is None else list(zip(self.skips, source.features, strict=True))
        x = self._add(self.inner(x_BthwC), waiting)
        for layer in self.layers:
            x = layer(x, memory)
            if isinstance(layer, SpaceUp):
                x = self._add(x, waiting)
        x = F.silu(self.norm(x))
        painted = rearrange(self.outer(x), "b t h w (p q c) -> b c t (h p) (w q)", p=2, q=2)
        return painted if source is None else self.blend(x, painted, source.pixels_BCTHW)

    @staticmethod
    def _add(x: Tensor, waiting: list) -> Tensor:
        """The source's features of this level, through its own matrix."""
        if not waiting:
            return x
        skip, features = waiting.pop(0)
        return x + skip(features.to(x.dtype))


class Blend(nn.Module):
    """The decoder's choice, for every pixel, between what it painted and the source's own; float32."""

    def __init__(self, width: int, make: dict, operations: Any) -> None:
        super().__init__()
        self.outer = Conv3x3(width, 4, make, operations)

    def forward(self, x_BTHWC: Tensor, painted: Tensor, source: Tensor) -> Tensor:
        share = rearrange(self.outer(x_BTHWC).float(), "b t h w (p q) -> b 1 t (h p) (w q)", p=2, q=2).sigmoid()
        kept = source.float()
        return kept + share * (painted.float() - kept)


class Block(nn.Module):
    """Residual: a 3x3 convolution in space, then a causal one in time."""

    def __init__(self, width: int, make: dict, operations: Any) -> None:
        super().__init__()
        self.norm_space, self.norm_time = RMSNorm(width, make), RMSNorm(width, make)
        self.space = Conv3x3(width, width, make, operations)
        self.time = CausalConv(width, width, make, operations)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        h = self.space(F.silu(self.norm_space(x)))
        return x + self.time(F.silu(self.norm_time(h)), memory)


class RMSNorm(nn.Module):
    """Over channels only, in the input's own type.

    On the CPU by the vectors' lengths: torch's own has no kernel there, and takes three times as long in bfloat16.
    """

    EPS = 1e-6

    def __init__(self, width: int, make: dict) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, **make))

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return F.rms_norm(x, x.shape[-1:], self.weight.to(x), self.EPS)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = (x.shape[-1] ** 0.5) / length.clamp(min=(self.EPS * x.shape[-1]) ** 0.5)
        return x * scale.to(x.dtype) * self.weight.to(x)


class Conv3x3(nn.Module):
    """A 2D convolution of every frame, BTHWC to BTHWC without a copy."""

    def __init__(self, inner: int, outer: int, make: dict, operations: Any, stride: int = 1) -> None:
        super().__init__()
        self.conv = operations.Conv2d(inner, outer, 3, stride=stride, padding=1, **make)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.flatten(0, 1).permute(0, 3, 1, 2)
        return self.conv(frames).permute(0, 2, 3, 1).unflatten(0, x.shape[:2])


class CausalConv(nn.Module):
    """Kernel 3 in time over this and the two frames before; zeros before the clip.

    `linear` holds it as one matrix over three frames' channels, for hosts to cast and to stream. torch's own layer runs
    as a convolution over (time, place), which copies nothing; a host's as it is, over three frames laid side by side.
    """

    def __init__(self, inner: int, outer: int, make: dict, operations: Any) -> None:
        super().__init__()
        self.linear = operations.Linear(3 * inner, outer, **make)

    def forward(self, x: Tensor, memory: Memory, stride: int = 1) -> Tensor:
        before = memory.get(id(self))
        first = stride - 1 if before is not None else 0
        if before is None:
            before = torch.zeros_like(x[:, :1]).expand(-1, 2, -1, -1, -1)
        frames = torch.cat([before, x], 1)
        memory[id(self)] = frames[:, -2:]
        if type(self.linear) is nn.Linear:
            return self._convolve(frames[:, first:], stride)
        taps = [frames[:, start : start + x.shape[1]][:, first::stride] for start in range(3)]
        return self.linear(torch.cat(taps, -1))

    def _convolve(self, frames_BTHWC: Tensor, stride: int) -> Tensor:
        kernel = rearrange(self.linear.weight, "o (k i) -> o i k 1", k=3)
        images = frames_BTHWC.flatten(2, 3).permute(0, 3, 1, 2)
        convolved = F.conv2d(images, kernel, self.linear.bias, (stride, 1)).permute(0, 2, 3, 1)
        return convolved.unflatten(2, frames_BTHWC.shape[2:4])


class TimeDown(nn.Module):
    """1 + 2k frames to 1 + k; in later chunks 2k to k."""

    def __init__(self, width: int, make: dict, operations: Any) -> None:
        super().__init__()
        self.conv = CausalConv(width, width, make, operations)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        return self.conv(x, memory, stride=2)


class TimeUp(nn.Module):
    """1 + k frames to 1 + 2k; in later chunks k to 2k."""

    def __init__(self, width: int, make: dict, operations: Any) -> None:
        super().__init__()
        self.conv = CausalConv(width, 2 * width, make, operations)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        first = id(self.conv) not in memory
        pairs = rearrange(self.conv(x, memory), "b t h w (p c) -> b (t p) h w c", p=2)
        return pairs[:, 1:] if first else pairs


class SpaceDown(nn.Module):
    def __init__(self, inner: int, outer: int, make: dict, operations: Any) -> None:
        super().__init__()
        self.conv = Conv3x3(inner, outer, make, operations, stride=2)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        return self.conv(x)


class SpaceUp(nn.Module):
    def __init__(self, inner: int, outer: int, make: dict, operations: Any) -> None:
        super().__init__()
        self.linear = operations.Linear(inner, 4 * outer, **make)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        return rearrange(self.linear(x), "b t h w (p q c) -> b t (h p) (w q) c", p=2, q=2)
