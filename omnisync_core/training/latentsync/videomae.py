"""VideoMAE v2 as TREPA's judge of motion: a plain transformer over tubes of two frames. Keys are the public file's.

Shapes: B clips, T 16 frames, L tokens, D width. Wang et al., arXiv 2303.16727.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...checkpoint import check_strictly
from ...errors import InputError
from ...models.layers import attend
from ...models.published import read_content, tensors_of

EPSILON = 1e-6


@dataclass(frozen=True)
class VideoMAEConfig:
    """The default is ViT-g of `vit_g_hybrid_pt_1200e_ssv2_ft.pth`."""

    width: int = 1408
    depth: int = 40
    heads: int = 16
    hidden: int = 6144
    side: int = 224
    frames: int = 16
    patch: int = 14
    tube: int = 2
    classes: int = 174

    @property
    def tokens(self) -> int:
        return (self.side // self.patch) ** 2 * (self.frames // self.tube)


def load_videomae(path: str | Path) -> VideoMAE:
    """A public file, frozen. CheckpointError: damaged, or of another size."""
    content = read_content(Path(path))
    tensors = tensors_of(content, "module" if "module" in content else "model", path)
    with torch.device("meta"):
        network = VideoMAE(VideoMAEConfig(), checkpointed=True)
    check_strictly(network, tensors, str(path))
    network.load_state_dict(tensors, assign=True)
    return network.float().eval().requires_grad_(False)


class VideoMAE(nn.Module):
    """`checkpointed`: activations inside the blocks are computed a second time instead of kept."""

    def __init__(self, config: VideoMAEConfig, *, checkpointed: bool = False) -> None:
        super().__init__()
        self.config, self.checkpointed = config, checkpointed
        self.patch_embed = PatchEmbedding(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.fc_norm = nn.LayerNorm(config.width, EPSILON)
        self.head = nn.Linear(config.width, config.classes)
        """Classes of the fine-tuning: in the file, never asked here."""

    def forward(self, video_BCTHW: Tensor) -> Tensor:
        """Features (B, D) of a video 0..1 of the configured size."""
        config = self.config
        expected = (3, config.frames, config.side, config.side)
        if tuple(video_BCTHW.shape[1:]) != expected:
            raise InputError(f"VideoMAE takes (B, {', '.join(map(str, expected))}), got {tuple(video_BCTHW.shape)}")
        x_BLD = self.patch_embed(video_BCTHW)
        x_BLD = x_BLD + position_table(config.tokens, config.width, x_BLD.device).to(x_BLD.dtype)
        again = self.checkpointed and torch.is_grad_enabled()
        for block in self.blocks:
            x_BLD = checkpoint(block, x_BLD, use_reentrant=False) if again else block(x_BLD)
        return self.fc_norm(x_BLD.mean(1))


def position_table(count: int, width: int, device: torch.device | str | None = None) -> Tensor:
    """(L, D) sinusoids: even channels sines, odd ones cosines, of the same frequency in pairs."""
    place_L = torch.arange(count, dtype=torch.float64, device=device)
    rate_K = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64, device=device) / width)
    angle_LK = place_L[:, None] * rate_K
    return torch.stack([angle_LK.sin(), angle_LK.cos()], -1).flatten(1).float()


class PatchEmbedding(nn.Module):
    def __init__(self, config: VideoMAEConfig) -> None:
        super().__init__()
        size = (config.tube, config.patch, config.patch)
        self.proj = nn.Conv3d(3, config.width, size, size)

    def forward(self, video_BCTHW: Tensor) -> Tensor:
        return self.proj(video_BCTHW).flatten(2).transpose(1, 2)


class Block(nn.Module):
    def __init__(self, config: VideoMAEConfig) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(config.width, EPSILON), nn.LayerNorm(config.width, EPSILON)
        self.attn = SelfAttention(config.width, config.heads)
        self.mlp = MLP(config.width, config.hidden)

    def forward(self, x_BLD: Tensor) -> Tensor:
        x_BLD = x_BLD + self.attn(self.norm1(x_BLD))
        return x_BLD + self.mlp(self.norm2(x_BLD))


class SelfAttention(nn.Module):
    """Keys have no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        q, k, v = self.qkv(x_BLD).chunk(3, -1)
        return self.proj(attend(q + self.q_bias, k, v + self.v_bias, self.heads))


class MLP(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))
