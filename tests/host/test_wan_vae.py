"""Wan 2.1's autoencoder in the core computes what the host's does, and a bundle that holds it loads as a host VAE."""

from dataclasses import asdict

import pytest
import torch

CLOSE = 1e-5


@pytest.fixture(scope="module")
def published(host) -> dict[str, torch.Tensor]:
    """The host's network, narrow, with random weights, under the published names."""
    from comfy.ldm.wan.vae import WanVAE

    torch.manual_seed(0)
    network = WanVAE(
        dim=8, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[],
        temperal_downsample=[False, True, True],
    )  # fmt: skip
    return {key: _drawn(key, value) for key, value in network.state_dict().items()}


def _drawn(key: str, value: torch.Tensor) -> torch.Tensor:
    """Norms near 1, matrices that keep the size of what goes through."""
    spread = 0.5 * value[0].numel() ** -0.5 if value.ndim > 1 and "gamma" not in key else 0.1
    return spread * torch.randn(value.shape) + float("gamma" in key)


def test_it_is_the_hosts(host, published):
    from comfy.latent_formats import Wan21
    from comfy.ldm.wan.vae import WanVAE

    theirs = WanVAE(
        dim=8, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[],
        temperal_downsample=[False, True, True],
    )  # fmt: skip
    theirs.load_state_dict(published)
    ours, scale = host.module("omnisync_core.models.wan_vae").wan_vae(published, "wan"), Wan21()
    video = torch.rand(1, 3, 13, 32, 24) * 2 - 1
    with torch.no_grad():
        latent = scale.process_in(theirs.eval().encode(video))
        torch.testing.assert_close(ours.encode(video), latent, atol=CLOSE, rtol=CLOSE)
        torch.testing.assert_close(
            ours.decode(latent), theirs.decode(scale.process_out(latent)), atol=CLOSE, rtol=CLOSE
        )


def test_a_bundle_with_it_loads(host, published, tmp_path):
    core = host.module
    ours = core("omnisync_core.models.wan_vae").wan_vae(published, "wan")
    dit = core("omnisync_core.models.dit").DiTConfig(
        width=24, depth=1, heads=2, ffn_width=32, speech_dim=16, text_dim=8, norm="layer", text_first=True
    )
    whisper = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32,
               "num_mel_bins": 80, "max_source_positions": 60}  # fmt: skip
    text = {"architecture": "byt5", "vocab_size": 384, "d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1,
            "num_heads": 2, "feed_forward_proj": "gated-gelu"}  # fmt: skip
    networks = {
        "dit": core("omnisync_core.models.dit").DiT(dit), "vae": ours,
        "whisper": core("omnisync_core.models.whisper").WhisperEncoder(whisper),
        "text": core("omnisync_core.models.text").TextEncoder(text),
    }  # fmt: skip
    spec = core("omnisync_core.spec").VideoSpec(crop_size=32, window_frames=9, overlap_frames=5)
    config = {"dit": asdict(dit), "vae": asdict(ours.config), "whisper": whisper, "text": text, "spec": asdict(spec)}
    path = tmp_path / "wan.safetensors"
    core("omnisync_core.checkpoint").write_bundle(path, networks, config, torch.float32)
    _, vae, _, _ = core("nodes.host.models").load_bundle(path, "float32")
    pictures = torch.rand(9, 32, 32, 3)
    latent = vae.encode(pictures)
    assert latent.shape == (1, 16, 3, 4, 4)
    with torch.no_grad():
        expected = ours.encode(pictures.movedim(-1, 0)[None] * 2 - 1)
    torch.testing.assert_close(latent, expected, atol=1e-4, rtol=1e-4)
    assert vae.decode(latent).shape == (1, 9, 32, 32, 3)
