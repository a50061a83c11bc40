"""A SyncNet's pairs from reels of drawn characters (`training/reels.py`).

A reel's clip is too short to hold another moment, its sound is not: a false pair is the clip with the sound of another
moment of the same utterance, or of what another clip says. Moments at which the mouth would look the same are not asked
about. Lower halves of aligned faces are cut once and kept beside a shard; voices are read as they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...audio import SAMPLE_RATE
from ...errors import InputError
from ...files import replacing
from ...synth.archive import opened
from ...synth.speech import AMPLITUDE, CURVE_RATE, Corpus, Utterance
from ...synth.visemes import REST
from ..reels import STYLES
from .contrastive import Crossed, Pairs
from .faces import FPS
from .mel import BINS, FRAMES_PER_SECOND, LARGEST, sync_mel
from .syncnet import SyncNetConfig

LEAD = 0.5
"""Seconds of silence around an utterance."""
MOUTH_SHARE = 0.42
"""Width of the mouth over the picture's; it lies in the middle of the lower half."""
LEAST_DIFFERENCE = 0.08
"""Of the mouth's opening, 0..1, over the frames of a window, between a false pair's two moments."""
LIGHT = 0.25
"""Spread of what a picture's contrast, and its brightness, are changed by while it is learned from."""
THROAT = 0.06
"""Spread of how far the pitches of a sound are stretched, while it is learned from: of the logarithm."""
LOUDNESS, TILT = 0.3, 0.5
"""Spread of a sound's level, and of what its highest band has over its lowest, in the picture's unit of 12.5 dB."""
TRIES = 20


@dataclass(frozen=True)
class Shown:
    """A window of a clip: what is seen, how far the mouth opens, and what is said from when on, how loudly."""

    halves_FHWC: np.ndarray
    opening_F: np.ndarray
    said: int
    begin: float
    amplitude: float


@dataclass(frozen=True)
class Voice:
    """What is asked of an utterance, in little memory."""

    mel_MF: np.ndarray
    """From `LEAD` before it on, float16."""
    opening_M: np.ndarray
    seconds: float


class Voices:
    """What a SyncNet hears of utterances, each read as it is asked for."""

    def __init__(self, corpus: Sequence[Utterance], config: SyncNetConfig) -> None:
        self.corpus, self.config = corpus, config
        self.of = lru_cache(maxsize=None)(self._read)

    def mel(self, said: int, begin: float) -> np.ndarray:
        """(80, M) float32 from a moment of an utterance on, seconds."""
        start = int(FRAMES_PER_SECOND * (begin + LEAD))
        return self.of(said).mel_MF[:, start : start + self.config.mel_frames].astype(np.float32)

    def opening(self, said: int, begin: float) -> np.ndarray:
        """Of the mouth, (F,) from a moment on, in plain speech."""
        opening_M = self.of(said).opening_M
        at_F = (begin + np.arange(self.config.frames) / FPS) * CURVE_RATE
        return np.interp(at_F, np.arange(len(opening_M)), opening_M, left=REST[0], right=REST[0])

    def _read(self, said: int) -> Voice:
        utterance, lead = self.corpus[said], round(LEAD * SAMPLE_RATE)
        mel_MF = sync_mel(np.pad(utterance.wave_S, (lead, 2 * lead))).astype(np.float16)
        return Voice(mel_MF, utterance.curve_M5[:, 0].copy(), utterance.duration)


def is_drawn(folder: str | Path) -> bool:
    return any(Path(folder).glob("reels_*.npz"))


