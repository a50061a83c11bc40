"""Is the mouth found? On drawn clips of unseen families, and on public real clips whose mouths were set by hand.

    python benchmarks/mouths.py --drawn 64
    python benchmarks/mouths.py --real FOLDER     # FOLDER/man.mp4 and so on, as named in real_mouths.json
    python benchmarks/mouths.py --speed FILE.mp4

A frame is right where the tracked middle is within half a mouth width of the true one. A clip is right where 90 % of
its marked frames are (one without any mouth: where none was found).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from common import ROOT  # noqa: F401 - makes the package importable

from omnisync_core import media, mouth
from omnisync_core.mouth.finder import find_mouths
from omnisync_core.mouth.looks import small_frames
from omnisync_core.synth.scene import Scene

TRUTH = Path(__file__).with_name("real_mouths.json")
RIGHT, MOST = 0.5, 0.9


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drawn", type=int, metavar="CLIPS")
    parser.add_argument("--real", type=Path, metavar="FOLDER")
    parser.add_argument("--click", action="store_true", help="real: the first marked mouth is pointed at")
    parser.add_argument("--speed", type=Path, metavar="FILE")
    chosen = parser.parse_args(arguments)
    if chosen.drawn:
        drawn(chosen.drawn)
    if chosen.real:
        real(chosen.real, click=chosen.click)
    if chosen.speed:
        speed(chosen.speed)


def drawn(clips: int, seconds: float = 1.0) -> None:
    """Characters of the test families that talk, a second each."""
    times = np.arange(round(25 * seconds)) / 25
    opening = np.clip(0.5 + 0.6 * np.sin(6.28 * 3.1 * times) * np.sin(6.28 * 0.7 * times), 0, 1)[:, None]
    mouths = np.float32([1, 0.5, 0.3, 1, 0.5]) * opening.astype(np.float32)
    shares = []
    for number in range(clips):
        scene = Scene.random(10**6 + number, "test", duration=seconds)
        track = mouth.track(zip(times, scene.render(mouths, times, size=256), strict=True), "auto")
        right = _right(track, 256 * scene.mouth_center(times), 256 * scene.mouth_width)
        shares.append(right.mean())
        if shares[-1] < MOST:
            lost = (track.confidence_N == 0).mean()
            print(f"clip {number} ({scene.character.family}): right {shares[-1]:.2f}, lost {lost:.2f}", flush=True)
    print(f"drawn: {np.mean(shares):.1%} of the frames of {clips} clips are right", flush=True)


def real(folder: Path, *, click: bool) -> None:
    clips = json.loads(TRUTH.read_text())["clips"]
    good = 0
    for name, clip in clips.items():
        marked = {int(frame): place for frame, place in clip["mouths"].items()}
        info = media.probe_video(folder / f"{name}.mp4")
        first = marked.get(0)
        how = tuple(first[:2]) if click and first else "auto"
        began = time.monotonic()
        track = mouth.track(small_frames(info), how, frame_size=(info.width, info.height))
        seconds = time.monotonic() - began
        shown = [frame for frame, place in marked.items() if place]
        hidden = [frame for frame, place in marked.items() if not place]
        truth = np.array([marked[frame] for frame in shown]).reshape(-1, 3)
        right, known = _right(track, truth[:, :2], truth[:, 2], shown), track.confidence_N[shown] > 0
        wrong = int((track.confidence_N[hidden] > 0).sum())
        fine = right.mean() >= MOST if shown else wrong == 0
        good += bool(fine)
        wide = np.median(track.width_N[shown] * info.width / truth[:, 2]) if shown else 0
        print(
            f"{name:9s} {'right' if fine else 'WRONG'}: {right.sum()} of {len(shown)}, {(known & ~right).sum()} beside "
            f"it, {(~known).sum()} lost; edited without a mouth {wrong} of {len(hidden)}; width {wide:.2f}; "
            f"{1000 * seconds / len(track.pts_N):.0f} ms a frame with decoding",
            flush=True,
        )
    print(f"real: {good} of {len(clips)} clips")


def speed(path: Path) -> None:
    """Milliseconds of one look of the finder."""
    info = media.probe_video(path)
    pictures = [picture for _, picture in zip(range(24), (rgb for _, rgb in small_frames(info)), strict=False)]
    pictures = [(np.clip(p, 0, 1) * 255).astype(np.uint8) if p.dtype != np.uint8 else p for p in pictures]
    find_mouths(pictures[0])
    times = []
    for picture in pictures:
        began = time.process_time()
        find_mouths(picture)
        times.append(time.process_time() - began)
    print(f"finder: {1000 * np.median(times):.1f} ms of CPU a look (median of {len(times)})")


def _right(track, center_K2, width_K, frames=slice(None)) -> np.ndarray:
    away = np.linalg.norm(track.center_N2[frames] * track.frame_size - center_K2, axis=1)
    return (away < RIGHT * width_K) & (track.confidence_N[frames] > 0)


if __name__ == "__main__":
    main()
