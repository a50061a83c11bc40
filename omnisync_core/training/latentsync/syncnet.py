"""StableSyncNet: do a mouth and a sound belong together? Keys are the official checkpoint's.

Two towers of residual blocks end in one vector each; all their numbers are positive, so that the cosine of the two is a
probability. Shapes: B clips, F frames, C channels; pictures_BCHW has the frames' channels one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...checkpoint import check_strictly
from ...errors import InputError
from ...models.diffusers_parts import FeedForward, Maker
from ...models.layers import attend
from ...models.published import read_content, tensors_of

HEADS = 8
EPSILON = 1e-6
MEL_PER_FRAME = 16 / 5
"""Columns of the mel picture (80 a second) for a video frame (25 a second)."""


@dataclass(frozen=True)
class TowerConfig:
    """One encoder: a residual block for every width, its stride (height, width), attention after it or not."""

    in_channels: int
    widths: tuple[int, ...]
    strides: tuple[tuple[int, int], ...]
    attention: tuple[bool, ...] = ()
    """As long as `widths`; empty: none."""
    groups: int = 32

    def __post_init__(self) -> None:
        counts = {len(self.widths), len(self.strides), len(self.attention or self.widths)}
        if len(counts) > 1:
            raise InputError(f"a tower needs a stride and an attention for each of its {len(self.widths)} widths")


@dataclass(frozen=True)
class SyncNetConfig:
    """A whole SyncNet and what it looks at."""

    audio: TowerConfig
    visual: TowerConfig
    frames: int = 16
    resolution: int = 256
    """Side of the face in pixels; its lower half is looked at, or, in latents, all of it."""
    latent: bool = False

    @property
    def mel_frames(self) -> int:
        """Columns of the mel picture that belong to the frames: 52 for 16."""
        return ceil(self.frames * MEL_PER_FRAME)


def _both(*strides: int | tuple[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple((stride, stride) if isinstance(stride, int) else stride for stride in strides)


def _at(places: tuple[int, ...], count: int) -> tuple[bool, ...]:
    return tuple(index in places for index in range(count))


_AUDIO_WIDTHS = 32, 64, 128, 256, 512, 1024, 2048
_AUDIO_STRIDES = _both((2, 1), 2, 2, 1, 2, 2, (2, 3))
_VISUAL_WIDTHS = 64, 128, 256, 256, 512, 1024, 2048, 2048
_VISUAL_STRIDES = _both((1, 2), 2, 2, 2, 2, 2, 2, 2)

PIXEL_ATTENTION = SyncNetConfig(
    TowerConfig(1, _AUDIO_WIDTHS, _AUDIO_STRIDES, _at((3, 4), 7)),
    TowerConfig(48, _VISUAL_WIDTHS, _VISUAL_STRIDES, _at((4, 5), 8)),
)
"""Of the public `stable_syncnet.pt` (configs/syncnet/syncnet_16_pixel_attn.yaml)."""
PIXEL = SyncNetConfig(TowerConfig(1, _AUDIO_WIDTHS, _AUDIO_STRIDES), TowerConfig(48, _VISUAL_WIDTHS, _VISUAL_STRIDES))
"""syncnet_16_pixel.yaml."""
PIXEL_25 = SyncNetConfig(
    TowerConfig(1, (64, 128, 256, 256, 512, 1024), _both(2, 2, 2, 2, 2, 2)),
    TowerConfig(75, (128, 128, 256, 256, 512, 512, 1024, 1024), _VISUAL_STRIDES),
    frames=25,
)
"""syncnet_25_pixel.yaml: a second."""
LATENT = SyncNetConfig(
    TowerConfig(1, (32, 64, 128, 256, 512, 1024), _both((2, 1), 2, 2, 2, 2, (2, 3))),
    TowerConfig(64, (64, 128, 256, 256, 512, 1024), _both(2, 2, 2, 1, 2, 2)),
    latent=True,
)
"""syncnet_16_latent.yaml: looks at Stable Diffusion's latents."""
SMALL = SyncNetConfig(
    TowerConfig(1, (16, 32, 48, 64, 128, 192), _both(2, (2, 1), 2, 2, 2, 2), groups=8),
    TowerConfig(36, (32, 64, 96, 128, 192), _both(2, 2, 2, 2, (1, 2)), groups=8),
    frames=12,
    resolution=48,
)
"""3.2 M parameters: for the drawn world, on a CPU."""
LAYOUTS = {"pixel_attention": PIXEL_ATTENTION, "pixel": PIXEL, "pixel_25": PIXEL_25, "latent": LATENT, "small": SMALL}


