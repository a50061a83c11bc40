"""What sampling costs beyond the transformer's own forwards: python benchmarks/sampler.py"""

from __future__ import annotations

import statistics
import time
from contextlib import contextmanager

import common

LIMIT = 1.03


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()

    import numpy as np
    import torch

    from omnisync_core.engines.protocol import Excerpt

    engine = common.load(options.model, steps=options.steps)
    clock = Clock()
    engine.resident = clock
    frames, side = engine.spec.window_frames, engine.spec.crop_size
    rng = np.random.default_rng(0)
    crops = rng.random((frames, side, side, 3), np.float32)
    config = engine.dit.config
    speech = rng.normal(size=(frames, config.speech_tokens, config.speech_dim)).astype(np.float32)
    mouth = np.tile(np.float32([0.5, 0.5, 0.4]), (frames, 1))
    window, given = Excerpt(crops, speech, mouth, seed=0), _inputs(engine, torch)

    def sampled() -> float:
        list(engine.edit_group([window], anchor=crops[:5], on_step=lambda step, steps: None))
        return clock.seconds[engine.dit]

    @torch.inference_mode()
    def bare() -> float:
        total = 0.0
        for _ in range(options.steps):
            began = time.perf_counter()
            engine.dit(*given)
            total += time.perf_counter() - began
        return total

    sampled(), bare()
    pairs = [(sampled(), bare()) for _ in range(options.repeats)]
    whole, forwards = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = whole / forwards
    verdict = "holds" if ratio <= LIMIT else "FAILS"
    head = ["steps", "rows a forward", "sampling", "its bare forwards", "ratio", "at most", ""]
    row = [options.steps, len(given[0]), f"{whole:.3f} s", f"{forwards:.3f} s", f"{ratio:.4f}", LIMIT, verdict]
    print(common.table(head, [row]))


class Clock:
    """Seconds that each network was last in use for."""

    def __init__(self):
        self.seconds = {}

    @contextmanager
    def __call__(self, network):
        began = time.perf_counter()
        yield
        self.seconds[network] = time.perf_counter() - began


def _inputs(engine, torch) -> tuple:
    """What one guided step hands to the transformer."""
    spec, config = engine.spec, engine.dit.config
    rows, side = 1 if engine.sampling.guidance.is_off else 2, spec.crop_size // spec.spatial_stride
    latent = (rows, spec.latent_channels, spec.latent_frames(spec.window_frames), side, side)
    return (
        torch.randn(latent), torch.full((rows,), 0.5), torch.randn(latent),
        torch.randn(rows, spec.window_frames, config.speech_tokens, config.speech_dim),
        torch.randn(rows, engine.text.shape[1], config.text_dim),
    )  # fmt: skip


if __name__ == "__main__":
    main()
