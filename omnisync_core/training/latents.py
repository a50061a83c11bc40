"""Reels as the transformer sees them: latents of every clip and the features of what each says.

Shapes: latent_RKCthw float16 (reels, clips), speech_RKTND float16, mouth_RKT3, style_RK.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..audio import SAMPLE_RATE, ArrayWave
from ..models.vae import VideoVAE
from ..models.whisper import SpeechFeatures, WhisperEncoder
from ..synth.speech import Utterance

_LEAD = 0.5
"""Seconds of silence around an utterance: a clip may begin before it and end after."""


@torch.no_grad()
def latent_statistics(vae: VideoVAE, shards: list[Path]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and spread of each latent channel over some clips."""
    clips = [np.load(path)["frames"][:24].reshape(-1, *np.load(path)["frames"].shape[2:]) for path in shards]
    latents = torch.cat([vae.moments(_video(part))[0] for clip in clips for part in np.array_split(clip, 12)])
    return latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))


class FeatureBank:
    """Features of every utterance of a corpus, each encoded once."""

    def __init__(self, encoder: WhisperEncoder, corpus: list[Utterance], tokens: int):
        self.encoder, self.corpus, self.tokens = encoder, corpus, tokens
        self.known: dict[int, SpeechFeatures] = {}

    def at(self, utterance: int, times_T: np.ndarray) -> np.ndarray:
        """(T, tokens, D) at times of the utterance; silence outside of it."""
        if utterance not in self.known:
            lead = round(_LEAD * SAMPLE_RATE)
            wave = ArrayWave(np.pad(self.corpus[utterance].wave_S, lead))
            self.known[utterance] = SpeechFeatures(self.encoder, wave, self.tokens)
        return self.known[utterance].at(np.asarray(times_T) + _LEAD)


@torch.no_grad()
def encode_shard(shard: Path, out: Path, vae: VideoVAE, bank: FeatureBank, batch: int = 16) -> None:
    """Write the latents and features of one shard of reels."""
    with np.load(shard) as data:
        reel = {key: data[key] for key in data.files if key != "options"}
    count, clips, frames = reel["frames"].shape[:3]
    flat = reel["frames"].reshape(count * clips, *reel["frames"].shape[2:])
    with torch.autocast("cpu", torch.bfloat16, enabled=not torch.cuda.is_available()):
        parts = [vae.encode(_video(flat[at : at + batch])).half() for at in range(0, len(flat), batch)]
    latent = torch.cat(parts).numpy()
    offsets = np.arange(frames) / reel["fps"][:, None, None] + reel["start"][..., None]
    speech = np.stack(
        [[bank.at(int(said), times) for said, times in zip(row, at, strict=True)]
         for row, at in zip(reel["utterance"], offsets, strict=True)]
    )  # fmt: skip
    temporary = out.with_suffix(".part")
    with open(temporary, "wb") as file:
        np.savez(
            file, latent=latent.reshape(count, clips, *latent.shape[1:]), speech=speech.astype(np.float16),
            mouth=reel["mouth"], style=reel["style"], scene=reel["scene"],
        )  # fmt: skip
    temporary.replace(out)


def _video(frames_BTHWC: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(frames_BTHWC).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
