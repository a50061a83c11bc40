"""Does the mouth go with the sound? A SyncNet that learned from drawn characters as the judge of drawn clips.

It is asked about every window of a clip: is this what is said now (yes is right), is it what is said at another moment,
at which the truth's mouth is open otherwise (no is right)? W windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ..synth.clips import Clip, read_clip, read_video
from ..training.latentsync.drawn import LEAST_DIFFERENCE, as_faces, lower_halves
from ..training.latentsync.faces import FPS
from ..training.latentsync.mel import sync_mel, window_of
from ..training.latentsync.syncnet import StableSyncNet
from .figures import Figure, bootstrap

FURTHEST = 15
"""Frames (25 a second) by which the sound is shifted to each side."""
COLUMNS = {"accuracy": "accuracy", "agreement": "agreement", "confidence": "confidence", "offset": "offset, frames"}
BATCH = 32


@dataclass(frozen=True)
class Agreement:
    """What a SyncNet says of a clip with the sound that it was made for."""

    accuracy: float
    """Share of right answers, what is true and what is false weighing the same; 1/2: it cannot tell."""
    agreement: float
    """Mean cosine of what is seen and what is said then, 0..1."""
    confidence: float
    """Cosine at the best shift of the sound over the median of all shifts."""
    offset: int
    """That shift: frames that the sound comes late."""


def judge(folders: Sequence[Path], name: str, syncnet: StableSyncNet) -> dict[str, list[Agreement]]:
    """Of the results `<name>.mkv` of drawn clips, of their truths and of their sources, all with the new sound."""
    rows: dict[str, list[Agreement]] = {"result": [], "truth itself": [], "source unchanged": []}
    for folder in folders:
        clip = read_clip(folder)
        pictures = (read_video(folder / f"{name}.mkv"), clip.truth_frames, clip.source_frames)
        for row, frames in zip(rows.values(), pictures, strict=True):
            row.append(agreement(frames, clip, syncnet))
    return rows


@torch.inference_mode()
def agreement(frames_THWC: np.ndarray, clip: Clip, syncnet: StableSyncNet) -> Agreement:
    """Of pictures that show the clip's truth, well or badly. ValueError: the clip is shorter than two windows."""
    frames, side = syncnet.config.frames, syncnet.config.resolution
    shown_N = np.arange(int(len(frames_THWC) / clip.fps * FPS)) * clip.fps / FPS
    shown_N = shown_N.round().astype(int).clip(0, len(frames_THWC) - 1)
    mouth_N3 = np.column_stack([clip.center_T2, np.full(len(clip.center_T2), clip.width)])[shown_N]
    halves_NHWC = torch.as_tensor(lower_halves(frames_THWC[shown_N], mouth_N3, side))
    count = len(shown_N) - frames + 1
    if count <= frames:
        raise ValueError(f"a SyncNet of {frames} frames needs a clip of {2 * frames} or more, got {len(shown_N)}")
    mel_MF = sync_mel(np.pad(clip.target_wave, (0, 16000)))
    faces_NCHW = as_faces(halves_NHWC.permute(0, 3, 1, 2)[None] / 127.5 - 1)[0]
    seen = [syncnet.watch(torch.stack([faces_NCHW[at : at + frames] for at in part])) for part in _parts(count)]
    heard = [np.stack([window_of(mel_MF, at, FPS, syncnet.config.mel_frames) for at in part]) for part in _parts(count)]
    seen_WD = torch.cat([syncnet.visual_encoder(one) for one in seen])
    heard_WD = torch.cat([syncnet.audio_encoder(torch.as_tensor(one)[:, None]) for one in heard])
    opening_N = clip.truth_mouth_T5[shown_N, 0]
    opening_WF = np.stack([opening_N[at : at + frames] for at in range(count)])
    apart_WW = np.abs(opening_WF[:, None] - opening_WF).mean(-1)
    return found((seen_WD @ heard_WD.T).clamp(0, 1).numpy(), apart_WW >= LEAST_DIFFERENCE)


def found(cosine_WW: np.ndarray, false_WW: np.ndarray) -> Agreement:
    """From the cosine of every window's picture with every window's sound, and which of these pairs are false."""
    yes_WW = cosine_WW > 0.5
    right = [yes_WW.diagonal().mean(), *([(~yes_WW[false_WW]).mean()] if false_WW.any() else [])]
    most = min(FURTHEST, len(cosine_WW) // 2)
    score_S = np.array([cosine_WW.diagonal(shift).mean() for shift in range(-most, most + 1)])
    best = int(score_S.argmax())
    return Agreement(
        float(np.mean(right)), float(cosine_WW.diagonal().mean()), float(score_S[best] - np.median(score_S)),
        best - most,
    )  # fmt: skip


def pooled_agreement(clips: Sequence[Agreement]) -> dict[str, Figure]:
    """Means over clips with their intervals; of the offset without its sign."""
    columns = {name: np.abs([getattr(one, name) for one in clips]) for name in COLUMNS}
    return {name: bootstrap(partial(_mean, of), len(clips)) for name, of in columns.items()}


def _mean(values: np.ndarray, rows: np.ndarray) -> float:
    return float(values[rows].mean())


def table_rows(rows: Mapping[str, Sequence[Agreement]]) -> list[list[str]]:
    """Cells of a table, its head first."""
    return [["", *COLUMNS.values()], *([name, *map(str, pooled_agreement(one).values())] for name, one in rows.items())]


def _parts(count: int) -> list[range]:
    return [range(count)[at : at + BATCH] for at in range(0, count, BATCH)]
