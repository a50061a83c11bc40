"""Training material without voices and drawings: utterances of noise, reels of coloured noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from omnisync_core.synth.speech import CURVE_RATE, Utterance
from omnisync_core.training.reels import CLIPS, STYLES

HEAD = """
out = "{out}"
[corpus]
utterances = 3
seconds = 1.5
workers = 1
[reels]
characters = 2
test_characters = 2
crop_size = 32
frames = 9
workers = 1
"""
"""Of a training's TOML, after its seed."""


def utterances(count: int = 3, seconds: float = 1.5) -> list[Utterance]:
    rng = np.random.default_rng(3)
    said = []
    for index in range(count):
        curve_M5 = rng.random((int(seconds * CURVE_RATE), 5)).astype(np.float32)
        wave_S = rng.normal(0, 0.1, int(seconds * 16000)).astype(np.float32)
        said.append(Utterance(wave_S, curve_M5, f"sentence {index}", "en", "en+m1"))
    return said


def shard(reels: int = 2, frames: int = 9, size: int = 32, seed: int = 0) -> dict[str, np.ndarray]:
    """What `training/reels.py` writes."""
    rng = np.random.default_rng(seed)
    shape = (reels, CLIPS)
    return {
        "fps": np.full(reels, 25.0),
        "scene": np.arange(reels),
        "frames": rng.integers(0, 256, (*shape, frames, size, size, 3), np.uint8),
        "mouth": np.tile(np.float32([0.5, 0.55, 0.4]), (*shape, frames, 1)),
        "utterance": rng.integers(0, 3, shape),
        "start": rng.uniform(-0.2, 0.5, shape),
        "style": rng.integers(0, len(STYLES), shape),
        "params": rng.random((*shape, frames, 5)).astype(np.float32),
    }


def write_shard(path: Path, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, options=np.array("{}"), **shard(**options))
    return path
