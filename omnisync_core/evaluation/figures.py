"""The figures: how much of the change is recovered, how well the mouth follows, how much of the source leaks through.

Pictures are uint8 RGB, errors are in units of 0..1. T frames, N clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

from . import structure

LAGS = tuple(range(-8, 9))
RESAMPLES = 2000


@dataclass(frozen=True)
class ClipFigures:
    """One result against the truth of its clip; sums are over the pixels of the mouth's box."""

    name: str
    family: str
    occluded: bool
    """Something passes before the mouth: nobody can read its opening then."""
    squared_error: float
    source_squared_error: float
    """Of the source's own frames: what there was to recover."""
    motion_squared_error: float
    """Of the differences between consecutive frames."""
    count: int
    motion_count: int
    lag_r: tuple[float, ...]
    """Correlation of the opening with the true one, at `LAGS` frames; above 0 the result is late."""
    leak: float
    """Partial correlation with the source's opening, given the true one."""
    outside: float
    """Largest 8-bit difference from the source where the edit's mask is 0."""
    ssim: float
    gmsd: float
    """Of the grey pictures in the mouth's box, the mean over the frames (`evaluation/structure.py`)."""
    edge_energy: float
    edge_energy_true: float
    """Sums of squared gradients in the mouth's box; their ratio is 1 where the result is as sharp as the truth."""

    @property
    def share(self) -> float:
        return 1 - self.squared_error / max(self.source_squared_error, 1e-12)

    @property
    def sync_r(self) -> float:
        return self.lag_r[LAGS.index(0)]

    def as_json(self) -> dict:
        return asdict(self) | {"share": self.share, "sync_r": self.sync_r}


@dataclass(frozen=True)
class Figure:
    """A pooled value with its bootstrap 95 % interval over clips."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:z.2f} [{self.low:z.2f}, {self.high:z.2f}]"


def clip_figures(
    name: str,
    family: str,
    occluded: bool,
    frames: dict[str, np.ndarray],
    openings: dict[str, np.ndarray],
    box_T4: np.ndarray,
    outside: float,
) -> ClipFigures:
    """`frames`: result, source and truth; `openings` (T,): read from the result, and true of source and truth."""
    error, count = squared_error(frames["result"], frames["truth"], box_T4)
    source_error, _ = squared_error(frames["source"], frames["truth"], box_T4)
    motion_error, motion_count = motion_squared_error(frames["result"], frames["truth"], box_T4)
    return ClipFigures(
        name, family, occluded, error, source_error, motion_error, count, motion_count,
        tuple(lagged(openings["result"], openings["truth"])),
        partial(openings["result"], openings["source"], openings["truth"]), outside,
        *structure.compare(frames["result"], frames["truth"], box_T4),
    )  # fmt: skip


def pooled(clips: Sequence[ClipFigures]) -> dict[str, Figure | float]:
    """All figures over clips, each with its interval; `outside` is the worst clip's, `lag` the peak's in frames."""
    columns = {name: np.array([getattr(clip, name) for clip in clips], float) for name in _COLUMNS}
    lag_r = np.array([clip.lag_r for clip in clips])

    def share(rows: np.ndarray) -> float:
        return 1 - columns["squared_error"][rows].sum() / columns["source_squared_error"][rows].sum()

    def psnr(rows: np.ndarray) -> float:
        return decibels(columns["squared_error"][rows].sum() / columns["count"][rows].sum())

    def motion(rows: np.ndarray) -> float:
        return 255 * math.sqrt(columns["motion_squared_error"][rows].sum() / columns["motion_count"][rows].sum())

    def edges(rows: np.ndarray) -> float:
        return columns["edge_energy"][rows].sum() / columns["edge_energy_true"][rows].sum()

    return {
        "share": bootstrap(share, len(clips)),
        "share_median": bootstrap(lambda rows: np.median(columns["share"][rows]), len(clips)),
        "sync_r": bootstrap(lambda rows: fisher_mean(columns["sync_r"][rows]), len(clips)),
        "leak": bootstrap(lambda rows: abs(np.mean(columns["leak"][rows])), len(clips)),
        "psnr_mouth": bootstrap(psnr, len(clips)),
        "motion_error": bootstrap(motion, len(clips)),
        "ssim": bootstrap(lambda rows: np.mean(columns["ssim"][rows]), len(clips)),
        "gmsd": bootstrap(lambda rows: np.mean(columns["gmsd"][rows]), len(clips)),
        "edges": bootstrap(edges, len(clips)),
        "lag": LAGS[int(np.argmax([fisher_mean(r) for r in lag_r.T]))],
        "outside": float(columns["outside"].max()),
    }


def squared_error(a_THWC: np.ndarray, b_THWC: np.ndarray, box_T4: np.ndarray) -> tuple[float, int]:
    """Sum of squared differences inside each frame's box, and over how many samples."""
    parts = [_cut(a, box) - _cut(b, box) for a, b, box in zip(a_THWC, b_THWC, box_T4, strict=True)]
    return float(sum(np.square(part).sum() for part in parts)), sum(part.size for part in parts)


