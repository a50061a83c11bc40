"""The two encoders of the mini, trained before the transformer and frozen then.

The Whisper-shaped encoder learns to read the mouth's parameters from sound; the ByT5-shaped one the amplitude that a
caption asks for. Their heads are thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..audio import SAMPLE_RATE, log_mel
from ..models.text import TextEncoder
from ..models.whisper import STATES_PER_SECOND, WhisperEncoder
from ..synth.speech import AMPLITUDE, CAPTIONS, MOUTH_PARAMS, Utterance, caption
from .fit import log_unseen
from .stage import device_of, run_stage, step_rng

UNSEEN = 96
"""Sayings of a report."""
WORDS = ("person", "man", "woman", "character", "cat", "dog", "animal", "robot", "bird", "cartoon character")


class SpeechReader(nn.Module):
    def __init__(self, config: dict) -> None:
        super().__init__()
        self.encoder = WhisperEncoder(config)
        self.head = nn.Linear(self.encoder.width, len(MOUTH_PARAMS))

    def forward(self, mel_BMF: Tensor) -> Tensor:
        """Mouth parameters (B, positions, 5)."""
        return self.head(self.encoder(mel_BMF))


@torch.no_grad()
def fit_head(reader: SpeechReader, mel_BMF: Tensor, target_BTP: Tensor) -> None:
    """The head that reads these mouths best from the features as they are (ridge regression: bf16 can bear it)."""
    read = torch.cat([reader.encoder(part) for part in mel_BMF.split(8)]).flatten(0, 1).double()
    read = torch.cat([read, torch.ones_like(read[:, :1])], 1)
    ridge = torch.eye(read.shape[1], dtype=read.dtype)
    weight = torch.linalg.solve(read.T @ read + ridge, read.T @ target_BTP.flatten(0, 1).double())
    reader.head.weight.copy_(weight[:-1].T)
    reader.head.bias.copy_(weight[-1])


def train_reader(
    reader: SpeechReader, corpora: Mapping[str, Sequence[Utterance]], options: Mapping[str, Any], work: Path, seed: int
) -> WhisperEncoder:
    """The encoder of a reader that learned `options["steps"]` batches; what it reads of unseen sayings is logged."""
    config = reader.encoder.config

    def loss_of(model: nn.Module, step: int) -> dict[str, Tensor]:
        return speech_loss(model, *speech_batch(corpora["train"], config, options["batch"], step_rng(seed, 1, step)))

    @torch.no_grad()
    def report(model: nn.Module, step: int) -> None:
        unseen = speech_batch(corpora["test"], config, UNSEEN, step_rng(seed, 7))
        log_unseen(work, "speech", step, speech_loss(model, *unseen))

    steps, rate = options["steps"], options["lr"]
    return run_stage("speech", work, reader, loss_of, steps=steps, lr=rate, seed=seed, sheet=report).encoder.eval()


def speech_batch(
    corpus: Sequence[Utterance], config: dict, batch: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Log-mel windows and the mouth's parameters at the encoder's positions.

    The sound is played faster or slower (which moves its formants: another voice), louder or softer, with noise, and
    bands and moments of its picture are wiped out (SpecAugment): voices that were never heard must be readable too.
    """
    positions = config["max_source_positions"]
    samples = positions * SAMPLE_RATE // STATES_PER_SECOND
    at_S = np.arange(samples) / SAMPLE_RATE
    mels, targets = [], []
    for _ in range(batch):
        said = corpus[int(rng.integers(len(corpus)))]
        start = rng.uniform(-0.4, 0.4) * samples / SAMPLE_RATE
        speed = np.exp(rng.uniform(-0.18, 0.18))
        grid_S = np.arange(len(said.wave_S)) / SAMPLE_RATE
        wave_S = np.interp(start + at_S * speed, grid_S, said.wave_S, left=0, right=0) * 10 ** rng.uniform(-0.8, 0.3)
        if rng.random() < 0.5:
            wave_S = wave_S + 10 ** rng.uniform(-4, -2) * np.abs(wave_S).max() * rng.normal(size=samples)
        mels.append(_wipe(log_mel(np.clip(wave_S, -1, 1), config["num_mel_bins"]), rng))
        targets.append(said.mouth_at(start + (np.arange(positions) + 0.5) / STATES_PER_SECOND * speed))
    return torch.as_tensor(np.stack(mels)), torch.as_tensor(np.stack(targets))


def _wipe(mel_MF: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    for axis, widest, count in ((0, 14, 2), (1, 12, 3)):
        for _ in range(count):
            width = int(rng.integers(widest + 1))
            first = int(rng.integers(mel_MF.shape[axis] - width + 1))
            piece = [slice(None), slice(None)]
            piece[axis] = slice(first, first + width)
            mel_MF[tuple(piece)] = mel_MF.mean()
    return mel_MF


def speech_loss(model: nn.Module, mel: Tensor, target: Tensor) -> dict[str, Tensor]:
    target = target.to(device_of(model))
    read = model(mel.to(target.device)).float()
    weight = torch.tensor([4.0, 2.0, 2.0, 1.0, 0.5], device=target.device)
    loss = (F.smooth_l1_loss(read, target, beta=0.1, reduction="none") * weight).mean()
    return {"loss": loss, "r_opening": correlation(read[..., 0].flatten(), target[..., 0].flatten())}


def correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = a.detach(), b.detach()
    return F.cosine_similarity(a - a.mean(), b - b.mean(), dim=0)


class CaptionReader(nn.Module):
    def __init__(self, config: dict) -> None:
        super().__init__()
        self.encoder = TextEncoder(config)
        self.head = nn.Linear(self.encoder.width, 1)

    def forward(self, captions: list[str]) -> Tensor:
        """The amplitude that each caption asks for."""
        features = self.encoder.encode(captions)
        filled = (features.abs().sum(-1) > 0).sum(1, keepdim=True).clamp(min=1)
        return self.head(features.sum(1) / filled).squeeze(-1)


def caption_loss(model: nn.Module, batch: int, rng: np.random.Generator) -> dict[str, Tensor]:
    styles = rng.choice(list(CAPTIONS), size=batch)
    texts = [_vary(caption(style, rng, str(rng.choice(WORDS))), rng) for style in styles]
    read = model(texts).float()
    target = torch.tensor([AMPLITUDE[style] for style in styles], device=read.device)
    return {"loss": F.mse_loss(read, target), "r_amplitude": correlation(read, target)}


def _vary(text: str, rng: np.random.Generator) -> str:
    """Case and the closing full stop mean nothing."""
    text = text.lower() if rng.random() < 0.3 else text
    return text.rstrip(".") if rng.random() < 0.5 else text
