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
from .measure import Column, Metric, OfWholeClip, Taken

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
        Metric("drawn", DRAWN, lambda folder, device: OfWholeClip(drawn_figures)),
        Metric("cycle", CYCLE, lambda folder, device: OfWholeClip(cycle_figures)),
        Metric("cost", COST, lambda folder, device: OfWholeClip(cost_figures)),
    ]


def drawn_figures(clip: Clip) -> Taken:
    """What `evaluate synth` measures, of clips that the synthesiser drew."""
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
        drawn.box_T4, _outside(clip, frames, drawn.source_frames),
    )  # fmt: skip
    values, detail = drawn_values(found), asdict(found)
    if clip.spec is None:  # whose edit it was is not known, nor where it was allowed to change something
        detail["outside"] = None
        del values["outside"]
    return Taken(values, detail=detail)


def drawn_values(clip: ClipFigures) -> dict[str, float]:
    """A clip's figures by column."""
    return {
        "share": clip.share, "sync_r": clip.sync_r, "leak": clip.leak, "mouth_ssim": clip.ssim,
        "mouth_gmsd": clip.gmsd, "edges": clip.edge_energy / max(clip.edge_energy_true, 1e-12),
        "outside": clip.outside,
    }  # fmt: skip


def cycle_figures(clip: Clip) -> Taken:
    """`evaluate cycle` of one clip: edited to the row's sound and back to its own."""
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


def cost_figures(clip: Clip) -> Taken:
    """Seconds of work a second of video, the most memory that was held, and the frames that were left as they are."""
    if not clip.cost:
        return Taken(note="made by another tool: what it took is not known")
    return Taken({name: float(value) for name, value in clip.cost.items() if value is not None})


def _outside(clip: Clip, frames: np.ndarray, source: np.ndarray) -> float:
    if clip.spec is None:
        return float("nan")
    return outside(frames, source, placement_of(clip.row.video, clip.row.audio, clip.row.mouth or "auto", clip.spec))


def _shape(frames_THWC: np.ndarray) -> str:
    count, height, width = frames_THWC.shape[:3]
    return f"{count} frames of {width} x {height}"
