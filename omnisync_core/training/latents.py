"""Reels as the transformer sees them: latents of every clip and the features of what each says.

Shapes: latent_RKCthw float16 (reels, clips), speech_RKTND float16, mouth_RKT3, style_RK.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..audio import SAMPLE_RATE, ArrayWave
from ..files import replacing
from ..models.vae import VideoVAE
from ..models.whisper import SpeechFeatures, WhisperEncoder, encode_windows
from ..synth.archive import opened
from ..synth.speech import Utterance
from .stage import device_of

_LEAD = 0.5
"""Seconds of silence around an utterance: a clip may begin before it and end after."""


@torch.no_grad()
def latent_statistics(vae: VideoVAE, shards: list[Path]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and spread of each latent channel over some clips."""
    reels = [opened(path)["frames"][:24] for path in shards]
    clips = [clip for reel in reels for clip in reel.reshape(-1, *reel.shape[2:])]
    parts = [torch.as_tensor(np.stack(clips[at : at + 8])) for at in range(0, len(clips), 8)]
    latents = torch.cat([vae.moments(as_video(part.to(device_of(vae))))[0] for part in parts])
    return latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))


class FeatureBank:
    """Features of every utterance of a corpus. Windows of all utterances are encoded together, once."""

    def __init__(self, encoder: WhisperEncoder, corpus: Sequence[Utterance], tokens: int, batch: int = 64) -> None:
        lead = round(_LEAD * SAMPLE_RATE)
        waves = [ArrayWave(np.pad(said.wave_S, lead)) for said in corpus]
        self.known = [SpeechFeatures(encoder, wave, tokens, kept_windows=1_000_000) for wave in waves]
        jobs = [(known, index) for known in self.known for index in range(known.window_count)]
        for at in range(0, len(jobs), batch):
            encode_windows(jobs[at : at + batch])

    def at(self, utterance: int, times_T: np.ndarray) -> np.ndarray:
        """(T, tokens, D) at times of the utterance; silence outside of it."""
        return self.known[utterance].at(np.asarray(times_T) + _LEAD)


def read_reels(shard: Path) -> dict[str, np.ndarray]:
    """The arrays of a shard of reels."""
    with opened(shard) as data:
        return {key: data[key] for key in data.files if key != "options"}


@torch.no_grad()
def encode_shard(shard: Path, out: Path, vae: VideoVAE, bank: FeatureBank, batch: int = 16) -> None:
    """Write the latents and features of one shard of reels."""
    reel = read_reels(shard)
    count, clips, frames = reel["frames"].shape[:3]
    flat, device = torch.as_tensor(reel["frames"]).flatten(0, 1), device_of(vae)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cpu"):
        parts = [vae.encode(as_video(part.to(device))).half().cpu() for part in flat.split(batch)]
    latent = torch.cat(parts).numpy()
    offsets = np.arange(frames) / reel["fps"][:, None, None] + reel["start"][..., None]
    speech = np.stack(
        [[bank.at(int(said), times) for said, times in zip(row, at, strict=True)]
         for row, at in zip(reel["utterance"], offsets, strict=True)]
    )  # fmt: skip
    with replacing(out) as part, open(part, "wb") as file:
        np.savez(
            file, latent=latent.reshape(count, clips, *latent.shape[1:]), speech=speech.astype(np.float16),
            mouth=reel["mouth"], style=reel["style"], scene=reel["scene"],
        )  # fmt: skip


def as_video(frames_BTHWC: torch.Tensor) -> torch.Tensor:
    """uint8 pictures as the autoencoder takes them: (B, 3, T, H, W) in -1..1."""
    return frames_BTHWC.permute(0, 4, 1, 2, 3).float() / 127.5 - 1
