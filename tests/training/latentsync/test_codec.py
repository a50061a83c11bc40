"""The autoencoder in a training: latents are drawn around the most likely ones, gradients come through the decoder."""

import copy

import pytest
import torch

from omnisync_core.models.picture_vae import SCALE, PictureVAE
from omnisync_core.training.latentsync.codec import Codec


@pytest.fixture(scope="module")
def vae() -> PictureVAE:
    torch.manual_seed(0)
    return PictureVAE(32, (1, 1, 1, 1), 1).eval()


def test_latents_are_drawn_from_the_posterior(vae):
    pictures = torch.randn(2, 3, 3, 16, 16)
    with torch.no_grad():
        mean, log_variance = vae.quant_conv(vae.encoder(pictures.flatten(0, 1))).chunk(2, 1)
        drawn = torch.stack([Codec(vae).encode(pictures).flatten(0, 1) for _ in range(200)]) / SCALE
    assert drawn.shape == (200, 6, 4, 2, 2)
    spread = (log_variance / 2).exp()
    assert ((drawn.mean(0) - mean) / spread).abs().max() < 5 / 200**0.5
    assert (drawn.std(0) / spread).mean().item() == pytest.approx(1, abs=0.03)


def test_gradients_come_through_the_decoder_and_not_to_it(vae):
    vae = copy.deepcopy(vae).double()
    latents = torch.randn(3, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    codec = Codec(vae)
    weight = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    (codec.decode(latents) * weight).sum().backward()
    plain = latents.detach().clone().requires_grad_(True)
    (vae.decode(plain) * weight).sum().backward()
    assert torch.allclose(latents.grad, plain.grad, atol=1e-9)
    assert latents.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in vae.parameters())