class DrawnReels:
    """All shards of a folder. InputError: the corpus that was spoken is not there."""

    def __init__(self, folder: Path, config: SyncNetConfig, resolution: int) -> None:
        self.config, self.resolution = config, resolution
        corpus = folder.parent / f"corpus_{folder.name.partition('_')[2]}.npz"
        if not corpus.exists():
            raise InputError(f"{folder} needs the voices that it was drawn to, {corpus}")
        self.voices = Voices(Corpus(corpus), config)
        self.shards = [_opened(path, resolution) for path in sorted(folder.glob("reels_*.npz"))]

    def pairs(self, batch: int, rng: np.random.Generator) -> Pairs:
        """Half of them false: another moment of the same utterance."""
        shown = [self._draw(rng) for _ in range(batch)]
        matched = rng.random(batch) >= 0.5
        others = [None if true else self._other(one, rng) for one, true in zip(shown, matched, strict=True)]
        mels = [self._heard(one, other) for one, other in zip(shown, others, strict=True)]
        matched_B = torch.tensor([float(other is None) for other in others])
        return Pairs(self._faces(shown), torch.as_tensor(np.stack(mels))[:, None], matched_B)

    def crossed(self, batch: int, rng: np.random.Generator) -> Crossed:
        """Every clip with every sound: its own, another moment of each utterance, what the others say."""
        shown = [self._draw(rng) for _ in range(batch)]
        heard = [(one, begin) for one in shown for begin in (None, self._other(one, rng))]
        mels = torch.as_tensor(np.stack([self._heard(one, begin) for one, begin in heard]))[:, None]
        seen_BF = np.stack([one.opening_F for one in shown])
        loud_B11 = np.array([one.amplitude for one in shown])[:, None, None]
        begins = [one.begin if begin is None else begin for one, begin in heard]
        said_MF = np.stack([self.voices.opening(one.said, at) for (one, _), at in zip(heard, begins, strict=True)])
        apart_BM = np.abs(seen_BF[:, None] - loud_B11 * said_MF).mean(-1)
        matched_BM = np.where(apart_BM >= LEAST_DIFFERENCE, 0, np.nan).astype(np.float32)
        matched_BM[np.arange(batch), 2 * np.arange(batch)] = 1
        return Crossed(_lit(self._faces(shown), rng), _said_by_others(mels, rng), torch.as_tensor(matched_BM))

    def _draw(self, rng: np.random.Generator) -> Shown:
        shard = self.shards[rng.integers(len(self.shards))]
        reel, clip = rng.integers(shard["utterance"].shape[0]), rng.integers(shard["utterance"].shape[1])
        fps, count = shard["fps"][reel], shard["halves"].shape[2]
        late, at_F = draw_stretch(self.config.frames, fps, count, rng)
        halves, params, said, begin, style = (
            shard[name][reel, clip] for name in ("halves", "params", "utterance", "start", "style")
        )
        return Shown(halves[at_F], params[at_F, 0], int(said), float(begin) + late, AMPLITUDE[STYLES[int(style)]])

    def _other(self, shown: Shown, rng: np.random.Generator) -> float | None:
        """Another moment of what is said at which the mouth is not as it is shown."""
        for _ in range(TRIES):
            other = float(rng.uniform(-0.3, self.voices.of(shown.said).seconds - 0.2))
            opening_F = shown.amplitude * self.voices.opening(shown.said, other)
            if np.abs(opening_F - shown.opening_F).mean() >= LEAST_DIFFERENCE:
                return other
        return None

    def _heard(self, shown: Shown, begin: float | None) -> np.ndarray:
        """From a moment of what is said on; None: the clip's own."""
        return self.voices.mel(shown.said, shown.begin if begin is None else begin)

    def _faces(self, shown: list[Shown]) -> Tensor:
        """(B, F, 3, R, R) in -1..1."""
        halves = torch.as_tensor(np.stack([one.halves_FHWC for one in shown]))
        return as_faces(halves.permute(0, 1, 4, 2, 3) / 127.5 - 1)


def _lit(faces_BFCHW: Tensor, rng: np.random.Generator) -> Tensor:
    """Half of them mirrored, all in another light."""
    mirrored = torch.as_tensor(rng.random(len(faces_BFCHW)) < 0.5)
    faces_BFCHW[mirrored] = faces_BFCHW[mirrored].flip(-1)
    contrast, light = (torch.as_tensor(rng.normal(0, LIGHT, (len(faces_BFCHW), 1, 1, 1, 1))).float() for _ in range(2))
    return faces_BFCHW.mul_(contrast.exp()).add_(light)


