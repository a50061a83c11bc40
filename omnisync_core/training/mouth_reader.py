"""Trains the mouth reader that judges results (`evaluation/reader.py`) on reels of the training families.

Generated mouths are softer and noisier than drawn ones, so the crops are blurred, recoloured, shifted, compressed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from ..sheets.reader import WEIGHTS, MouthReader, as_input, mouth_crop

FRAMES_PER_CLIP = 4
SHIFT, GROW = 0.05, 0.08
"""Spread of the crop's place (mouth widths) and of the logarithm of its size."""
LOSS_WEIGHTS = (1.0, 0.2, 0.2, 0.1, 0.05)
BATCH = 96


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train the reader of mouths from shards of reels.")
    parser.add_argument("reels", type=Path, help="folder of reels_*.npz of the train split")
    parser.add_argument("--shards", type=int, default=15)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    chosen = parser.parse_args(arguments)
    torch.manual_seed(0)
    crops, mouths = gather(sorted(chosen.reels.glob("reels_*.npz"))[: chosen.shards], np.random.default_rng(0))
    reader = train(crops, mouths, chosen.steps)
    save_file({name: _small(value) for name, value in reader.state_dict().items()}, chosen.out)


def gather(shards: Sequence[Path], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Crops (B, 48, 48, 3) uint8 of some frames of every clip, and their mouth parameters (B, 5)."""
    crops, mouths = [], []
    for shard in shards:
        with np.load(shard) as data:
            frames, places, params = data["frames"], data["mouth"], data["params"]
        reels, clips, count, size = frames.shape[:4]
        for reel, clip in np.ndindex(reels, clips):
            for frame in rng.choice(count, FRAMES_PER_CLIP, replace=False):
                x, y, width = places[reel, clip, frame] * size
                dx, dy = rng.normal(size=2) * SHIFT * width
                grown = width * np.exp(rng.normal() * GROW)
                crops.append(_compressed(mouth_crop(frames[reel, clip, frame], x + dx, y + dy, grown), rng))
                mouths.append(params[reel, clip, frame])
    return torch.as_tensor(np.stack(crops)), torch.as_tensor(np.stack(mouths)).float()


def train(crops: Tensor, mouths: Tensor, steps: int) -> MouthReader:
    reader = MouthReader().train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(reader.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, steps, pct_start=0.15)
    weights = torch.tensor(LOSS_WEIGHTS)
    for step in range(steps):
        chosen = torch.randint(len(crops), (BATCH,))
        seen = _spoiled(as_input(crops[chosen])).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            read = reader(seen).float()
        loss = (weights * (read - mouths[chosen]).square()).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            error = float((read - mouths[chosen])[:, 0].square().mean().sqrt().detach())
            print(f"step {step}: root mean square error of the opening {error:.4f}", flush=True)
    return reader.eval()


def _compressed(crop_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A third of the crops through JPEG."""
    if rng.random() > 0.33:
        return crop_HWC
    _, data = cv2.imencode(".jpg", crop_HWC[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def _spoiled(x: Tensor) -> Tensor:
    """Blur, colour, noise and mirroring, drawn per crop."""
    count = len(x)

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.empty(count, channels, 1, 1).uniform_(low, high)

    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    softer = F.avg_pool2d(F.pad(soft, (2, 2, 2, 2), mode="replicate"), 5, 1)
    blur = draw(-0.6, 1).clamp(min=0)
    x = torch.where(draw(0, 1) < 0.5, x + blur * (soft - x), x + blur * (softer - x))
    x = x * draw(0.75, 1.2) * draw(0.92, 1.08, 3) + draw(-0.15, 0.15) + draw(-0.06, 0.06, 3)
    x = x + torch.randn_like(x) * draw(-0.03, 0.06).clamp(min=0)
    return torch.where(draw(0, 1) < 0.5, x, x.flip(-1)).clamp(-1, 1)


def _small(value: Tensor) -> Tensor:
    return (value.half() if value.is_floating_point() else value).contiguous()


if __name__ == "__main__":
    main()
