"""What an edit over public weights asks of its model, and what it costs beyond: python benchmarks/evaluations.py

Counts evaluations (one branch at one level) and forwards (calls of the network; branches of a step share one) per
frame of the result, ours against the official loop: windows overlap and the clip ends, the official loop cuts at most
three whole chunks of 97 frames and drops the rest. Then times the sampler around forwards that take a known time of the
processor; the sampler's own arithmetic grows with the latent, as the forwards of a real network do, only far slower.
"""

from __future__ import annotations

import time

import common

LIMIT = 1.03
OFFICIAL_FRAMES, OFFICIAL_CHUNKS = 97, 3
KINDS = {  # name: (schedule, start, end, cfg, stride, window, overlap)
    "HuMo": ("humo", 20, 6, 16, 4.5, 4, 97, 13),
    "HuMo, cfg 1": ("humo", 20, 6, 16, 1.0, 4, 97, 13),
    "LTX-2": ("ltx", 40, 12, 40, 10.0, 8, 121, 17),
    "LTX-2, distilled": ("ltx", 8, 2, 8, 1.0, 8, 121, 17),
}

XDUB = {  # name: (reuse, unguided_below)
    "X-Dub": (1, 0.0),
    "X-Dub, `reuse` 2": (2, 0.0),
    "X-Dub, `reuse` 3": (3, 0.0),
    "X-Dub, `unguided_below` 0.5": (1, 0.5),
    "X-Dub, both (3, 0.5)": (3, 0.5),
}
XDUB_BRANCHES, XDUB_STEPS, XDUB_NEW = 3, 30, 72


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--frames", type=int, default=250, help="of the clip")
    parser.add_argument("--forward", type=float, default=0.1, help="seconds of the processor that one forward takes")
    parser.add_argument("--side", type=int, default=128, help="pixels of the crop")
    options = parser.parse_args()

    import torch

    print(common.table(
        ["", "evaluations a window", "forwards", "per frame: evaluations", "forwards", "official loop: evaluations",
         "forwards", "frames it gives"],
        [_counts(name, *kind, options.frames) for name, kind in KINDS.items()]
        + [_xdub_counts(name, *kind, options.frames) for name, kind in XDUB.items()],
    ))  # fmt: skip
    print()
    torch.set_num_threads(1)
    _timed("warm", *KINDS["HuMo"], options)
    rows = [_timed(name, *kind, options) for name, kind in KINDS.items()]
    print(common.table(["", "sampling", "its forwards", "ratio", "at most", ""], rows))


def _counts(name, schedule, steps, start, end, cfg, stride, window, overlap, frames) -> list:
    from omnisync_core.windows import chunks

    evaluations, forwards = _run(schedule, steps, start, end, cfg, (1, 1, 2, 2), lambda count: None)
    windows = len(chunks.plan_windows([(0, frames)], window, overlap))
    given = min(frames // OFFICIAL_FRAMES, OFFICIAL_CHUNKS) * OFFICIAL_FRAMES
    official = f"{evaluations / OFFICIAL_FRAMES:.2f}" if given else "fails"
    return [
        name, evaluations, forwards, f"{windows * evaluations / frames:.2f}", f"{windows * forwards / frames:.2f}",
        official, official, given,
    ]  # fmt: skip


def _xdub_counts(name, reuse, unguided_below, frames) -> list:
    """Officially a clip's last window is never short: it runs beyond the end and is cut."""
    import torch

    from omnisync_core.engines.xdub import sampling
    from omnisync_core.engines.xdub.engine import Settings
    from omnisync_core.windows import chunks

    settings, asked = Settings(XDUB_STEPS, reuse=reuse, unguided_below=unguided_below), []

    def velocity(latents, sigma, branches):
        asked.append(len(branches))
        return latents.expand(len(branches), -1, -1, -1, -1)

    nothing = torch.zeros(1, 1, 1, 4, 4)
    sampling.sample(
        velocity, nothing, nothing, sampling.sigmas(XDUB_STEPS), reuse=reuse, unguided_below=unguided_below
    )  # fmt: skip
    spec = settings.spec
    windows = len(chunks.plan_windows([(0, frames)], spec.window_frames, spec.overlap_frames))
    theirs = (1 + max(0, -(-(frames - spec.window_frames) // XDUB_NEW))) * XDUB_STEPS
    return [
        name, sum(asked), len(asked), f"{windows * sum(asked) / frames:.2f}", f"{windows * len(asked) / frames:.2f}",
        f"{theirs * XDUB_BRANCHES / frames:.2f}", f"{theirs / frames:.2f}", frames,
    ]  # fmt: skip


def _timed(name, schedule, steps, start, end, cfg, stride, window, overlap, options) -> list:
    side = options.side // (8 if schedule == "humo" else 32)
    shape = (16 if schedule == "humo" else 128, 1 + (window - 1) // stride, side, side)
    spent = 0.0

    def forward(count: int) -> None:
        nonlocal spent
        began = time.process_time()
        while time.process_time() - began < options.forward:
            pass
        spent += time.process_time() - began

    began = time.process_time()
    _run(schedule, steps, start, end, cfg, shape, forward)
    whole = time.process_time() - began
    ratio = whole / spent
    verdict = "holds" if ratio <= LIMIT else "FAILS"
    return [name, f"{whole:.3f} s", f"{spent:.3f} s", f"{ratio:.4f}", LIMIT, verdict]


def _run(schedule, steps, start, end, cfg, shape, forward) -> tuple[int, int]:
    """One edit with a network that only takes its time; (evaluations, forwards)."""
    import torch

    from omnisync_core.engines.omniedit import edit, humo_sigmas, ltx_sigmas

    counted = []

    def velocities(latents, sigma, branches):
        counted.append(len(branches))
        forward(len(branches))
        return latents

    sigmas = (humo_sigmas if schedule == "humo" else ltx_sigmas)(steps)
    draw = torch.Generator().manual_seed(0)
    edit(
        velocities, torch.zeros(shape) + 1, sigmas, start=start, end=end, cfg=cfg,
        draw=lambda wanted: torch.randn(wanted, generator=draw),
    )  # fmt: skip
    return sum(counted), len(counted)


if __name__ == "__main__":
    main()
