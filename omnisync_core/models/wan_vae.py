"""Wan 2.1's autoencoder from its public file: 4x in time, 8x in space, 16 channels.

Names are the published file's. What `VideoVAE` promises holds: chunks give what the whole gives, latents are
normalised. Shapes: activations BCTHW.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..errors import CheckpointError
from .published import Shapes, read_content, tensors_of
from .vae import Memory, Source, VAEConfig, VideoVAE

MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632, -0.1922,
    -0.9497, 0.2503, -0.2921,
)  # fmt: skip
STD = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253,
    2.8251, 1.9160,
)  # fmt: skip
"""The published file's latents are brought to unit spread with these (wan/modules/vae.py)."""
ENCODER_BLOCKS, DECODER_BLOCKS = 2, 3
WRONG, REMEDY = "this is no VAE of Wan 2.1", "expected Wan2.1_VAE.pth or wan_2.1_vae.safetensors"


def build_vae(config: VAEConfig, **make: Any) -> VideoVAE:
    """The autoencoder that a configuration describes."""
    return (WanVAE if config.architecture == "wan" else VideoVAE)(config, **make)


def read_wan_vae(path: str | Path) -> WanVAE:
    """The published file, or one of its layout in other widths, frozen. CheckpointError: damaged, or another VAE."""
    return wan_vae(tensors_of(read_content(Path(path)), "state_dict", path), str(path))


def wan_vae(tensors: Mapping[str, Tensor], name: str) -> WanVAE:
    shapes = Shapes(tensors, f"{name}: {WRONG}", REMEDY)
    width, channels = shapes["encoder.conv1.weight"][0], shapes["conv2.weight"][0]
    config = VAEConfig(widths=(width, 2 * width, 4 * width), latent_channels=channels, architecture="wan")
    vae = WanVAE(config)
    own = {key: value for key, value in vae.state_dict().items() if not key.startswith("latent_")}
    wrong = [key for key in own.keys() | tensors.keys() if key not in own or key not in tensors]
    wrong = wrong or [key for key, value in own.items() if value.shape != tensors[key].shape]
    if wrong:
        raise CheckpointError(
            f"{name}: {WRONG}: {len(wrong)} tensors are missing, unexpected or of another shape (first: {min(wrong)}); "
            f"{REMEDY}"
        )
    vae.load_state_dict(dict(tensors), strict=False)
    return vae.eval().requires_grad_(False)


class WanVAE(VideoVAE):
    """`widths` of its configuration are those at full, at half, and at a quarter and an eighth of the size."""

    def __init__(
        self,
        config: VAEConfig,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        operations: Any = nn,
    ) -> None:
        nn.Module.__init__(self)
        self.config = config
        make = {"device": device, "dtype": dtype}
        channels = config.latent_channels
        self.encoder = Encoder(config, make, operations)
        self.conv1 = _conv(2 * channels, 2 * channels, 1, make, operations)
        self.conv2 = _conv(channels, channels, 1, make, operations)
        self.decoder = Decoder(config, make, operations)
        known = channels == len(MEAN)
        mean, std = (MEAN, STD) if known else ((0.0,) * channels, (1.0,) * channels)
        self.register_buffer("latent_mean", torch.tensor(mean, **make))
        self.register_buffer("latent_std", torch.tensor(std, **make))

    def moments(self, video_BCTHW: Tensor, memory: Memory | None = None) -> tuple[Tensor, Tensor]:
        memory = {} if memory is None else memory
        video_BCTHW = video_BCTHW.to(self.conv1.weight.dtype)
        mean, log_variance = self.conv1(self.encoder(video_BCTHW, memory)).chunk(2, 1)
        return mean, log_variance

    def denormalise(self, latent_BCthw: Tensor) -> Tensor:
        return self.conv2(super().denormalise(latent_BCthw))


class Encoder(nn.Module):
    def __init__(self, config: VAEConfig, make: dict, operations: Any) -> None:
        super().__init__()
        full, half, quarter = config.widths
        self.conv1 = _conv(3, full, 3, make, operations)
        self.downsamples = nn.ModuleList()
        before = full
        for level, width in enumerate((full, half, quarter, quarter)):
            for _ in range(ENCODER_BLOCKS):
                self.downsamples.append(ResidualBlock(before, width, make, operations))
                before = width
            if level < 3:
                self.downsamples.append(Down(width, level > 0, make, operations))
        self.middle = _middle(quarter, make, operations)
        self.head = _head(quarter, 2 * config.latent_channels, make, operations)

    def forward(self, video_BCTHW: Tensor, memory: Memory) -> Tensor:
        x = _causal(self.conv1, video_BCTHW, memory)
        for layer in (*self.downsamples, *self.middle):
            x = layer(x, memory)
        return _finish(self.head, x, memory)


class Decoder(nn.Module):
    def __init__(self, config: VAEConfig, make: dict, operations: Any) -> None:
        super().__init__()
        full, half, quarter = config.widths
        self.conv1 = _conv(config.latent_channels, quarter, 3, make, operations)
        self.middle = _middle(quarter, make, operations)
        self.upsamples = nn.ModuleList()
        before = quarter
        for level, width in enumerate((quarter, quarter, half, full)):
            for _ in range(DECODER_BLOCKS):
                self.upsamples.append(ResidualBlock(before, width, make, operations))
                before = width
            if level < 3:
                self.upsamples.append(Up(width, level < 2, make, operations))
                before = width // 2
        self.head = _head(full, 3, make, operations)

    def forward(self, x_BthwC: Tensor, memory: Memory, source: Source | None = None) -> Tensor:
        x = _causal(self.conv1, rearrange(x_BthwC, "b t h w c -> b c t h w"), memory)
        for layer in (*self.middle, *self.upsamples):
            x = layer(x, memory)
        return _finish(self.head, x, memory)


