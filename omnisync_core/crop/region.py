"""Where the edit happens: one steady crop per shot, its soft mask, and the change that goes back onto the source.

Coordinates are continuous source pixels: pixel i covers [i, i + 1). Crops overhanging the frame repeat its edge.
Legend: N frames of the video, T frames of a shot, H W source pixels, S crop pixels, C colours.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from scipy.sparse import csr_array

from ..mouth import MouthTrack
from ..mouth.smoothing import smooth
from ..spec import VideoSpec

STEADY_SECONDS = 0.255
"""Gaussian sigma of the crop's path: 0.6 s between its half heights."""
WANDER = 0.14
"""How far the mouth may be off the crop's centre, in sides, before the crop gives way."""
EDGE_ZERO, EDGE_FADE = 0.04, 0.14
"""Share of the side at the crop's border where the mask is 0, and where it may first be 1."""
FADE_SECONDS = 0.12
"""How long the edit takes to come and go where the mouth is found or lost inside a shot."""


@dataclass(frozen=True)
class Box:
    """A square of the source in float pixels."""

    x0: float
    y0: float
    side: float


@dataclass(frozen=True)
class ShotCrop:
    """The crop of one shot: frames start..stop of the video, one side, a centre per frame."""

    start: int
    stop: int
    side: float
    """Source pixels."""
    crop_size: int
    center_T2: np.ndarray
    """Source pixels, low-passed."""
    mouth_T3: np.ndarray
    """x, y and width of the mouth inside the crop, 0..1."""
    strength_T: np.ndarray
    """0 where there is no mouth to edit, else up to 1; rises and falls softly inside the shot, at once at a cut."""
    roll_T: np.ndarray
    """How far the head is turned, radians, clockwise; 0 where nobody knows."""
    head_T32: np.ndarray
    """x, y of left brow, right brow and nose inside the crop, 0..1; NaN where nobody knows."""

    def box(self, frame: int) -> Box:
        """The crop of frame `frame`, counted from the start of the video."""
        if not self.start <= frame < self.stop:
            raise IndexError(f"frame {frame} is outside this shot ({self.start}..{self.stop - 1})")
        x, y = self.center_T2[frame - self.start]
        return Box(float(x) - self.side / 2, float(y) - self.side / 2, self.side)

    def runs(self) -> list[tuple[int, int]]:
        """Stretches of frames to be edited, as (start, stop) counted from the start of the video."""
        edges = np.flatnonzero(np.diff(np.concatenate([[0], (self.strength_T > 0).astype(int), [0]])))
        return [(self.start + int(a), self.start + int(b)) for a, b in edges.reshape(-1, 2)]


def plan_crops(track: MouthTrack, spec: VideoSpec) -> list[ShotCrop]:
    """One `ShotCrop` per shot, in order; together they hold every frame of the track once."""
    if not len(track.pts_N):
        return []
    starts = np.concatenate([[0], np.flatnonzero(np.diff(track.shot_N)) + 1, [len(track.pts_N)]])
    return [_plan_shot(track, spec, int(a), int(b)) for a, b in itertools.pairwise(starts)]


def crop(
    rgb: Callable[[tuple[int, int, int, int]], np.ndarray], frame_size: tuple[int, int], box: Box, crop_size: int
) -> np.ndarray:
    """`box` resampled to crop_size x crop_size x 3 float32, exact to the sub-pixel and free of aliasing.

    rgb: called with an integer box (x0, y0, x1, y1) inside the frame, e.g. `Frame.rgb`. frame_size: (width, height).
    """
    step = box.side / crop_size
    margin = 2 * max(1.0, step)
    width, height = frame_size
    xs, ys = _span(box.x0, box.side, margin, width), _span(box.y0, box.side, margin, height)
    pixels_HWC = np.asarray(rgb((xs[0], ys[0], xs[1], ys[1])), np.float32)
    rows = _weights(crop_size, box.y0 - ys[0], step, ys[1] - ys[0])
    columns = _weights(crop_size, box.x0 - xs[0], step, xs[1] - xs[0])
    return _resample(pixels_HWC, rows, columns)