def _said_by_others(mel_B1MF: Tensor, rng: np.random.Generator) -> Tensor:
    """Each sound as another throat says it: its bands stretched (Jaitly and Hinton, Vocal tract length perturbation,
    2013), louder or softer, brighter or duller."""
    count, bands = len(mel_B1MF), torch.arange(BINS, dtype=torch.float32)
    throat_B, level_B, tilt_B = (torch.as_tensor(rng.normal(0, by, count)).float() for by in (THROAT, LOUDNESS, TILT))
    at_BM = (bands * throat_B[:, None].exp()).clamp(max=BINS - 1)
    below_BM = at_BM.floor().clamp(max=BINS - 2)
    low, high = (
        mel_B1MF.gather(2, (below_BM.long() + more)[:, None, :, None].expand(mel_B1MF.shape)) for more in (0, 1)
    )
    stretched = low.lerp(high, (at_BM - below_BM)[:, None, :, None])
    raised_BM = level_B[:, None] + tilt_B[:, None] * (bands / (BINS - 1) - 0.5)
    return (stretched + raised_BM[:, None, :, None]).clamp(-LARGEST, LARGEST)


def _opened(path: Path, side: int) -> dict[str, np.ndarray]:
    """A shard with the lower halves (R, K, T, side // 2, side, 3) of its faces, cut where they are not yet."""
    kept = path.with_name(f"{path.stem}_halves_{side}.npy")
    with opened(path) as data:
        shard = {key: data[key] for key in ("fps", "mouth", "utterance", "start", "style", "params")}
        if not kept.exists() or kept.stat().st_mtime < path.stat().st_mtime:
            with replacing(kept) as part, open(part, "wb") as file:
                np.save(file, _halves(data["frames"], shard["mouth"], side))
    return shard | {"halves": opened(kept, mmap_mode="r")}


def draw_stretch(frames: int, fps: float, count: int, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """Of a clip of `count` frames: seconds until `frames` frames at 25 a second begin, and which are shown then."""
    late = rng.uniform(0, max(0.0, (count - 1) / fps - (frames - 1) / FPS))
    return late, np.clip(np.round((late + np.arange(frames) / FPS) * fps).astype(int), 0, count - 1)


def lower_halves(frames_THWC: np.ndarray, mouth_T3: np.ndarray, side: int) -> np.ndarray:
    """uint8 (T, side // 2, side, 3) of pictures with the mouth at x, y, one `MOUTH_SHARE` wide in all; pixels."""
    scale = MOUTH_SHARE * side / float(mouth_T3[:, 2].mean())
    halves = np.empty((len(frames_THWC), side // 2, side, 3), np.uint8)
    for half, frame, (x, y, _) in zip(halves, frames_THWC, mouth_T3, strict=True):
        to_half = np.float32([[scale, 0, side / 2 - scale * x], [0, scale, side / 4 - scale * y]])
        half[:] = cv2.warpAffine(frame, to_half, (side, side // 2), borderMode=cv2.BORDER_REPLICATE)
    return halves


def as_faces(halves_BFCHW: Tensor) -> Tensor:
    """Whole faces for a SyncNet: the upper half, at which none looks, is grey."""
    return F.pad(halves_BFCHW, (0, 0, halves_BFCHW.shape[-2], 0))


def sampled_faces(frames_BFCHW: Tensor, mouth_BF3: Tensor, side: int) -> Tensor:
    """`as_faces` of the same lower halves with gradients; square pictures, mouths over their side."""
    size = frames_BFCHW.shape[-1]
    scale_B = MOUTH_SHARE * side / (mouth_BF3[..., 2].mean(1) * size)
    places = torch.arange(side).to(mouth_BF3)
    from_mouth_VU2 = torch.stack(torch.meshgrid(places - side / 2, places[: side // 2] - side / 4, indexing="xy"), -1)
    at_BFVU2 = from_mouth_VU2 / scale_B[:, None, None, None, None] + mouth_BF3[..., None, None, :2] * size
    grid_NVU2 = (at_BFVU2 * (2 / (size - 1)) - 1).flatten(0, 1)
    halves_NCVU = F.grid_sample(frames_BFCHW.flatten(0, 1), grid_NVU2, padding_mode="border", align_corners=True)
    return as_faces(halves_NCVU.unflatten(0, mouth_BF3.shape[:2]))


def _halves(frames_RKTHWC: np.ndarray, mouth_RKT3: np.ndarray, side: int) -> np.ndarray:
    *counts, size, _, _ = frames_RKTHWC.shape
    halves = np.empty((*counts, side // 2, side, 3), np.uint8)
    for at in np.ndindex(*counts[:2]):
        halves[at] = lower_halves(frames_RKTHWC[at], mouth_RKT3[at] * size, side)
    return halves
