"""Public files and encoded windows at the smallest size, with random numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from omnisync_core.checkpoint import tensor_digest, write_bundle
from omnisync_core.models.dit import DiTConfig
from omnisync_core.training.sized.windows import Encoding, WindowRow, write_encoding, write_windows
from tests import tiny
from tests.models.test_humo import TINY, published

LATENT, SPEECH, MOUTH = (16, 3, 4, 4), (9, 2, 16), (9, 3)
CONFIG = {"width": 24, "depth": 2, "heads": 2, "ffn_width": 32, "speech_width": 16, "speech_hidden": 12,
          "speech_context": 3}  # fmt: skip


def weights(config: DiTConfig = TINY, seed: int = 0) -> dict[str, Tensor]:
    """HuMo's keys."""
    generator = torch.Generator().manual_seed(seed)
    return {key: 0.2 * torch.randn(shape, generator=generator) for key, shape in published(config)}


def wan(config: DiTConfig = TINY) -> dict[str, Tensor]:
    """Wan's: HuMo's without what hears."""
    return {key: value for key, value in weights(config).items() if "audio" not in key}


def write_parts(folder: Path) -> Path:
    """A bundle whose VAE, Whisper and text encoder a training uses."""
    path = folder / "parts.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_bundle(path, tiny.networks(), tiny.CONFIG, torch.float32)
    return path


def encoding() -> Encoding:
    networks = tiny.networks()
    vae, whisper = (tensor_digest(networks[part].state_dict()) for part in ("vae", "whisper"))
    return Encoding(vae, whisper, LATENT, SPEECH, MOUTH, 32)


def rows(person: str, count: int = 4, pose: str = "", seed: int = 0) -> list[WindowRow]:
    rng = np.random.default_rng([seed, len(person)])
    return [
        WindowRow(
            id=f"{person}@{number}", person=person, pose=pose or f"{person}/{number // 2}", truth=True,
            caption="A person speaks.", latent=rng.normal(size=LATENT), speech=rng.normal(size=SPEECH),
            mouth=np.tile(np.float32([0.5, 0.55, 0.4]), (MOUTH[0], 1)),
        )
        for number in range(count)
    ]  # fmt: skip


def write_humo_set(folder: Path, tokens: int = 10) -> Path:
    """One person, with what HuMo hears by latent frame."""
    shape = (LATENT[1], 4, tokens, 16)
    write_encoding(folder, replace(encoding(), speech=shape))
    heard = np.random.default_rng(3).normal(size=(4, *shape))
    write_windows(
        folder / "train_0.parquet", [replace(row, speech=own) for row, own in zip(rows("anna"), heard, strict=True)]
    )
    return folder


def write_set(folder: Path) -> Path:
    """Three people to learn from and one for the test."""
    write_encoding(folder, encoding())
    write_windows(folder / "train_0.parquet", rows("anna") + rows("bob"))
    write_windows(folder / "train_1.parquet", rows("carla", seed=1))
    write_windows(folder / "test_0.parquet", rows("dora"))
    return folder


def table(folder: Path, **more) -> dict:
    """Of a training in `folder`."""
    parts = str(write_parts(folder))
    data = folder / "windows"
    if not data.exists():
        write_set(data)
    return {"data": str(data), "vae": parts, "whisper": parts, "text": parts, "size": "humo", "dit": CONFIG,
            "steps": 3, "batch": 2, "lr": 1e-3, "bf16": False, **more}  # fmt: skip
