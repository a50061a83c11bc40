"""Metrics that need no file: the exact truth of drawn clips, the cycle of real ones, and what an edit costs."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from ..errors import InputError
from ..evaluation.area import outside, placement_of
from ..evaluation.cycle import Way, boxes, figures
from ..evaluation.figures import ClipFigures, clip_figures
from ..sheets.reader import read_opening
from ..synth.clips import read_clip
from .clip import Clip, read_frames
from .measure import Column, Measure, Metric, Taken, Taking

DRAWN = (
    Column("share", "recovered", digits=2), Column("sync_r", "sync r", digits=2), Column("leak", "leak", "lower", 2),
    Column("mouth_ssim", "SSIM, mouth", digits=2), Column("mouth_gmsd", "GMSD, mouth", "lower", 2),
    Column("edges", "edges", "", 2), Column("outside", "outside", "lower", 0),
)  # fmt: skip
CYCLE = (Column("cycle", "cycle", digits=2), Column("changed", "changed, of 255", "", 1))
COST = (
    Column("speed", "s per s", "lower", 2), Column("memory", "MB", "lower", 0), Column("vram", "VRAM, MB", "lower", 0),
    Column("passed", "passed frames", "", 0),
)  # fmt: skip
LEAST_CHANGED = 0.1
"""Levels of 255 below which an edit has nothing to bring back."""


def metrics() -> list[Metric]:
    return [
        Metric("drawn", DRAWN, lambda folder, device: Drawn()),
        Metric("cycle", CYCLE, lambda folder, device: Cycle()),
        Metric("cost", COST, lambda folder, device: Cost()),
    ]


class Drawn(Measure):
    """What `evaluate synth` measures, of clips that the synthesiser drew."""

    sees_moments = False

    def begin(self, clip: Clip) -> Taking:
        return _Drawn(clip)


class _Drawn(Taking):
    def __init__(self, clip: Clip) -> None:
        self._clip = clip

    def finish(self) -> Taken:
        clip = self._clip
        if clip.drawn is None:
            return Taken(note="not a drawn clip: no exact truth of its mouth")
        drawn, frames = read_clip(clip.drawn), np.stack(list(read_frames(clip.result)))
        if frames.shape != drawn.truth_frames.shape:
            raise InputError(f"the result is {_shape(frames)}, the drawn clip {_shape(drawn.truth_frames)}")
        opening_T = read_opening(frames, drawn.center_T2, drawn.width)
        found = clip_figures(
            clip.row.id, drawn.family, drawn.occluded,
            {"result": frames, "source": drawn.source_frames, "truth": drawn.truth_frames},
            {"result": opening_T, "source": drawn.source_mouth_T5[:, 0], "truth": drawn.truth_mouth_T5[:, 0]},
            drawn.box_T4, self._outside(frames, drawn.source_frames),
        )  # fmt: skip
        values, detail = drawn_values(found), asdict(found)
        if clip.spec is None:  # whose edit it was is not known, nor where it was allowed to change something
            detail["outside"] = None
            del values["outside"]
        return Taken(values, detail=detail)

    def _outside(self, frames: np.ndarray, source: np.ndarray) -> float:
        clip = self._clip
        if clip.spec is None:
            return float("nan")
        how = clip.row.mouth or "auto"
        return outside(frames, source, placement_of(clip.row.video, clip.row.audio, how, clip.spec))


def drawn_values(clip: ClipFigures) -> dict[str, float]:
    """A clip's figures by column."""
    return {
        "share": clip.share, "sync_r": clip.sync_r, "leak": clip.leak, "mouth_ssim": clip.ssim,
        "mouth_gmsd": clip.gmsd, "edges": clip.edge_energy / max(clip.edge_energy_true, 1e-12),
        "outside": clip.outside,
    }  # fmt: skip


class Cycle(Measure):
    """`evaluate cycle` of one clip: edited to the row's sound and back to its own."""

    sees_moments = False

    def begin(self, clip: Clip) -> Taking:
        return _Cycle(clip)


class _Cycle(Taking):
    def __init__(self, clip: Clip) -> None:
        self._clip = clip

    def finish(self) -> Taken:
        clip = self._clip
        if clip.back_path is None:
            return Taken(note="no way back: another tool's result, a drawn clip, or a video without its own sound")
        known = clip.track.confidence_N > 0
        if not known.any():
            return Taken(note="no mouth is known in this clip; point at it in the list (mouth_x, mouth_y)")
        way = Way(*(boxes(path, clip.track) for path in (clip.row.video, clip.result_path, clip.back_path)))
        cycle = figures([way], known)
        if cycle["changed"] < LEAST_CHANGED:
            return Taken(note="the edit changed nothing at the mouth, so that nothing can come back")
        return Taken({"cycle": cycle["share"], "changed": cycle["changed"]})


class Cost(Measure):
    """Seconds of work a second of video, the most memory that was held, and the frames that were left as they are."""

    sees_moments = False

    def begin(self, clip: Clip) -> Taking:
        return _Cost(clip)


class _Cost(Taking):
    def __init__(self, clip: Clip) -> None:
        self._clip = clip

    def finish(self) -> Taken:
        if not self._clip.cost:
            return Taken(note="made by another tool: what it took is not known")
        return Taken({name: float(value) for name, value in self._clip.cost.items() if value is not None})


def _shape(frames_THWC: np.ndarray) -> str:
    count, height, width = frames_THWC.shape[:3]
    return f"{count} frames of {width} x {height}"
