"""How a mouth and a sound go together, without knowing the truth: figures, a line of text each, and a chart.

An opening is read by the frozen reader, which learned from drawn faces; loudness is not opening either. So the figures
compare two versions of one clip well, and say little about one alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .. import audio
from ..audio import Wave
from ..errors import InputError
from ..mouth import MouthTrack
from .drawing import INK, RESULT, RULE, SOFT, TRUTH, Page, close_up
from .reader import read_opening

RATE = 100
"""Points of loudness per second."""
LOUD_RANGE_DB = 35.0
"""Loudness is shown from this far below its loudest on."""
LAGS = np.arange(-40, 41) / 100
"""Seconds by which the mouth may be late."""
FEWEST = 8
"""Frames from which a correlation is given."""
BATCH, TILES, TILE = 32, 14, 76
WIDTH, EDGE = 1280, 32


@dataclass(frozen=True)
class SyncReading:
    """N frames; NaN where the mouth or a figure is not known."""

    times_N: np.ndarray
    opening_N: np.ndarray
    loud_N: np.ndarray
    """0..1 between the quiet and the loudest, in decibels."""
    speaks_N: np.ndarray
    """0..1: somebody speaks."""
    lag_r_L: np.ndarray
    """Correlation of opening and loudness where the mouth is `LAGS` late."""
    seconds: float
    """The sound's length."""
    tiles: tuple[np.ndarray, ...] = ()
    """Close-ups of the mouth, evenly over time."""

    @property
    def r(self) -> float:
        return float(self.lag_r_L[len(LAGS) // 2])

    @property
    def best(self) -> tuple[float, float]:
        """The highest correlation and the seconds that the mouth is late there."""
        if np.isnan(self.lag_r_L).all():
            return float("nan"), float("nan")
        at = int(np.nanargmax(self.lag_r_L))
        return float(self.lag_r_L[at]), float(LAGS[at])

    def movement(self, speaking: bool) -> float:
        """How far the mouth travels in a second, in full openings, while somebody speaks or while nobody does."""
        steps, gaps = np.abs(np.diff(self.opening_N)), np.diff(self.times_N)
        here = ((self.speaks_N[1:] > 0.5) == speaking) & np.isfinite(steps)
        return float(steps[here].sum() / gaps[here].sum()) if here.sum() >= FEWEST else float("nan")


def read(frames: Iterable[np.ndarray], times_N: np.ndarray, track: MouthTrack, wave: Wave) -> SyncReading:
    """Read a clip: its frames (H x W x 3, uint8 or float 0..1, any size, one at a time), shown at `times_N` seconds."""
    times_N = np.asarray(times_N, np.float64)
    opening_N, tiles = _openings(frames, track)
    if len(opening_N) != len(times_N):
        raise InputError(f"the mouth track has {len(times_N)} frames, the source {len(opening_N)}: use the same source")
    loud_P = _loudness(wave)
    loud_N, speaks_N = _at(loud_P, times_N), audio.speech_activity(wave, times_N)
    lag_r_L = np.array([_r(opening_N, _at(loud_P, times_N - lag)) for lag in LAGS])
    return SyncReading(times_N, opening_N, loud_N, speaks_N, lag_r_L, wave.duration, tiles)


def describe(reading: SyncReading) -> str:
    """The figures for people, a line each."""
    known, count = int(np.isfinite(reading.opening_N).sum()), len(reading.times_N)
    best, lag = reading.best
    lines = [
        f"{count} frame{'s' * (count != 1)}, the sound lasts {reading.seconds:.2f} s, "
        f"speech in {np.mean(reading.speaks_N > 0.5):.0%} of the frames",
        f"mouth known in {known} of {count} frames",
    ]
    if np.isnan(reading.r):
        lines.append("opening against loudness: too few frames, or one of the two does not change")
    else:
        late = f"{abs(lag) * 1000:.0f} ms {'after' if lag > 0 else 'before'} the sound" if lag else "on time"
        lines.append(f"opening against loudness: r {reading.r:.2f}; best r {best:.2f} with the mouth {late}")
    for name, speaking in (("speaks", True), ("is silent", False)):
        travel = reading.movement(speaking)
        if not np.isnan(travel):
            lines.append(f"while somebody {name} the mouth travels {travel:.1f} openings a second")
    lines.append("Openings are read by a network that learned from drawn faces: compare versions of one clip with it.")
    return "\n".join(lines).replace("while somebody is silent", "while nobody speaks")


def draw(reading: SyncReading) -> np.ndarray:
    """The chart, uint8 RGB, 1280 pixels wide."""
    page = Page(WIDTH, 560)
    page.text(EDGE, 50, "Sync report", 26, weight=700)
    best, lag = reading.best
    figures = "not measurable" if np.isnan(best) else f"r {reading.r:.2f} · best {best:.2f} at {lag * 1000:+.0f} ms"
    page.text(WIDTH - EDGE, 48, figures, 18, INK, 600, "right")
    left, wide = EDGE + 92, 850
    _over_time(page, reading, left, wide)
    gap = (wide - TILES * 56) / max(1, TILES - 1)
    for place, tile in enumerate(reading.tiles):
        page.picture(round(left + place * (56 + gap)), 458, tile, (56, 56), 5)
    page.text(EDGE, 490, "mouth", 14, SOFT)
    _over_lag(page, reading, left + wide + 56, WIDTH - EDGE - left - wide - 56)
    page.text(EDGE, 542, describe(reading).splitlines()[-1], 13, SOFT)
    return page.pixels


def _openings(frames: Iterable[np.ndarray], track: MouthTrack) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The mouth's opening in every frame, NaN where no mouth is known, and close-ups."""
    wanted = set(np.linspace(0, len(track.pts_N) - 1, min(TILES, len(track.pts_N))).round().astype(int).tolist())
    width = float(np.median(track.width_N[track.confidence_N > 0])) if (track.confidence_N > 0).any() else 0.2
    batch: list = []
    openings, tiles, count = [], [], 0

    def flush() -> None:
        if batch:
            pictures, places = np.stack([b[0] for b in batch]), np.array([b[1] for b in batch])
            openings.append(read_opening(pictures, places, width * pictures.shape[2]))
            batch.clear()

    for count, frame in enumerate(frames, 1):
        if count > len(track.pts_N):
            continue
        frame = frame if frame.dtype == np.uint8 else (np.clip(frame, 0, 1) * 255 + 0.5).astype(np.uint8)
        size = np.array(frame.shape[1::-1])
        place = track.center_N2[count - 1] * size
        batch.append((frame, place))
        if count - 1 in wanted:
            side = max(4.0, 2.0 * width * size[0])
            tiles.append(close_up(frame, place[0], place[1] + 0.1 * side, side, TILE))
        if len(batch) == BATCH:
            flush()
    flush()
    if count != len(track.pts_N):
        return np.zeros(count), ()
    opening_N = np.concatenate(openings).astype(np.float64)
    opening_N[track.confidence_N == 0] = np.nan
    return opening_N, tuple(tiles)


def _loudness(wave: Wave) -> np.ndarray:
    """0..1 at RATE per second: level of 40 ms around, from LOUD_RANGE_DB below the loudest."""
    hop, points = audio.SAMPLE_RATE // RATE, int(np.ceil(wave.duration * RATE)) + 1
    power_P = np.zeros(points)
    for start in range(0, points, 10 * RATE):
        count = min(10 * RATE, points - start)
        wave_S = wave.read(start / RATE, (start + count) / RATE).astype(np.float64)
        power_P[start : start + count] = np.square(wave_S[: count * hop].reshape(count, hop)).mean(1)
    level_P = 10 * np.log10(np.convolve(power_P, np.ones(4) / 4, "same") + 1e-9)
    return np.clip(1 + (level_P - max(level_P.max(), -60.0)) / LOUD_RANGE_DB, 0, 1)


def _at(loud_P: np.ndarray, times_N: np.ndarray) -> np.ndarray:
    return np.interp(times_N, (np.arange(len(loud_P)) + 0.5) / RATE, loud_P, left=0.0, right=0.0)


def _r(opening_N: np.ndarray, loud_N: np.ndarray) -> float:
    known = np.isfinite(opening_N)
    if known.sum() < FEWEST or opening_N[known].std() < 1e-6 or loud_N[known].std() < 1e-6:
        return float("nan")
    return float(np.corrcoef(opening_N[known], loud_N[known])[0, 1])


def _over_time(page: Page, reading: SyncReading, left: int, wide: int) -> None:
    times = reading.times_N
    start, end = float(times[0]), float(max(times[-1], times[0] + 1e-3))

    def across(time: float | np.ndarray) -> np.ndarray:
        return left + (np.asarray(time) - start) / (end - start) * wide

    for name, top, height in (("sound", 84, 150), ("opening", 262, 160)):
        page.panel(left, top, wide, height, radius=8)
        page.text(EDGE, top + 24, name, 15, INK, 600)
    page.text(EDGE, 130, "speech", 13, TRUTH)
    page.text(EDGE, 150, "loudness", 13, SOFT)
    x = across(times)
    for bottom, height in ((234, 150), (422, 160)):
        page.area(x, np.full(len(x), float(bottom)), bottom - height * reading.speaks_N, TRUTH, 0.10)
    page.area(x, np.full(len(x), 234.0), 234 - 140 * reading.loud_N, SOFT, 0.35)
    page.curve(x, 234 - 140 * reading.loud_N, SOFT, 1.6)
    known = np.isfinite(reading.opening_N)
    widest = max(1.0, float(np.nanmax(reading.opening_N))) if known.any() else 1.0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known.astype(int), [0]])))
    for first, last in edges.reshape(-1, 2):
        here = slice(first, last)
        page.curve(x[here], 418 - 150 * np.clip(reading.opening_N[here], 0, None) / widest, RESULT, 2.4)
    step = next(s for s in (0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1e9) if (end - start) / s <= 12)
    for tick in np.arange(np.ceil(start / step) * step, end + 1e-9, step):
        page.line(across(tick), 422, across(tick), 428, RULE, 1.5)
        page.text(across(tick), 445, f"{tick:g} s", 13, SOFT, align="centre")


def _over_lag(page: Page, reading: SyncReading, left: int, wide: int) -> None:
    """Correlation against the mouth's delay: a peak at 0 is a mouth on time."""
    page.panel(left, 84, wide, 338, radius=8)
    page.text(left, 445, "-400 ms", 13, SOFT)
    page.text(left + wide, 445, "+400 ms", 13, SOFT, align="right")
    page.text(left + wide / 2, 490, "correlation by the mouth's delay", 13, SOFT, align="centre")
    x, zero = left + np.linspace(8, wide - 8, len(LAGS)), 84 + 200
    page.line(left + 8, zero, left + wide - 8, zero, RULE)
    page.line(left + wide / 2, 92, left + wide / 2, 414, RULE)
    if np.isnan(reading.lag_r_L).any():
        return
    page.curve(x, zero - 190 * np.clip(reading.lag_r_L, -0.65, 1), RESULT, 2.4)
    at = int(np.argmax(reading.lag_r_L))
    page.panel(round(x[at]) - 4, round(zero - 190 * reading.lag_r_L[at]) - 4, 9, 9, RESULT, 4)
