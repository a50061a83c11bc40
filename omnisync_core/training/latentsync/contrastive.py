"""How a SyncNet is trained: is this sound the one of these frames (Prajwal et al., arXiv 2008.10010)?

Half of the pairs are true; the others show frames of another moment of the same clip, so that only time tells.
The loss is the binary cross entropy of the cosine. Whoever guesses says 1/2 and pays ln 2 = 0.693 whatever the pairs
are: a training that stays there has learnt nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .syncnet import StableSyncNet

TEMPERATURE = 0.1
STUCK = math.log(2)
"""The loss of a network that cannot tell."""


@dataclass(frozen=True)
class Pairs:
    """Faces -1..1 (or latents), the mel picture of a sound, and whether (1) or not (0) they belong together."""

    faces_BFCHW: Tensor
    mel_B1MF: Tensor
    matched_B: Tensor


@dataclass(frozen=True)
class Crossed:
    """Faces, M sounds, and of each face and each sound whether they belong together: 1, 0, or NaN, not asked."""

    faces_BFCHW: Tensor
    mel_M1MF: Tensor
    matched_BM: Tensor


class Clip(Protocol):
    """What a pair is drawn from."""

    length: int
    """Frames that can be the first of a window and still leave it whole, in picture and in sound."""

    def faces(self, first: int) -> np.ndarray: ...

    def mel(self, first: int) -> np.ndarray: ...


def draw_pairs(clips: Sequence[Clip], batch: int, rng: np.random.Generator) -> Pairs:
    """Random pairs of random clips; one whose window can begin at one frame alone cannot be taken wrongly."""
    faces: list[np.ndarray] = []
    mels, matched = [], []
    while len(faces) < batch:
        clip = clips[int(rng.integers(len(clips)))]
        heard, other = rng.integers(clip.length), rng.integers(clip.length - 1)
        match = rng.random() < 0.5
        faces.append(clip.faces(heard if match else other + (other >= heard)))
        mels.append(clip.mel(heard)[None])
        matched.append(float(match))
    return Pairs(torch.as_tensor(np.stack(faces)), torch.as_tensor(np.stack(mels)), torch.tensor(matched))


def cosine_loss(seen_BD: Tensor, heard_BD: Tensor, matched_B: Tensor) -> Tensor:
    """(B,) binary cross entropy of the cosine as probability that a pair is true; at most 100 each."""
    with torch.autocast(seen_BD.device.type, enabled=False):
        return F.binary_cross_entropy(_agreement(seen_BD, heard_BD), matched_B.float(), reduction="none")


def contrastive_loss(model: StableSyncNet, pairs: Pairs) -> dict[str, Tensor]:
    """`loss` and the share of pairs that are classified rightly (a cosine above 1/2 is a yes)."""
    seen_BD, heard_BD = model(model.watch(pairs.faces_BFCHW), pairs.mel_B1MF)
    agreed = _agreement(seen_BD, heard_BD).detach() > 0.5
    return {
        "loss": cosine_loss(seen_BD, heard_BD, pairs.matched_B).mean(),
        "accuracy": (agreed == pairs.matched_B.bool()).float().mean(),
    }


def crossed_loss(model: StableSyncNet, crossed: Crossed) -> dict[str, Tensor]:
    """`contrastive_loss` of every face with every sound: what is true weighs as much as all that is false.

    A batch of B clips asks B * M questions for the price of B + M embeddings. `loss` also asks which sound it is (cross
    entropy of the cosines over `TEMPERATURE`): a cosine that is asked about alone is long answered with 1/2.
    """
    seen_BD, heard_MD = model.visual_encoder(model.watch(crossed.faces_BFCHW)), model.audio_encoder(crossed.mel_M1MF)
    with torch.autocast(seen_BD.device.type, enabled=False):
        agreement_BM = (seen_BD.float() @ heard_MD.float().T).clamp(0, 1)
        true, false = crossed.matched_BM == 1, crossed.matched_BM == 0
        paid_BM = F.binary_cross_entropy(agreement_BM, true.float(), reduction="none")
        asked_BM = (agreement_BM / TEMPERATURE).masked_fill(~(true | false), -torch.inf)
        which = F.cross_entropy(asked_BM, true.int().argmax(1))
    pairs = (paid_BM[true].mean() + paid_BM[false].mean()) / 2
    agrees = agreement_BM.detach() > 0.5
    return {
        "loss": pairs + which,
        "pairs": pairs.detach(),
        "accuracy": (agrees[true].float().mean() + (~agrees[false]).float().mean()) / 2,
    }


def _agreement(seen_BD: Tensor, heard_BD: Tensor) -> Tensor:
    # Rounding takes a cosine beyond 1, where no cross entropy is.
    return F.cosine_similarity(seen_BD.float(), heard_BD.float()).clamp(0, 1)
