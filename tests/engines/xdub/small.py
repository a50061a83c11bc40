"""X-Dub's parts at the smallest size that still has every kind of layer, with random weights."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from omnisync_core.audio import ArrayWave
from omnisync_core.engines.xdub.config import XDubConfig
from omnisync_core.engines.xdub.dit import XDubDiT
from omnisync_core.engines.xdub.engine import PlacedDiT, Settings, XDubEngine
from omnisync_core.models.whisper import WhisperEncoder

HEARS, WAV = 16, 6
CONFIG = XDubConfig(
    width=40, depth=2, heads=2, ffn_width=48, latent_channels=4, text_dim=12, frequency_dim=32,
    audio_dim=HEARS + WAV, audio_width=16, audio_depth=2, audio_heads=2, audio_positions=10,
)  # fmt: skip
WHISPER = {
    "d_model": HEARS, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "num_mel_bins": 80,
    "max_source_positions": 1500,
}  # fmt: skip
SIZE, WINDOW = 128, 17


def dit(seed: int = 0) -> XDubDiT:
    """Every parameter away from zeros and ones."""
    torch.manual_seed(seed)
    network = XDubDiT(CONFIG).eval().requires_grad_(False)
    for name, value in network.state_dict().items():
        value.copy_(torch.randn_like(value) * (0.3 if value.ndim > 1 else 0.1) + (1 if "norm" in name else 0))
    return network


def whisper(seed: int = 0) -> WhisperEncoder:
    torch.manual_seed(seed)
    return WhisperEncoder(WHISPER).eval().requires_grad_(False)


def wav2vec(wave_S: np.ndarray) -> np.ndarray:
    """States of 400 samples each, 320 apart: spread, mean and four more that follow from them."""
    seen = np.lib.stride_tricks.sliding_window_view(wave_S, 400)[::320]
    return np.stack([seen.std(1) * factor + seen.mean(1) for factor in (1, 0.5, 2, -1, 0, 3)], 1).astype(np.float32)


def wave(samples) -> ArrayWave:
    return ArrayWave(np.asarray(samples, np.float32))


def noisy_wave(seconds: float) -> ArrayWave:
    return wave(np.random.default_rng(0).normal(0, 0.1, round(seconds * 16000)))


class Blocks:
    """A causal codec: mean colours of 16 x 16 x 4 blocks (the first picture alone), and a fourth channel; counts."""

    def __init__(self):
        self.encoded, self.decoded = [], []

    def encode(self, frames_THWC: np.ndarray) -> torch.Tensor:
        self.encoded.append(len(frames_THWC))
        video = torch.from_numpy(np.ascontiguousarray(frames_THWC, np.float32)).permute(3, 0, 1, 2)[None] * 2 - 1
        coarse = F.avg_pool3d(torch.cat([video[:, :, :1].expand(-1, -1, 4, -1, -1), video[:, :, 1:]], 2), (4, 16, 16))
        return torch.cat([coarse, coarse.mean(1, keepdim=True)], 1)

    def decode(self, latents: torch.Tensor) -> np.ndarray:
        self.decoded.append(1 + 4 * (latents.shape[2] - 1))
        video = F.interpolate(latents[:, :3], scale_factor=(4, 16, 16))[:, :, 3:]
        return (video[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 3, 0).numpy()


class Mouth(PlacedDiT):
    """A denoiser that knows the source and paints over its lower middle by how much it hears; logs its calls."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, noisy_calls=()):
        self.calls: list[dict] = []
        self.noisy_calls = noisy_calls

    def predict(self, latents, timestep, *, ref_latents, context, audio_feats, motion_frames):
        self.calls.append({"rows": len(latents), "level": float(timestep[0]), "motion": motion_frames,
                           "context": context, "audio": audio_feats})  # fmt: skip
        heard = audio_feats.mean((2, 3))[:, None, :, None, None].tanh()
        wanted = ref_latents.clone()
        middle = latents.shape[-1] // 2
        wanted[..., middle : middle + 1, middle - 1 : middle + 1] += 0.05 * heard
        if len(self.calls) - 1 in self.noisy_calls:
            wanted = 3 * torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1))
        return (latents - wanted) / (timestep / 1000).reshape(-1, 1, 1, 1, 1)


def engine(denoiser=None, codec=None, **settings) -> XDubEngine:
    chosen = Settings(**{"steps": 3, "crop_size": SIZE, "window_frames": WINDOW, **settings})
    prompt = torch.linspace(-1, 1, CONFIG.text_dim)[None]
    return XDubEngine(denoiser or Mouth(), codec or Blocks(), whisper(), wav2vec, prompt, chosen, "small")
