"""Mask-free flow matching on pairs (V_cd, A_ab) -> V_ab, with timestep-dependent pairs.

Above `pair_threshold` a pair is a pseudo-pair (same character, same pose, other words); at and below it, a share of
`arbitrary_share` of the samples takes its source from another pose of the character (the paper: all of them).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..diffusion.guidance import gaussian, mouth_per_latent_frame
from ..models.dit import precondition
from .reels import POSE_A
from .stage import device_of


@dataclass(frozen=True)
class ObjectiveOptions:
    pair_threshold: float = 0.85
    """1: arbitrary pairs at every noise level."""
    arbitrary_share: float = 0.12
    high_noise: float = 0.85
    high_noise_share: float = 0.5
    """Samples with sigma uniform in (high_noise, 1); the others are uniform in (0, high_noise)."""
    start_share: float = 0.7
    """Samples whose path starts from progressive noise, as at inference, with tau uniform in (tau_least, 1)."""
    tau_least: float = 0.85
    joint_dropout: float = 0.07
    """Samples without speech and words: the branch that guidance subtracts. The next two are of the others."""
    speech_dropout: float = 0.03
    text_dropout: float = 0.08
    mouth_weight: float = 8.0
    piece: int = 8
    """Side, in latents, of the pieces around the mouth that the first part of the training sees."""
    piece_share: float = 0.6
    piece_high_noise_share: float = 0.7
    velocity: bool = False
    """The error is that of the velocity, as in the paper, and not that of the clean latents it points at."""


PAPER = ObjectiveOptions(
    arbitrary_share=1.0, high_noise_share=0.15, start_share=0.0, joint_dropout=0.1, speech_dropout=0.0,
    text_dropout=0.0, mouth_weight=0.0, velocity=True,
)  # fmt: skip
"""Noise levels uniform in 0..1, pseudo-pairs above 0.85 and arbitrary ones at and below it, the velocity's plain mean
squared error. That a tenth of the samples is without speech and words is ours: guidance needs that branch, and the
paper does not say how it is learned."""


def draw_batch(
    shards: list[dict], texts: dict, batch: int, options: ObjectiveOptions, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Random pairs as tensors. `texts`: style -> list of encoded captions (L, D)."""
    rows: dict[str, list] = {key: [] for key in ("target", "source", "speech", "text", "mouth", "sigma", "tau")}
    for _ in range(batch):
        shard = shards[rng.integers(len(shards))]
        reel = rng.integers(len(shard["latent"]))
        sigma, pseudo = draw_level(options, rng)
        target, source = rng.choice(POSE_A, size=2, replace=False)
        if not pseudo:
            target, source = (POSE_A, source) if rng.random() < 0.5 else (target, POSE_A)
        tau = draw_start(sigma, options, rng)
        captions = texts[int(shard["style"][reel, target])]
        text = captions[rng.integers(len(captions))]
        speech = shard["speech"][reel, target]
        heard = rng.random() >= options.joint_dropout
        rows["target"].append(shard["latent"][reel, target])
        rows["source"].append(shard["latent"][reel, source])
        rows["speech"].append(speech * (heard and rng.random() >= options.speech_dropout))
        rows["text"].append(text * (heard and rng.random() >= options.text_dropout))
        rows["mouth"].append(shard["mouth"][reel, target])
        rows["sigma"].append(sigma)
        rows["tau"].append(tau)
    return {key: torch.as_tensor(np.stack(value)).float() for key, value in rows.items()}


def draw_level(options: ObjectiveOptions, rng: np.random.Generator) -> tuple[float, bool]:
    """A noise level, and whether a pseudo-pair belongs to it."""
    high = rng.random() < options.high_noise_share
    sigma = rng.uniform(options.high_noise, 1) if high else rng.uniform(0.001, options.high_noise)
    return sigma, sigma > options.pair_threshold or rng.random() >= options.arbitrary_share


def draw_start(sigma: float, options: ObjectiveOptions, rng: np.random.Generator) -> float:
    """tau: how much noise there is where the path begins; 1 is the paper's."""
    tau = rng.uniform(options.tau_least, 1) if rng.random() < options.start_share else 1.0
    return max(tau, sigma)


def cut_pieces(batch: dict[str, Tensor], side: int, rng: np.random.Generator) -> dict[str, Tensor]:
    """Square pieces of `side` latents near the mouth: what lies around it is copied anyway, and costs as much."""
    height, width = batch["target"].shape[-2:]
    corners = []
    for x, y, _ in batch["mouth"].mean(1).tolist():
        wanted = np.array([x * width, y * height]) - side / 2 + rng.normal(size=2)
        corners.append(np.clip(np.round(wanted), 0, [width - side, height - side]).astype(int))
    cut = {
        key: torch.stack(
            [one[..., y : y + side, x : x + side] for one, (x, y) in zip(batch[key], corners, strict=True)]
        )
        for key in ("target", "source")
    }
    corner_B12 = torch.as_tensor(np.stack(corners)).float()[:, None]
    scale = torch.tensor([width, height, width]) / side
    mouth = batch["mouth"] * scale
    mouth[..., :2] -= corner_B12 / side
    return batch | cut | {"mouth": mouth}


def flow_loss(model: nn.Module, batch: dict, options: ObjectiveOptions) -> dict[str, Tensor]:
    """Error of the clean latents that the velocity points at, in units of what differs from the source.

    The path leads from the progressive start (1 - tau) V_source + tau eps to the target: at tau = 1 it is the paper's.
    Fine noise weighs little: what is left of it is not seen, while what the lips do is decided at coarse noise; with
    `velocity` all levels weigh the same. Around the mouth the weight is `1 + mouth_weight * G`; what is reported of the
    mouth is in units of `precondition`'s gain.
    """
    device = device_of(model)
    batch = {key: value.to(device) for key, value in batch.items()}
    target, source, sigma = batch["target"], batch["source"], batch["sigma"]
    tau = batch["tau"].reshape(-1, 1, 1, 1, 1)
    level = sigma.reshape(-1, 1, 1, 1, 1)
    share = level / tau
    start = (1 - tau) * source + tau * torch.randn_like(target)
    x = (1 - share) * target + share * start
    velocity = model(x, sigma, source, batch["speech"], batch["text"]).float()
    std = model.config.residual_std or 1.0
    _, gain = precondition(sigma, std, x)
    error = (x - level * velocity - target).square()
    fit = (velocity - (start - target) / tau).square() if options.velocity else error / std**2
    near = torch.stack(
        [gaussian(mouth_per_latent_frame(mouth_T3, 4), tuple(target.shape[-2:]), 0.6) for mouth_T3 in batch["mouth"]]
    )[:, None]
    weight = 1 + options.mouth_weight * near
    high = sigma > options.high_noise
    figure = error / gain.square()
    mouth = (near * figure).sum((1, 2, 3, 4)) / (near.sum((1, 2, 3, 4)) * error.shape[1])
    return {
        "loss": (weight * fit).mean() / weight.mean(),
        "mouth_high": mouth.detach().where(high, torch.nan).nanmean(),
        "mouth_low": mouth.detach().where(~high, torch.nan).nanmean(),
    }