def _middle(width: int, make: dict, operations: Any) -> nn.ModuleList:
    return nn.ModuleList(
        [
            ResidualBlock(width, width, make, operations),
            AttentionBlock(width, make, operations),
            ResidualBlock(width, width, make, operations),
        ]
    )


def _head(width: int, outputs: int, make: dict, operations: Any) -> nn.ModuleList:
    return nn.ModuleList([Norm(width, 3, make), nn.SiLU(), _conv(width, outputs, 3, make, operations)])


def _finish(head: nn.ModuleList, x: Tensor, memory: Memory) -> Tensor:
    norm, activation, conv = head
    return _causal(conv, activation(norm(x)), memory)


def _conv(inner: int, outer: int, kernel: int, make: dict, operations: Any) -> nn.Conv3d:
    """A 3D convolution for `_causal`."""
    return operations.Conv3d(inner, outer, kernel, padding=(0, kernel // 2, kernel // 2), **make)


def _causal(conv: nn.Conv3d, x: Tensor, memory: Memory) -> Tensor:
    """Over this frame and those before; zeros before the clip."""
    return conv(_after(conv, x, memory, conv.kernel_size[0] - 1))


def _after(layer: nn.Module, x: Tensor, memory: Memory, frames: int) -> Tensor:
    """x with the frames before it in front, which the layer's memory holds; zeros at first."""
    if not frames:
        return x
    before = memory.get(id(layer))
    if before is None:
        before = torch.zeros_like(x[:, :, :1]).expand(-1, -1, frames, -1, -1)
    x = torch.cat([before, x], 2)
    memory[id(layer)] = x[:, :, -frames:]
    return x


class Norm(nn.Module):
    """Over channels; `axes` of size 1 follow them in the weight's shape."""

    def __init__(self, width: int, axes: int, make: dict) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width, *[1] * axes, **make))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=1) * x.shape[1] ** 0.5 * self.gamma.to(x)


class ResidualBlock(nn.Module):
    def __init__(self, inner: int, outer: int, make: dict, operations: Any) -> None:
        super().__init__()
        self.residual = nn.ModuleList(
            [
                Norm(inner, 3, make), nn.SiLU(), _conv(inner, outer, 3, make, operations),
                Norm(outer, 3, make), nn.SiLU(), nn.Identity(), _conv(outer, outer, 3, make, operations),
            ]
        )  # fmt: skip
        self.shortcut = _conv(inner, outer, 1, make, operations) if inner != outer else None

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        h = x
        for layer in self.residual:
            h = _causal(layer, h, memory) if isinstance(layer, nn.Conv3d) else layer(h)
        return h + (x if self.shortcut is None else self.shortcut(x))


class AttentionBlock(nn.Module):
    """Among the places of each frame, one head."""

    def __init__(self, width: int, make: dict, operations: Any) -> None:
        super().__init__()
        self.norm = Norm(width, 2, make)
        self.to_qkv = operations.Conv2d(width, 3 * width, 1, **make)
        self.proj = operations.Conv2d(width, width, 1, **make)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        frames = rearrange(x, "b c t h w -> (b t) c h w")
        q, k, v = self.to_qkv(self.norm(frames)).flatten(2).transpose(1, 2).chunk(3, -1)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).unflatten(2, frames.shape[2:])
        return x + rearrange(self.proj(attended), "(b t) c h w -> b c t h w", b=len(x))


class Down(nn.Module):
    """Half the size and, with `in_time`, 1 + 2k frames to 1 + k; in later chunks 2k to k."""

    def __init__(self, width: int, in_time: bool, make: dict, operations: Any) -> None:
        super().__init__()
        conv = operations.Conv2d(width, width, 3, stride=2, **make)
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), conv)
        time = operations.Conv3d(width, width, (3, 1, 1), stride=(2, 1, 1), **make) if in_time else None
        self.time_conv = time

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        x = _each_frame(self.resample, x)
        if self.time_conv is None:
            return x
        before, memory[id(self)] = memory.get(id(self)), x[:, :, -1:]
        if before is not None:
            return self.time_conv(torch.cat([before, x], 2))
        return torch.cat([x[:, :, :1], self.time_conv(x)], 2) if x.shape[2] > 1 else x


class Up(nn.Module):
    """Twice the size and, with `in_time`, 1 + k frames to 1 + 2k; in later chunks k to 2k."""

    def __init__(self, width: int, in_time: bool, make: dict, operations: Any) -> None:
        super().__init__()
        conv = operations.Conv2d(width, width // 2, 3, padding=1, **make)
        self.resample = nn.Sequential(nn.Upsample(scale_factor=2.0, mode="nearest-exact"), conv)
        self.time_conv = operations.Conv3d(width, 2 * width, (3, 1, 1), **make) if in_time else None

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        if self.time_conv is not None:
            x = self._longer(x, memory)
        return _each_frame(self.resample, x)

    def _longer(self, x: Tensor, memory: Memory) -> Tensor:
        """The clip's first frame stays one, and the frames after it do not see it."""
        first = x[:, :, :0]
        if id(self.resample) not in memory:
            memory[id(self.resample)] = first
            first, x = x[:, :, :1], x[:, :, 1:]
        if not x.shape[2]:
            return first
        pairs = _causal(self.time_conv, x, memory)
        return torch.cat([first, rearrange(pairs, "b (p c) t h w -> b c (t p) h w", p=2)], 2)


def _each_frame(layer: nn.Module, x: Tensor) -> Tensor:
    return rearrange(layer(rearrange(x, "b c t h w -> (b t) c h w")), "(b t) c h w -> b c t h w", b=len(x))
