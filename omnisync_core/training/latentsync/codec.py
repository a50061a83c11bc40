"""Stable Diffusion's autoencoder as the trainings see it: frozen, with gradients through the decoder.

Shapes: clips of pictures (B, F, 3, S, S) in -1..1, latents (B, F, 4, S / 8, S / 8).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...models.picture_vae import SCALE, PictureVAE

AT_ONCE = 2
"""Pictures that are encoded or decoded together: the others' activations are computed when their turn comes."""
LOG_VARIANCE = -30.0, 20.0


class Codec:
    """Over the public autoencoder."""

    def __init__(self, vae: PictureVAE) -> None:
        self.vae = vae.eval().requires_grad_(False)

    def to(self, device: torch.device) -> Codec:
        self.vae.to(device)
        return self

    @torch.no_grad()
    def encode(self, pictures_BFCHW: Tensor) -> Tensor:
        """Latents drawn from the posterior, as in the official training."""
        parts = pictures_BFCHW.flatten(0, 1).split(AT_ONCE)
        moments = torch.cat([self.vae.quant_conv(self.vae.encoder(part)) for part in parts])
        mean, log_variance = moments.chunk(2, 1)
        drawn = mean + (log_variance.clamp(*LOG_VARIANCE) / 2).exp() * torch.randn_like(mean)
        return (SCALE * drawn).unflatten(0, pictures_BFCHW.shape[:2])

    def decode(self, latents_NChw: Tensor) -> Tensor:
        """Pictures (N, 3, S, S) of latents (N, 4, h, w)."""
        parts = latents_NChw.split(AT_ONCE)
        return torch.cat([checkpoint(self.vae.decode, part, use_reentrant=False) for part in parts])
