"""Wan's autoencoder: the published names, causal, and chunks give what the whole gives."""

from copy import deepcopy

import pytest
import torch

from omnisync_core.errors import CheckpointError
from omnisync_core.models.vae import VAEConfig, VideoVAE
from omnisync_core.models.wan_vae import WanVAE, build_vae, read_wan_vae, wan_vae
from tests.tiny import stirred

CONFIG = VAEConfig(widths=(8, 16, 32), architecture="wan")


@pytest.fixture(scope="module")
def vae() -> WanVAE:
    torch.manual_seed(0)
    return stirred(build_vae(CONFIG)).eval().requires_grad_(False)


def published(vae: WanVAE) -> dict[str, torch.Tensor]:
    return {key: value for key, value in vae.state_dict().items() if not key.startswith("latent_")}


def test_its_size_and_names_are_the_public_files():
    with torch.device("meta"):
        whole = WanVAE(VAEConfig(widths=(96, 192, 384), architecture="wan"))
    tensors = published(whole)
    assert sum(value.numel() for value in tensors.values()) == 126_892_531
    assert len(tensors) == 194
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    assert shapes["encoder.downsamples.5.time_conv.weight"] == (192, 192, 3, 1, 1)
    assert shapes["decoder.upsamples.3.time_conv.weight"] == (768, 384, 3, 1, 1)
    assert shapes["decoder.upsamples.4.shortcut.weight"] == (384, 192, 1, 1, 1)
    assert shapes["decoder.middle.1.norm.gamma"] == (384, 1, 1)


def test_shapes_and_chunks(vae):
    video = torch.rand(1, 3, 13, 16, 24) * 2 - 1
    latent = vae.encode(video)
    assert latent.shape == (1, 16, 4, 2, 3)
    parts = torch.cat(list(vae.encode_chunks([video[:, :, :2], video[:, :, 2:9], video[:, :, 9:]])), 2)
    torch.testing.assert_close(parts, latent, atol=1e-4, rtol=1e-4)
    decoded = vae.decode(latent)
    assert decoded.shape == video.shape
    parts = torch.cat(list(vae.decode_chunks([latent[:, :, :1], latent[:, :, 1:3], latent[:, :, 3:]])), 2)
    torch.testing.assert_close(parts, decoded, atol=1e-4, rtol=1e-4)


def test_it_takes_float32_pictures_in_bfloat16(vae):
    half, video = deepcopy(vae).bfloat16(), torch.rand(1, 3, 9, 16, 16) * 2 - 1
    latent, decoded = vae.encode(video), vae.decode(vae.encode(video))
    assert (half.encode(video).float() - latent).abs().mean() < 0.05 * latent.abs().mean()
    assert (half.decode(latent).float() - decoded).abs().mean() < 0.05 * decoded.abs().mean()


def test_what_comes_later_changes_nothing_before(vae):
    video = torch.rand(1, 3, 9, 16, 16)
    other = video.clone()
    other[:, :, 5:] = 0
    torch.testing.assert_close(vae.encode(other)[:, :, :2], vae.encode(video)[:, :, :2])
    assert not torch.allclose(vae.encode(other)[:, :, 2:], vae.encode(video)[:, :, 2:])


def test_a_file_is_read_strictly(vae, tmp_path):
    tensors = published(vae)
    torch.save(tensors, tmp_path / "vae.pth")
    read = read_wan_vae(tmp_path / "vae.pth")
    assert read.config == CONFIG
    assert all(torch.equal(read.state_dict()[key], value) for key, value in tensors.items())
    key = "decoder.head.2.bias"
    with pytest.raises(CheckpointError, match=f"1 tensors are missing, unexpected or of another shape .first: {key}."):
        wan_vae({name: value for name, value in tensors.items() if name != key}, "a.pth")
    with pytest.raises(CheckpointError, match=r"no VAE of Wan 2\.1"):
        wan_vae(VideoVAE().state_dict(), "b.pth")
