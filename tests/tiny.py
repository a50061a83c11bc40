"""The four networks at the smallest size that still has every part, with random weights, and engines of them."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace

import torch
from torch import nn

from omnisync_core.engines.omnisync import OmniSyncEngine, Sampling
from omnisync_core.models.dit import DiT, DiTConfig
from omnisync_core.models.text import TextEncoder
from omnisync_core.models.vae import VAEConfig, VideoVAE
from omnisync_core.models.whisper import WhisperEncoder
from omnisync_core.spec import VideoSpec

DIT = DiTConfig(
    width=24, depth=2, heads=2, ffn_width=32, speech_dim=16, text_dim=8, speech_tokens=2, speech_width=16,
    speech_hidden=16, speech_context=3, residual_std=0.5,
)  # fmt: skip
VAE = VAEConfig(widths=(8, 8, 16), encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1, 1))
WHISPER = {
    "d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "num_mel_bins": 80,
    "max_source_positions": 60,
}  # fmt: skip
TEXT = {
    "architecture": "byt5", "vocab_size": 384, "d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2,
    "feed_forward_proj": "gated-gelu", "tie_word_embeddings": True,
}  # fmt: skip
SPEC = VideoSpec(crop_size=32, window_frames=9, overlap_frames=5)
CONFIG = {"dit": asdict(DIT), "vae": asdict(VAE), "whisper": WHISPER, "text": TEXT, "spec": asdict(SPEC)}


def networks(seed: int = 0) -> dict[str, nn.Module]:
    torch.manual_seed(seed)
    parts = {"dit": DiT(DIT), "vae": VideoVAE(VAE), "whisper": WhisperEncoder(WHISPER), "text": TextEncoder(TEXT)}
    return {name: stirred(part).eval().requires_grad_(False) for name, part in parts.items()}


def engine(sampling: Sampling | None = None, seed: int = 0, **settings) -> OmniSyncEngine:
    return OmniSyncEngine(networks(seed), SPEC, sampling or Sampling(steps=3), "tiny", **settings)


def counted(*names: str) -> tuple[SimpleNamespace, list[nn.Module]]:
    """Operations as a host gives them: its own layers, and the list of those that were made."""
    made: list[nn.Module] = []

    def own(name):
        def __init__(self, *args, **kwargs):
            getattr(nn, name).__init__(self, *args, **kwargs)
            made.append(self)

        return type(name, (getattr(nn, name),), {"__init__": __init__})

    return SimpleNamespace(**{name: own(name) for name in names}), made


def stirred(module: nn.Module) -> nn.Module:
    """Every parameter a little away from where it starts: zeros and ones hide mistakes."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module