def edit_mask(crop_size: int, mouth_T3: np.ndarray) -> np.ndarray:
    """Soft masks T x S x S, float32: 1 on mouth and jaw, smooth, exactly 0 on the outer 4 % whatever the mouth says."""
    mouth = np.asarray(mouth_T3, np.float32).reshape(-1, 3)
    at = (np.arange(crop_size, dtype=np.float32) + 0.5) / crop_size
    x, y, width = mouth[:, 0, None], mouth[:, 1, None], np.maximum(mouth[:, 2, None], 1e-3)
    across = np.abs(at - x) / (1.05 * width)
    down = at - y
    along = np.where(down > 0, down / (1.10 * width), -down / (0.80 * width))
    radius = (across[:, None, :] ** 2.5 + along[:, :, None] ** 2.5) ** (1 / 2.5)
    border = _smoothstep((np.minimum(at, 1 - at) - EDGE_ZERO) / (EDGE_FADE - EDGE_ZERO))
    return _smoothstep((1 - radius) / 0.3) * border[:, None] * border[None, :]


def cover(box: Box, frame_size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The integer pixels (x0, y0, x1, y1) of the frame that `box` touches; None where it is wholly off the frame."""
    x0, y0 = max(0, math.floor(box.x0)), max(0, math.floor(box.y0))
    x1 = min(frame_size[0], math.ceil(box.x0 + box.side))
    y1 = min(frame_size[1], math.ceil(box.y0 + box.side))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def delta(
    source_HWC: np.ndarray,
    cover_xyxy: tuple[int, int, int, int],
    box: Box,
    edited_SSC: np.ndarray,
    reference_SSC: np.ndarray,
    mask_SS: np.ndarray,
) -> np.ndarray:
    """What to add to the source pixels of `cover_xyxy` (for `Frame.add_rgb`), float32 H x W x C.

    edited: the engine's window; reference: the source through the engine's codec. Where the two agree the source's
    own pixels stay; a small difference is added to them; where they differ, `edited` takes the pixels' place, with the
    codec's colour error (source - reference, low-passed) taken off. Exactly 0 where `source_mask` is 0.
    """
    x0, y0, x1, y1 = cover_xyxy
    source_HWC = np.asarray(source_HWC, np.float32)
    if source_HWC.shape[:2] != (y1 - y0, x1 - x0):
        raise ValueError(f"source is {source_HWC.shape[:2]}, the box {cover_xyxy} needs {(y1 - y0, x1 - x0)}")
    delta_HWC = np.zeros(source_HWC.shape, np.float32)
    touched = _touched(mask_SS, box, cover_xyxy)
    if touched is None:
        return delta_HWC
    mask_SS1 = np.asarray(mask_SS, np.float32)[..., None]
    change_SSC = np.asarray(edited_SSC, np.float32) - np.asarray(reference_SSC, np.float32)
    kept_SS1, replaced_SS1 = _kept_and_replaced(change_SSC)
    change_SSC *= kept_SS1
    placed_SSC = edited_SSC + _colour_error(source_HWC, cover_xyxy, box, reference_SSC)
    placed_SSC = mask_SS1 * (change_SSC + replaced_SS1 * (placed_SSC - change_SSC))
    fields_SSK = np.concatenate([placed_SSC, mask_SS1 * replaced_SS1], axis=2, dtype=np.float32)
    fields_HWK = _resample(fields_SSK, *_to_source(len(mask_SS), box, touched))
    inner = np.s_[touched[1] - y0 : touched[3] - y0, touched[0] - x0 : touched[2] - x0]
    change_HWC = fields_HWK[..., :3] - fields_HWK[..., 3:] * source_HWC[inner]
    np.multiply(change_HWC, (source_mask(mask_SS, box, touched) > 0)[..., None], out=delta_HWC[inner])
    return delta_HWC


def source_mask(mask_SS: np.ndarray, box: Box, cover_xyxy: tuple[int, int, int, int]) -> np.ndarray:
    """The crop's mask on the source pixels of `cover_xyxy`, float32 H x W: `delta` is exactly 0 where this is."""
    rows, columns = _to_source(len(mask_SS), box, cover_xyxy, linear=True)
    return _resample(np.asarray(mask_SS, np.float32)[..., None], rows, columns)[..., 0]


def _plan_shot(track: MouthTrack, spec: VideoSpec, start: int, stop: int) -> ShotCrop:
    here = slice(start, stop)
    size = np.asarray(track.frame_size, np.float64)
    times, known = track.pts_N[here], track.confidence_N[here] > 0
    mouth_T2, width_T = track.center_N2[here] * size, track.width_N[here] * size[0]
    widths = width_T[known] if known.any() else width_T
    head_T32 = _heads(track, here) * size
    side = max(8.0, _side(spec, widths, head_T32[known] if known.any() else head_T32))
    center_T2 = smooth(times, mouth_T2, STEADY_SECONDS, known.astype(float))
    off_T2 = mouth_T2 - center_T2
    limit = WANDER * side
    center_T2 = mouth_T2 - limit * np.tanh(off_T2 / limit)
    center_T2[:, 1] -= (spec.mouth_height - 0.5) * side
    inside_T2 = (mouth_T2 - center_T2) / side + 0.5
    mouth_T3 = np.concatenate([inside_T2, width_T[:, None] / side], axis=1).astype(np.float32)
    roll_N = track.roll_N if len(track.roll_N) == len(track.pts_N) else np.zeros(len(track.pts_N))
    inside_T32 = ((head_T32 - center_T2[:, None]) / side + 0.5).astype(np.float32)
    strength_T = _strength(times, known)
    return ShotCrop(start, stop, side, spec.crop_size, center_T2, mouth_T3, strength_T, roll_N[here], inside_T32)


def _heads(track: MouthTrack, here: slice) -> np.ndarray:
    """(T, 3, 2) of the track, NaN where nobody knows."""
    if len(track.head_N32) == len(track.pts_N):
        return track.head_N32[here]
    return np.full((len(track.pts_N[here]), 3, 2), np.nan)


def _side(spec: VideoSpec, widths: np.ndarray, head_T32: np.ndarray) -> float:
    """By the head where the engine asks for it and most frames tell it: lips that purse do not change a head's size."""
    known_T = ~np.isnan(head_T32).any((1, 2))
    if spec.head_scale and known_T.mean() > 0.5:
        return spec.head_scale * float(np.percentile(head_spread(head_T32[known_T]), 95))
    return spec.crop_scale * float(np.percentile(widths, 95))


def head_spread(points_T32: np.ndarray) -> np.ndarray:
    """(T,): standard deviation of the six centred numbers of brows and nose, LatentSync's measure of a face's size."""
    centred = points_T32 - points_T32.mean(1, keepdims=True)
    return centred.reshape(len(centred), -1).std(1, ddof=1)


def _strength(times_T: np.ndarray, known_T: np.ndarray) -> np.ndarray:
    """1 where the mouth is known, fading over FADE_SECONDS towards frames where it is not."""
    if known_T.all() or not known_T.any():
        return known_T.astype(np.float32)
    lost = times_T[~known_T]
    after = np.searchsorted(lost, times_T)
    near = np.minimum(
        np.abs(times_T - lost[np.clip(after - 1, 0, len(lost) - 1)]),
        np.abs(times_T - lost[np.clip(after, 0, len(lost) - 1)]),
    )
    return np.clip(near / FADE_SECONDS, 0, 1).astype(np.float32)


def _kept_and_replaced(change_SSC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far a change counts and how far it takes the source's place (S x S x 1), smooth, by its level around.

    Below 2 of 255 levels it fades to nothing (noise of the codec); from 2 to 10 it goes from added to replacing.
    """
    size = change_SSC.shape[0]
    level_SS = cv2.GaussianBlur(np.abs(change_SSC).max(axis=2), (0, 0), max(0.8, size / 48))[..., None]
    return _smoothstep(level_SS / (2 / 255)), _smoothstep((level_SS - 2 / 255) / (8 / 255))


def _colour_error(
    source_HWC: np.ndarray, cover_xyxy: tuple[int, int, int, int], box: Box, reference_SSC: np.ndarray
) -> np.ndarray:
    """What the codec did to the colours, S x S x C: low-passed, so measured on a quarter of the crop's rows."""
    size = len(reference_SSC)
    coarse, (x0, y0, x1, y1) = max(4, size // 4), cover_xyxy
    step = box.side / coarse
    rows, columns = _weights(coarse, box.y0 - y0, step, y1 - y0), _weights(coarse, box.x0 - x0, step, x1 - x0)
    same = _weights(coarse, 0.0, size / coarse, size)
    error = _resample(source_HWC, rows, columns) - _resample(np.asarray(reference_SSC, np.float32), same, same)
    error = cv2.GaussianBlur(error, (0, 0), coarse / 12, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(error, (size, size), interpolation=cv2.INTER_LINEAR)


def _touched(mask_SS: np.ndarray, box: Box, cover_xyxy: tuple[int, int, int, int]) -> tuple[int, int, int, int] | None:
    """The part of `cover_xyxy` that the mask reaches; None where it reaches none."""
    step = box.side / len(mask_SS)
    bounds = []
    for axis, start, low, high in ((1, box.x0, *cover_xyxy[::2]), (0, box.y0, *cover_xyxy[1::2])):
        on = np.flatnonzero(np.any(mask_SS, axis=1 - axis))
        if not len(on):
            return None
        first, last = math.floor(start + (on[0] - 1) * step), math.ceil(start + (on[-1] + 2) * step)
        bounds.append((max(low, first), min(high, last)))
    (x0, x1), (y0, y1) = bounds
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _to_source(
    size: int, box: Box, cover_xyxy: tuple[int, int, int, int], linear: bool = False
) -> tuple[csr_array, csr_array]:
    """Matrices (rows, columns) that bring a crop onto the source pixels of `cover_xyxy`."""
    x0, y0, x1, y1 = cover_xyxy
    step = size / box.side
    rows = _weights(y1 - y0, (y0 - box.y0) * step, step, size, linear)
    return rows, _weights(x1 - x0, (x0 - box.x0) * step, step, size, linear)


def _smoothstep(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return (x * x * (3 - 2 * x)).astype(np.float32)


def _span(start: float, side: float, margin: float, limit: int) -> tuple[int, int]:
    """Integer range around start..start+side with a margin, inside 0..limit and never empty."""
    low = min(max(0, math.floor(start - margin)), limit - 1)
    return low, max(low + 1, min(limit, math.ceil(start + side + margin)))


def _resample(image_HWC: np.ndarray, rows_YH: csr_array, columns_XW: csr_array) -> np.ndarray:
    """Separable resampling of all channels (1, 3 or 4) by two sparse matrices."""
    height, width, channels = image_HWC.shape
    tall = (rows_YH @ image_HWC.reshape(height, width * channels)).reshape(-1, width, channels)
    turned = cv2.transpose(tall).reshape(width, -1)
    return cv2.transpose((columns_XW @ turned).reshape(-1, len(tall), channels)).reshape(len(tall), -1, channels)


@lru_cache(maxsize=8)
def _weights(count: int, offset: float, step: float, limit: int, linear: bool = False) -> csr_array:
    """Sparse count x limit matrix: sample k sits at offset + (k + .5) * step of a line of `limit` pixels.

    Catmull-Rom (or linear) kernel, widened by `step` where that shrinks; beyond the line its end pixel repeats.
    """
    scale = max(1.0, step)
    reach = (1 if linear else 2) * scale
    at = offset + (np.arange(count) + 0.5) * step - 0.5
    first = np.ceil(at - reach).astype(int)
    taps = first[:, None] + np.arange(2 * math.ceil(reach) + 1)
    x = np.abs(taps - at[:, None]) / scale
    if linear:
        kernel = np.maximum(0, 1 - x)
    else:
        near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
        kernel = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    kernel /= kernel.sum(axis=1, keepdims=True)
    starts = np.arange(0, taps.size + 1, taps.shape[1])
    taps = np.clip(taps, 0, limit - 1)
    return csr_array((kernel.astype(np.float32).ravel(), taps.ravel(), starts), shape=(count, limit))
