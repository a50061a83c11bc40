"""A SyncNet's pairs from reels of drawn characters (`training/reels.py`).

A reel's clip is too short to hold another moment, its sound is not: a false pair is the clip with the sound of another
moment of the same utterance. Moments at which the mouth would look the same are not asked about.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch

from ...audio import SAMPLE_RATE
from ...errors import InputError
from ...synth.speech import AMPLITUDE, Utterance, load_corpus
from ..generator import _mapped
from ..reels import STYLES
from .contrastive import Pairs
from .faces import FPS
from .mel import FRAMES_PER_SECOND, sync_mel
from .syncnet import SyncNetConfig

LEAD = 0.5
"""Seconds of silence around an utterance."""
MOUTH_SHARE = 0.42
"""Width of the mouth over the picture's; it lies in the middle of the lower half."""
LEAST_DIFFERENCE = 0.08
"""Of the mouth's opening, 0..1, over the frames of a window, between a false pair's two moments."""
TRIES = 20


def is_drawn(folder: str | Path) -> bool:
    return any(Path(folder).glob("reels_*.npz"))


class DrawnReels:
    """All shards of a folder; frames are mapped from the disk. InputError: the corpus that was spoken is not there."""

    def __init__(self, folder: Path, config: SyncNetConfig, resolution: int) -> None:
        self.config, self.resolution = config, resolution
        self.shards = [_opened(path) for path in sorted(folder.glob("reels_*.npz"))]
        corpus = folder.parent / f"corpus_{folder.name.partition('_')[2]}.npz"
        if not corpus.exists():
            raise InputError(f"{folder} needs the voices that it was drawn to, {corpus}")
        self.corpus: list[Utterance] = load_corpus(corpus)
        self._mel = lru_cache(maxsize=None)(self._read_mel)

    def pairs(self, batch: int, rng: np.random.Generator) -> Pairs:
        """Half of them false."""
        rows = [self._draw(rng) for _ in range(batch)]
        faces, mels, matched = (np.stack([row[part] for row in rows]) for part in range(3))
        return Pairs(torch.as_tensor(faces), torch.as_tensor(mels[:, None]), torch.as_tensor(matched))

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.float32]:
        """Faces (F, 3, R, R) in -1..1, mel (80, M), 1 or 0."""
        shard = self.shards[rng.integers(len(self.shards))]
        reel, clip = rng.integers(shard["utterance"].shape[0]), rng.integers(shard["utterance"].shape[1])
        fps, count = shard["fps"][reel], shard["frames"].shape[2]
        late = rng.uniform(0, max(0.0, (count - 1) / fps - (self.config.frames - 1) / FPS))
        at_F = np.clip(np.round((late + np.arange(self.config.frames) / FPS) * fps).astype(int), 0, count - 1)
        said, begin = int(shard["utterance"][reel, clip]), float(shard["start"][reel, clip]) + late
        amplitude = AMPLITUDE[STYLES[int(shard["style"][reel, clip])]]
        other = self._other(said, begin, amplitude, rng) if rng.random() < 0.5 else None
        faces = self._faces(shard["frames"][reel, clip][at_F], shard["mouth"][reel, clip][at_F])
        return faces, self._heard(said, begin if other is None else other), np.float32(other is None)

    def _other(self, said: int, begin: float, amplitude: float, rng: np.random.Generator) -> float | None:
        """Another moment of what is said at which the mouth is not as it is at `begin`."""
        times_F = np.arange(self.config.frames) / FPS
        utterance = self.corpus[said]
        seen_F = utterance.mouth_at(begin + times_F, amplitude)[:, 0]
        for _ in range(TRIES):
            other = float(rng.uniform(-0.3, utterance.duration - 0.2))
            there_F = utterance.mouth_at(other + times_F, amplitude)[:, 0]
            if np.abs(there_F - seen_F).mean() >= LEAST_DIFFERENCE:
                return other
        return None

    def _heard(self, said: int, begin: float) -> np.ndarray:
        mel_MF, width = self._mel(said), self.config.mel_frames
        start = int(FRAMES_PER_SECOND * (begin + LEAD))
        return mel_MF[:, start : start + width]

    def _read_mel(self, said: int) -> np.ndarray:
        lead = round(LEAD * SAMPLE_RATE)
        return sync_mel(np.pad(self.corpus[said].wave_S, (lead, 2 * lead)))

    def _faces(self, frames_FHWC: np.ndarray, mouth_F3: np.ndarray) -> np.ndarray:
        side, size = self.resolution, frames_FHWC.shape[1]
        scale = MOUTH_SHARE * side / (float(mouth_F3[:, 2].mean()) * size)
        faces = np.empty((len(frames_FHWC), 3, side, side), np.float32)
        for place, (frame, (x, y, _)) in enumerate(zip(frames_FHWC, mouth_F3 * size, strict=True)):
            to_face = np.float32([[scale, 0, side / 2 - scale * x], [0, scale, 0.75 * side - scale * y]])
            face = cv2.warpAffine(frame, to_face, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            faces[place] = face.transpose(2, 0, 1)
        return faces / 127.5 - 1


def _opened(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as data:
        shard = {key: data[key] for key in ("fps", "mouth", "utterance", "start", "style")}
    return shard | {"frames": _mapped(path)}