def motion_squared_error(a_THWC: np.ndarray, b_THWC: np.ndarray, box_T4: np.ndarray) -> tuple[float, int]:
    """The same of the change from each frame to the next, inside the later one's box."""
    total, count = 0.0, 0
    for frame in range(1, len(a_THWC)):
        box = box_T4[frame]
        steps = [_cut(x[frame], box) - _cut(x[frame - 1], box) for x in (a_THWC, b_THWC)]
        total += float(np.square(steps[0] - steps[1]).sum())
        count += steps[0].size
    return total, count


def correlation(a_T: np.ndarray, b_T: np.ndarray) -> float:
    """Pearson's r; 0 where one of the two does not move."""
    a, b = np.asarray(a_T, np.float64), np.asarray(b_T, np.float64)
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 1e-12 else 0.0


def partial(a_T: np.ndarray, b_T: np.ndarray, given_T: np.ndarray) -> float:
    """Correlation of a and b with what `given` explains of each taken off."""
    ab, ag, bg = correlation(a_T, b_T), correlation(a_T, given_T), correlation(b_T, given_T)
    scale = math.sqrt(max(0.0, (1 - ag * ag) * (1 - bg * bg)))
    return float(np.clip((ab - ag * bg) / scale, -1, 1)) if scale > 1e-9 else 0.0


def lagged(read_T: np.ndarray, true_T: np.ndarray) -> list[float]:
    """Correlation at `LAGS`: what is read at frame t against the truth at frame t - lag."""
    count = len(read_T)
    return [
        correlation(read_T[max(lag, 0) : count + min(lag, 0)], true_T[max(-lag, 0) : count - max(lag, 0)])
        if count - abs(lag) > 2
        else 0.0
        for lag in LAGS
    ]


def fisher_mean(r_N: np.ndarray) -> float:
    """Mean of correlations on Fisher's scale."""
    return float(np.tanh(np.arctanh(np.clip(r_N, -0.9999, 0.9999)).mean()))


def decibels(mean_squared_error: float) -> float:
    return float(-10 * np.log10(max(mean_squared_error, 1e-12)))


def bootstrap(statistic: Callable[[np.ndarray], float], count: int) -> Figure:
    """The statistic of all clips, and the middle 95 % of its values on clips drawn with replacement."""
    rows = np.arange(count)
    value = float(statistic(rows))
    if count < 2:
        return Figure(value, value, value)
    found = stats.bootstrap(
        (rows,), statistic, n_resamples=RESAMPLES, vectorized=False, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return Figure(value, float(found.low), float(found.high))


def _cut(frame_HWC: np.ndarray, box: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = (int(v) for v in box)
    return frame_HWC[y0:y1, x0:x1].astype(np.float32) / 255


_COLUMNS = (
    "squared_error", "source_squared_error", "motion_squared_error", "count", "motion_count", "share", "sync_r", "leak",
    "outside", "ssim", "gmsd", "edge_energy", "edge_energy_true",
)  # fmt: skip