def load_syncnet(
    path: str | Path, config: SyncNetConfig = PIXEL_ATTENTION, *, checkpointed: bool = True
) -> StableSyncNet:
    """A published or trained file, or what a training saved on its way (its average), frozen.

    CheckpointError: damaged, or of another configuration.
    """
    content = read_content(Path(path))
    kept = next((name for name in ("average", "model") if name in content), "state_dict")
    tensors = tensors_of(content, kept, path)
    with torch.device("meta"):
        network = StableSyncNet(config, checkpointed=checkpointed)
    check_strictly(network, tensors, str(path))
    network.load_state_dict(tensors, assign=True)
    return network.float().eval().requires_grad_(False)


class StableSyncNet(nn.Module):
    """`checkpointed`: activations inside the blocks are computed a second time instead of kept."""

    def __init__(self, config: SyncNetConfig = PIXEL_ATTENTION, *, checkpointed: bool = False) -> None:
        super().__init__()
        self.config = config
        self.audio_encoder = Tower(config.audio, checkpointed)
        self.visual_encoder = Tower(config.visual, checkpointed)

    def forward(self, pictures_BCHW: Tensor, mel_B1MF: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors (B, D) of what is seen and of what is heard."""
        return self.visual_encoder(pictures_BCHW), self.audio_encoder(mel_B1MF)

    def watch(self, faces_BFCHW: Tensor) -> Tensor:
        """What `forward` takes of whole faces -1..1 (or their latents): at its own size, the lower half, stacked."""
        if self.config.latent:
            return faces_BFCHW.flatten(1, 2)
        batch, side = len(faces_BFCHW), self.config.resolution
        faces_NCHW = faces_BFCHW.flatten(0, 1)
        if faces_NCHW.shape[-1] != side:
            faces_NCHW = F.interpolate(faces_NCHW, (side, side), mode="bicubic")
        return faces_NCHW[:, :, side // 2 :].unflatten(0, (batch, -1)).flatten(1, 2)


class Tower(nn.Module):
    def __init__(self, config: TowerConfig, checkpointed: bool) -> None:
        super().__init__()
        self.checkpointed = checkpointed
        first, last = config.widths[0], config.widths[-1]
        self.conv_in = nn.Conv2d(config.in_channels, first, 3, padding=1)
        self.down_blocks = nn.ModuleList()
        attends = config.attention or (False,) * len(config.widths)
        sizes = pairwise((first, *config.widths))
        for (inputs, outputs), stride, attention in zip(sizes, config.strides, attends, strict=True):
            self.down_blocks.append(ResidualBlock(inputs, outputs, stride, config.groups))
            if attention:
                self.down_blocks.append(AttentionBlock(outputs, config.groups))
        self.norm_out = nn.GroupNorm(config.groups, last, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """A picture (B, C, H, W) to a unit vector (B, D). InputError: the strides do not bring it down to a point."""
        size = tuple(x.shape[2:])
        x = self.conv_in(x)
        again = self.checkpointed and torch.is_grad_enabled()
        for block in self.down_blocks:
            x = checkpoint(block, x, use_reentrant=False) if again else block(x)
        if x.shape[2:] != (1, 1):
            raise InputError(
                f"SyncNet's strides bring {size[0]} x {size[1]} down to {x.shape[2]} x {x.shape[3]}, expected 1 x 1: "
                "give it pictures and sounds of the size it was made for"
            )
        return F.normalize(F.relu(self.norm_out(x)).flatten(1), dim=1)


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolution, twice; then a strided convolution."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int], groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, EPSILON)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, outputs, EPSILON)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None
        self.downsample_conv = nn.Conv2d(outputs, outputs, 3, stride) if stride != (1, 1) else None
        # Zeros right and below; to both sides along an axis that keeps its length.
        height, width = stride
        self.pad = (int(width == 1), 1, int(height == 1), 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv1(F.silu(self.norm1(x)))
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        hidden = hidden + (x if self.conv_shortcut is None else self.conv_shortcut(x))
        return hidden if self.downsample_conv is None else self.downsample_conv(F.pad(hidden, self.pad))


class AttentionBlock(nn.Module):
    """Self-attention among the places of a picture."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, width, EPSILON)
        self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ff = FeedForward(width, Maker(nn, {}, attend, HEADS))
        self.conv_in, self.conv_out = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.attn = SelfAttention(width)

    def forward(self, x: Tensor) -> Tensor:
        tokens_BLC = self.conv_in(self.norm1(x)).flatten(2).transpose(1, 2)
        tokens_BLC = tokens_BLC + self.attn(self.norm2(tokens_BLC))
        tokens_BLC = tokens_BLC + self.ff(self.norm3(tokens_BLC))
        return x + self.conv_out(tokens_BLC.transpose(1, 2).reshape(x.shape))


class SelfAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x_BLC: Tensor) -> Tensor:
        return self.to_out[0](attend(self.to_q(x_BLC), self.to_k(x_BLC), self.to_v(x_BLC), HEADS))
