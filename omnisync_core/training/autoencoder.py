"""Training of the video autoencoder on crops of drawn mouths."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from ..diffusion.guidance import gaussian
from ..models.vae import Memory
from .stage import device_of

MOUTH_WEIGHT = 6.0
KL_WEIGHT = 1e-4


class AutoencoderTraining(nn.Module):
    """The autoencoder as one differentiable pass: posterior sample, decode."""

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, video_BCTHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        memory: Memory = {}
        mean, log_variance = self.vae.moments(video_BCTHW, memory)
        log_variance = log_variance.float().clamp(-20, 10)
        latent = mean.float() + torch.randn_like(mean, dtype=torch.float32) * (0.5 * log_variance).exp()
        decoded = self.vae.decoder(rearrange(latent, "b c t h w -> b t h w c"), {})
        return decoded.float(), mean.float(), log_variance


def autoencoder_loss(model: nn.Module, video: Tensor, mouth_BT3: Tensor) -> dict[str, Tensor]:
    """L1 + 2 L2 + gradients, heavier at the mouth, and a small KL. video BCTHW in -1..1; mouth over the crop's side."""
    device = device_of(model)
    video, mouth_BT3 = video.to(device), mouth_BT3.to(device)
    decoded, mean, log_variance = model(video)
    near = torch.stack([gaussian(mouth_T3, tuple(video.shape[-2:]), 0.6) for mouth_T3 in mouth_BT3])[:, None]
    weight = 1 + MOUTH_WEIGHT * near
    weight = weight / weight.mean()
    difference = decoded - video
    loss = (weight * (difference.abs() + 2 * difference.square())).mean()
    for axis in (-1, -2):
        size = video.shape[axis] - 1
        loss = loss + (weight.narrow(axis, 0, size) * difference.diff(dim=axis).abs()).mean()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    mouth_mse = (near > 0.5).float().mul(difference.square()).sum() / (3 * (near > 0.5).float().sum()).clamp(min=1)
    return {
        "loss": loss + KL_WEIGHT * kl,
        "kl": kl.detach(),
        "psnr": 10 * torch.log10(4 / difference.square().mean().detach()),
        "psnr_mouth": 10 * torch.log10(4 / mouth_mse.detach()),
    }


def pixel_batch(
    shards: list[dict], batch: int, frames: int, size: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Random pieces of clips: `frames` frames of `size` pixels squared around the mouth or, one in five, anywhere."""
    videos, mouths = [], []
    for _ in range(batch):
        shard = shards[rng.integers(len(shards))]
        reel, clip = rng.integers(shard["frames"].shape[0]), rng.integers(shard["frames"].shape[1])
        first = rng.integers(shard["frames"].shape[2] - frames + 1)
        mouth_T3 = shard["mouth"][reel, clip, first : first + frames]
        side = shard["frames"].shape[3]
        corner = _corner(mouth_T3[0] * side, side, size, rng)
        piece = shard["frames"][reel, clip, first : first + frames]
        videos.append(piece[:, corner[1] : corner[1] + size, corner[0] : corner[0] + size])
        local = mouth_T3 * side / size
        local = local - np.array([corner[0] / size, corner[1] / size, 0], np.float32)
        mouths.append(local)
    video = torch.as_tensor(np.stack(videos)).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
    return video, torch.as_tensor(np.stack(mouths)).float()


def _corner(mouth_3: np.ndarray, side: int, size: int, rng: np.random.Generator) -> tuple[int, int]:
    if rng.random() < 0.2:
        x, y = rng.integers(side - size + 1, size=2)
        return int(x), int(y)
    wanted = mouth_3[:2] - size / 2 + rng.normal(size=2) * size * 0.12
    x, y = np.clip(wanted, 0, side - size)
    return int(x), int(y)


@torch.no_grad()
def psnr_sheet(vae: nn.Module, shard: dict) -> tuple[dict[str, float], np.ndarray]:
    """PSNR on a shard's first 24 clips, whole and at the mouth, and a picture: frames above, decoded below."""
    frames, mouth = shard["frames"][:24, 0], torch.as_tensor(shard["mouth"][:24, 0]).float()
    video = torch.as_tensor(frames).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
    decoded = []
    for clip in video.split(4):
        mean, _ = vae.moments(clip.to(device_of(vae)))
        decoded.append(vae.decoder(rearrange(mean, "b c t h w -> b t h w c"), {}).clamp(-1, 1).cpu())
    decoded = torch.cat(decoded)
    near = torch.stack([gaussian(mouth_T3, tuple(video.shape[-2:]), 0.6) for mouth_T3 in mouth])[:, None] > 0.5
    error = (decoded - video).square().mean(1, keepdim=True)
    figures = {
        "all": float(10 * torch.log10(4 / error.mean())),
        "mouth": float(10 * torch.log10(4 / error[near].mean())),
    }
    last = video.shape[2] - 1
    rows = [
        torch.cat(list(kind[:12, :, at].permute(0, 2, 3, 1)), 1)
        for at in (0, last // 2, last)
        for kind in (video, decoded)
    ]
    return figures, ((torch.cat(rows) + 1) * 127.5).clamp(0, 255).byte().numpy()
