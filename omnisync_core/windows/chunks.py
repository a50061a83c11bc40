"""Windows over a long video: where they lie, what each is anchored to, how two of them meet.

Frames are counted in *edited* frames: every one up to 30 fps, every second or third above. A run is a stretch of them
without a cut; a window never crosses a cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..spec import VideoSpec

SHORTEST = 9
"""Frames an engine sees at least; a shorter run is padded to it by its last frame."""


@dataclass(frozen=True)
class Window:
    """Edited frames `start` to `stop` (exclusive); the first `lead` of them were in the window before as well."""

    index: int
    start: int
    stop: int
    lead: int

    def __len__(self) -> int:
        return self.stop - self.start


def edited_frames(fresh_V: np.ndarray, stride: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Which frames of a timeline are edited, and the runs among them.

    `fresh_V` is true where a frame does not follow from the one before (the first of all, after a cut). Every
    `stride`-th frame of a run and its last one are edited. Returns their positions (E,), ascending, and the runs as
    (start, stop) in E.
    """
    starts = np.flatnonzero(fresh_V)
    positions, runs, count = [], [], 0
    for start, stop in zip(starts, [*starts[1:], len(fresh_V)], strict=True):
        frames = np.arange(start, stop, stride)
        if frames[-1] != stop - 1:
            frames = np.append(frames, stop - 1)
        positions.append(frames)
        runs.append((count, count + len(frames)))
        count += len(frames)
    return np.concatenate(positions), runs


def plan_windows(runs: Sequence[tuple[int, int]], window: int, overlap: int) -> list[Window]:
    """Windows of `window` frames that share `overlap` frames with the one before.

    The last window of a run is moved back to be full (it shares more); a run shorter than a window is one short window.
    """
    windows: list[Window] = []
    for first, last in runs:
        stop = min(first + window, last)
        windows.append(Window(len(windows), first, stop, lead=0))
        while stop < last:
            shared = stop
            stop = min(stop - overlap + window, last)
            windows.append(Window(len(windows), stop - window, stop, lead=shared - (stop - window)))
    return windows


def fed_length(frames: int, spec: VideoSpec) -> int:
    """Frames that an engine is given for a window of `frames`: 1 + 4k, its last frame repeated at the end."""
    return min(spec.pad_frames(max(frames, SHORTEST)), spec.window_frames)


def anchor_length(lead: int, spec: VideoSpec) -> int:
    """Frames of the overlap that can be an anchor: 1 + 4j, so that they fill whole latent frames."""
    return 0 if lead < 1 else 1 + (lead - 1) // spec.temporal_stride * spec.temporal_stride


def blend(before_KHWC: np.ndarray, after_THWC: np.ndarray) -> np.ndarray:
    """Let the window `after` grow out of the last K frames `before` it; linear in time. Both uint8, so is the result.

    The first K frames of `after` show the same moments as `before`; the rest pass as they are.
    """
    lead = len(before_KHWC)
    weight = (np.arange(1, lead + 1, dtype=np.float32) / (lead + 1)).reshape(-1, 1, 1, 1)
    mixed = before_KHWC + (after_THWC[:lead].astype(np.float32) - before_KHWC) * weight
    return np.concatenate([np.rint(mixed).astype(np.uint8), after_THWC[lead:]])


def quantise(frames_THWC: np.ndarray) -> np.ndarray:
    """0..1 to uint8, as finished windows are kept."""
    return np.rint(np.clip(frames_THWC, 0, 1) * 255).astype(np.uint8)


def window_seed(seed: int, index: int) -> int:
    """The seed of one window: depends on the job's seed and the window's place alone, not on what ran before."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> np.uint64(1))
