"""LatentSync's parts at the smallest size that still has every kind of layer, with random weights."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from omnisync_core.engines.latentsync.config import AttentionConfig, BlockConfig, LayerConfig, MotionConfig, UNetConfig
from omnisync_core.engines.latentsync.engine import LatentSyncEngine, Settings
from omnisync_core.engines.latentsync.unet import UNet
from omnisync_core.models.picture_vae import PictureVAE
from omnisync_core.models.whisper import WhisperEncoder

AUDIO = 16
WHISPER = {
    "d_model": AUDIO, "encoder_layers": 4, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "num_mel_bins": 80,
    "max_source_positions": 1500,
}  # fmt: skip


def layer(inputs: int, *, attends: bool = True, moves: bool = True, width: int = 32) -> LayerConfig:
    attention = AttentionConfig(1, width, AUDIO, linear=False) if attends else None
    return LayerConfig(inputs, width, attention, MotionConfig(1, 2, width, 24) if moves else None)


CONFIG = UNetConfig(
    in_channels=13, out_channels=4, width=32, time_width=128,
    down=(BlockConfig((layer(32),), sampler=True), BlockConfig((layer(32, attends=False),), sampler=False)),
    mid=(layer(32, attends=False, moves=False), layer(32, moves=False)),
    up=(
        BlockConfig((layer(64, attends=False), layer(64, attends=False)), sampler=True),
        BlockConfig((layer(64), layer(64)), sampler=False),
    ),
)  # fmt: skip


def unet(seed: int = 0) -> UNet:
    torch.manual_seed(seed)
    network = UNet(CONFIG).eval().requires_grad_(False)
    for name, buffer in network.named_buffers():
        if name.endswith(".pe"):
            buffer.copy_(torch.randn_like(buffer))
    return network


def whisper(seed: int = 0) -> WhisperEncoder:
    torch.manual_seed(seed)
    return WhisperEncoder(WHISPER).eval().requires_grad_(False)


class Blocks:
    """A codec whose latents are the mean colours of 8 x 8 blocks; counts its calls and their pictures."""

    def __init__(self):
        self.encoded, self.decoded = [], []

    def encode(self, faces_NRRC: torch.Tensor) -> torch.Tensor:
        self.encoded.append(len(faces_NRRC))
        colours = F.avg_pool2d(faces_NRRC.permute(0, 3, 1, 2) * 2 - 1, 8)
        return torch.cat([colours, colours.mean(1, keepdim=True)], 1)

    def decode(self, latents_NChw: torch.Tensor) -> torch.Tensor:
        self.decoded.append(len(latents_NChw))
        return (F.interpolate(latents_NChw[:, :3], scale_factor=8) / 2 + 0.5).permute(0, 2, 3, 1)


class Loud:
    """A denoiser that knows the face and paints over what is drawn anew by how much it hears."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self):
        self.calls: list[tuple[tuple[int, ...], bool]] = []

    def resident(self, sample_shape):
        return nullcontext()

    def predict(self, sample, timestep, audio, deep):
        self.calls.append((tuple(sample.shape), deep is not None))
        level = 1 - timestep / 1000
        heard = audio.mean((2, 3))[:, None, :, None, None]
        wanted = sample[:, 9:] + (1 - sample[:, 4:5]) * heard
        return (sample[:, :4] - level * wanted) / max(1 - level, 0.05), sample


def engine(denoiser=None, codec=None, **settings) -> LatentSyncEngine:
    chosen = Settings(**{"steps": 3, **settings})
    return LatentSyncEngine(denoiser or Loud(), codec or Blocks(), whisper(), chosen, "small")


def write_files(folder: Path) -> tuple[Path, Path, Path]:
    """UNet, autoencoder and Whisper as published, under the public names."""
    torch.manual_seed(0)
    paths = folder / "latentsync_unet.pt", folder / "sd-vae-ft-mse.safetensors", folder / "tiny.pt"
    hearing = {f"encoder.{name.removeprefix('encoder.')}": v for name, v in whisper().state_dict().items()}
    torch.save({"global_step": 1, "state_dict": unet().state_dict()}, paths[0])
    save_file(PictureVAE(32, (1, 1, 1, 1), 1).state_dict(), paths[1])
    torch.save({"dims": {"n_audio_head": 2}, "model_state_dict": hearing}, paths[2])
    return paths
