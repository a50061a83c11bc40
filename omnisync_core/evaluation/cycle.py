"""A real clip changed to other sounds and brought back by its own: the clip itself is then the exact truth.

It is the only exact measure on real footage: same pose, same light, same person, every pixel known. The share says how
much of the change the way back undoes: 1 all of it, 0 none, below 0 it leads further away. Engines that change little
are asked little: `changed` says how much there was to undo.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import media, mouth
from ..adaptation.material import LEARNED_SHARE
from ..engines.protocol import Engine
from ..errors import InputError
from ..job.options import SyncOptions
from ..mouth import MouthTrack
from ..mouth.looks import small_frames
from ..pipeline import sync_video
from ..sheets.drawing import INK, RESULT, SOFT, SOURCE, TRUTH, Page
from . import structure

BOX = 1.3
"""Side of the pictures that are compared, in widths of the mouth."""
DOWN = 0.15
"""Their centre lies this many widths below the mouth's: mouths open downwards."""
WIDTH, EDGE, TILE, GAP, MOMENTS = 1600, 40, 132, 8, 9


@dataclass(frozen=True)
class Way:
    """One sound's way there and back, in boxes around the mouth (N, S, S, 3), uint8."""

    original: np.ndarray
    changed: np.ndarray
    back: np.ndarray


def cycle(
    video: Path,
    audio: Path,
    others: Sequence[Path],
    engine: Engine,
    how: object,
    out: Path,
    *,
    changer: Engine | None = None,
) -> dict:
    """Write `cycle.json`, `cycle.png` and the videos to the folder `out`; returns the figures.

    audio: the clip's own sound. `changer` makes the changes where it is not `engine` that is measured: two engines that
    bring the same changes back can be compared. InputError, OutputError.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    info = media.probe_video(video)
    track = mouth.track(small_frames(info), how, frame_size=(info.width, info.height))
    if not track.confidence_N.any():
        raise InputError(" ".join(track.warnings))
    options = SyncOptions(mouth=track, lossless=True, resume=True)
    ways = []
    for number, other in enumerate(others):
        changed, back = (out / f"{name}_{number}.mkv" for name in ("changed", "back"))
        sync_video(video, other, changed, changer or engine, options)
        sync_video(changed, audio, back, engine, options)
        ways.append(Way(*(boxes(path, track) for path in (video, changed, back))))
    unseen = track.pts_N >= track.pts_N[0] + LEARNED_SHARE * np.ptp(track.pts_N)
    known = track.confidence_N > 0
    report = {
        "video": video.name,
        "others": [other.name for other in others],
        **figures(ways, known),
        **{f"{name}_unseen": value for name, value in figures(ways, known & unseen).items()},
    }
    (out / "cycle.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    _sheet(out / "cycle.png", ways[0], np.flatnonzero(known & unseen), track, report)
    print(json.dumps(report, indent=1))
    return report


def figures(ways: Sequence[Way], which_N: np.ndarray) -> dict[str, float]:
    """Over the chosen frames of all ways: share, SSIM, GMSD, edge energy over the original's, and how much was changed
    (levels of 255, root of the mean square)."""
    if not which_N.any():
        return dict.fromkeys(("share", "ssim", "gmsd", "edges", "changed"), float("nan"))
    original, changed, back = (
        np.concatenate([getattr(way, name)[which_N] for way in ways]) for name in ("original", "changed", "back")
    )
    box_T4 = np.tile([0, 0, original.shape[2], original.shape[1]], (len(original), 1))
    likeness = structure.compare(back, original, box_T4)
    there = np.square(changed.astype(np.float32) - original).mean()
    left = np.square(back.astype(np.float32) - original).mean()
    return {
        "share": round(float(1 - left / max(there, 1e-9)), 4),
        "ssim": round(likeness.ssim, 4),
        "gmsd": round(likeness.gmsd, 4),
        "edges": round(likeness.edge_energy / likeness.edge_energy_true, 4),
        "changed": round(float(np.sqrt(there)), 3),
    }


def boxes(path: Path, track: MouthTrack) -> np.ndarray:
    """The same squares of every frame of a video of the track's size."""
    size = np.array(track.frame_size)
    side = max(8, round(BOX * float(np.median(track.width_N[track.confidence_N > 0])) * size[0]))
    center_N2 = track.center_N2 * size + [0, DOWN * side / BOX]
    corner_N2 = np.clip(np.rint(center_N2 - side / 2), 0, np.maximum(size - side, 0)).astype(int)

    def cut() -> Iterator[np.ndarray]:
        for (x, y), frame in zip(corner_N2, media.read_frames(path), strict=True):
            box = frame.rgb((x, y, min(x + side, size[0]), min(y + side, size[1])))
            yield np.rint(box * 255).astype(np.uint8)

    return np.stack(list(cut()))


def _sheet(path: Path, way: Way, shown: np.ndarray, track: MouthTrack, report: dict) -> None:
    """Moments of what was never learned from: the original, changed, brought back."""
    page = Page(WIDTH, 190 + 3 * (TILE + GAP))
    page.text(EDGE, 58, "There and back", 28, weight=700)
    page.text(EDGE, 88, "Changed to another sound, then brought back by its own.", 16, SOFT)
    line = "share {share:.2f} · on the last quarter {share_unseen:.2f} · edges {edges:.2f}".format(**report)
    page.text(WIDTH - EDGE, 58, line, 17, INK, align="right")
    error_N = np.square(way.changed[shown].astype(np.float32) - way.original[shown]).mean((1, 2, 3))
    parts = np.array_split(np.arange(len(shown)), min(MOMENTS, len(shown)))
    moments = [int(shown[part[error_N[part].argmax()]]) for part in parts if len(part)]
    rows = (("original", way.original, TRUTH), ("changed", way.changed, SOURCE), ("back", way.back, RESULT))
    for row, (label, frames, color) in enumerate(rows):
        top = 120 + row * (TILE + GAP)
        page.text(EDGE, top + TILE / 2 + 5, label, 15, color, 600)
        for column, frame in enumerate(moments):
            left = EDGE + 90 + column * (TILE + GAP)
            page.picture(left, top, frames[frame], (TILE, TILE))
    for column, frame in enumerate(moments):
        left = EDGE + 90 + column * (TILE + GAP)
        page.text(left, 138 + 3 * (TILE + GAP), f"{track.pts_N[frame]:.2f} s", 13, SOFT)
    page.save(path)
