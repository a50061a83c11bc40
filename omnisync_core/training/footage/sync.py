"""How far a clip's sound is off its mouth, by a StableSyncNet: at which shift do both agree best?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..latentsync.contrastive import Clip
from ..latentsync.syncnet import StableSyncNet

FURTHEST = 15
"""Frames to each side that are tried."""
EVERY, BATCH = 8, 16


@dataclass(frozen=True)
class Sync:
    offset: int
    """Frames that the sound comes late; below 0 it is early."""
    confidence: float
    """Cosine at that shift over the median of all shifts."""


@torch.inference_mode()
def measure_sync(clip: Clip, syncnet: StableSyncNet) -> Sync | None:
    """Of a whole clip; None where it is too short to be shifted."""
    firsts = range(FURTHEST, clip.length - FURTHEST, EVERY)
    if not firsts:
        return None
    device = next(syncnet.parameters()).device

    def embedded(starts: range, read: Callable[[int], np.ndarray], tower: Callable[[Tensor], Tensor]) -> Tensor:
        parts = [starts[at : at + BATCH] for at in range(0, len(starts), BATCH)]
        given = (torch.as_tensor(np.stack([read(start) for start in part])).to(device) for part in parts)
        return torch.cat([tower(one) for one in given])

    seen_WD = embedded(firsts, clip.faces, lambda faces: syncnet.visual_encoder(syncnet.watch(faces)))
    heard_LD = embedded(range(clip.length), clip.mel, lambda mel: syncnet.audio_encoder(mel[:, None]))
    at_W = torch.tensor(list(firsts), device=device)
    shifts = range(-FURTHEST, FURTHEST + 1)
    score_S = torch.stack([(seen_WD * heard_LD[at_W + shift]).sum(1).mean() for shift in shifts])
    best = int(score_S.argmax())
    return Sync(shifts[best], round(float(score_S[best] - score_S.median()), 4))
