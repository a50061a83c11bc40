"""What LatentSync's UNet is trained with: noise, the clean latents one step leads to, and four judges (paper, eq. 2-7).

Shapes: B clips, F frames, latents (B, 4, F, h, w), pictures (B, F, 3, S, S) in -1..1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...engines.latentsync.ddim import alphas_cumprod
from .contrastive import cosine_loss
from .syncnet import StableSyncNet

TREPA_SIDE = 224


def mixed_noise(shape: tuple[int, ...], alpha: float, device: torch.device | str | None = None) -> Tensor:
    """Noise (B, C, F, h, w) of variance 1 of which alpha^2 / (1 + alpha^2) is the same in all frames of a clip.

    Ge et al., arXiv 2305.10474. At alpha = 1 frames correlate by 1/2.
    """
    own, shared = torch.randn(shape, device=device), torch.randn((*shape[:2], 1, *shape[3:]), device=device)
    return (own + alpha * shared) / (1 + alpha**2) ** 0.5


def noised(latents: Tensor, noise: Tensor, time_B: Tensor) -> Tensor:
    """Latents at the timesteps 0..999 of each clip."""
    level = _levels(time_B, latents)
    return level.sqrt() * latents + (1 - level).sqrt() * noise


def one_step(noisy: Tensor, noise: Tensor, time_B: Tensor) -> Tensor:
    """The clean latents that a predicted noise leads to in one step; pixels are judged on them (eq. 4)."""
    level = _levels(time_B, noisy)
    return (noisy - (1 - level).sqrt() * noise) / level.sqrt()


def sync_loss(syncnet: StableSyncNet, faces_BFCHW: Tensor, mel_B1MF: Tensor) -> Tensor:
    """How little a frozen SyncNet believes that the faces (or their latents) say the sound."""
    seen_BD, heard_BD = syncnet(syncnet.watch(faces_BFCHW), mel_B1MF)
    return cosine_loss(seen_BD, heard_BD, torch.ones(len(seen_BD), device=seen_BD.device)).mean()


def perceptual_loss(distance: nn.Module, made_BFCHW: Tensor, true_BFCHW: Tensor) -> Tensor:
    """LPIPS of the lower halves."""
    half = made_BFCHW.shape[-2] // 2
    made, true = (x[..., half:, :].flatten(0, 1) for x in (made_BFCHW, true_BFCHW))
    return distance(made, true).mean()


def trepa_loss(features: Callable[[Tensor], Tensor], made_BFCHW: Tensor, true_BFCHW: Tensor) -> Tensor:
    """Temporal representation alignment (eq. 6): distance of what a frozen video network makes of both clips."""
    made_BD, true_BD = (F.normalize(features(_as_video(x)), dim=1) for x in (made_BFCHW, true_BFCHW))
    return F.mse_loss(made_BD, true_BD)


def _as_video(pictures_BFCHW: Tensor) -> Tensor:
    """(B, 3, F, 224, 224) in 0..1."""
    frames_NCHW = F.interpolate(pictures_BFCHW.flatten(0, 1), (TREPA_SIDE, TREPA_SIDE), mode="bicubic")
    return (frames_NCHW / 2 + 0.5).clamp(0, 1).unflatten(0, pictures_BFCHW.shape[:2]).transpose(1, 2)


def _levels(time_B: Tensor, like: Tensor) -> Tensor:
    return alphas_cumprod().to(like.device)[time_B].to(like.dtype)[:, None, None, None, None]
