"""What the benchmarks share: the engine to measure, files to measure it on, tables."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def parser(about: str) -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=about.splitlines()[0])
    arguments.add_argument(
        "--model", default="", metavar="{BUNDLE,random,tiny}",
        help="a bundle; `random` weights of the mini's size; `tiny` ones for a quick try (default: the shipped bundle)",
    )  # fmt: skip
    return arguments


def load(model: str, **sampling):
    """The engine to measure on the CPU in float32; `sampling` as of `Sampling`."""
    from omnisync_core.engines.omnisync import OmniSyncEngine, Sampling, load_engine

    if model not in ("random", "tiny"):
        return load_engine(model or None, device="cpu", dtype="float32", **sampling)
    networks, spec = _random(tiny=model == "tiny")
    return OmniSyncEngine(networks, spec, Sampling(**sampling), model)


def table(head: list[str], rows: list[list]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def write_video(path: Path, seconds: float, size: int = 64, fps: int = 25) -> Path:
    """A drifting gradient, H.264."""
    import av
    import numpy as np

    y, x = np.mgrid[:size, :size]
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=fps)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for index in range(round(seconds * fps)):
            wave = np.sin((x + 0.5 * index) / 9) * np.cos(y / 7)
            rgb = np.repeat((127 + 90 * wave)[..., None], 3, 2).astype(np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
        output.mux(stream.encode(None))
    return path


def write_sound(path: Path, seconds: float) -> Path:
    """Noise that swings like syllables, 16 kHz mono, written minute by minute."""
    import wave

    import numpy as np

    rng = np.random.default_rng(0)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        for start in np.arange(0, seconds, 60):
            time = np.arange(round(min(60, seconds - start) * 16000)) / 16000
            loud = np.clip(np.sin(2 * np.pi * 3 * time), 0, 1) * 4000
            file.writeframes((rng.normal(0, 1, len(time)) * loud).clip(-32000, 32000).astype("<i2").tobytes())
    return path


def _random(*, tiny: bool) -> tuple[dict, object]:
    import torch

    from omnisync_core.models import text, whisper
    from omnisync_core.models.dit import MINI, DiT, DiTConfig
    from omnisync_core.models.vae import VAEConfig, VideoVAE
    from omnisync_core.spec import VideoSpec

    dit, vae, spec = MINI, VAEConfig(), VideoSpec()
    if tiny:
        dit = DiTConfig(width=24, depth=1, heads=2, ffn_width=32, speech_dim=128, text_dim=64, residual_std=0.5)
        vae = VAEConfig(widths=(8, 8, 16), encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1, 1))
        spec = VideoSpec(crop_size=32)
    torch.manual_seed(0)
    networks = {
        "dit": DiT(dit), "vae": VideoVAE(vae), "whisper": whisper.WhisperEncoder(whisper.MINI),
        "text": text.TextEncoder(text.MINI),
    }  # fmt: skip
    return {part: network.eval().requires_grad_(False) for part, network in networks.items()}, spec
