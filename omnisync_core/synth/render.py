"""From a display list to pixels: shapes are moved into the view, filled on a finer canvas and averaged down."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .backdrops import BACKDROP_SIZE, MARGIN, Backdrop
from .shapes import Picture, Shape
from .warp import HeadWarp

_SUB = 4  # bits of sub-pixel coordinates
_BLEED = 0.45  # canvas pixels
_CELL = 4  # canvas pixels between the points where a head's warp is computed


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a space lies in the frame at T times: frame = matrix @ (x, y) + depth * turn + origin."""

    matrix_T22: np.ndarray
    turn_T2: np.ndarray
    origin_T2: np.ndarray

    def apply(self, points: np.ndarray, depth: float | np.ndarray) -> np.ndarray:
        """Points (n, 2) or (T, n, 2) -> (T, n, 2) in frame units; depth is a number or (n, 1)."""
        moved = np.matmul(points, np.swapaxes(self.matrix_T22, 1, 2))
        return moved + self.origin_T2[:, None] + depth * self.turn_T2[:, None]


def draw(
    shapes: list[Shape], places: dict[str, Placement], warp: HeadWarp | None, backdrop: Backdrop,
    view_T3: np.ndarray, size: int,
) -> np.ndarray:
    """uint8 (T, size, size, 3) RGB; `view_T3` is centre x, centre y and side in frame units."""
    fine = size * (2 if size < 160 else 3)
    view = np.asarray(view_T3, np.float64)
    count = len(view)
    points, starts = _pixels(shapes, places, view, fine)
    low = np.minimum.reduceat(points, starts, axis=1) >> _SUB
    high = np.maximum.reduceat(points, starts, axis=1) >> _SUB
    shown = ((high >= 0) & (low < fine)).all(2) | np.array([s.warped for s in shapes])
    ends = [*starts[1:], points.shape[1]]
    colors = [(*s.color, 255) for s in shapes]
    heads = (s.fill for s in shapes if s.fill and s.warped)
    maps = next((_head_maps(warp, fill, places["head"], view, fine) for fill in heads if warp), None)
    out = np.empty((count, size, size, 3), np.uint8)
    still = bool(np.ptp(view, axis=0).max() == 0)
    base = None
    for t in range(count):
        if base is None or not still:
            base = _backdrop(backdrop, view[t], fine)
        canvas = base.copy() if still else base
        for i in np.flatnonzero(shown[t]):
            shape = shapes[i]
            polygon = points[t, starts[i] : ends[i]]
            if maps and shape.fill and shape.warped:
                _warped(canvas, shape.fill, maps[0][t], maps[1][t], polygon, fine)
            elif shape.fill:
                _filled(canvas, polygon, shape, shape.fill, low[t, i], high[t, i], places, t, view[t], fine)
            elif shape.alpha < 1:
                _blend(canvas, polygon, shape.alpha, colors[i], low[t, i], high[t, i])
            else:
                cv2.fillPoly(canvas, [polygon], colors[i], cv2.LINE_8, _SUB)
        out[t] = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)[..., :3]
    return out


def _pixels(
    shapes: list[Shape], places: dict[str, Placement], view: np.ndarray, fine: int
) -> tuple[np.ndarray, np.ndarray]:
    """All shapes' points as one int32 (T, N, 2) in canvas sub-pixels, and where each shape starts."""
    count = len(view)
    starts = np.cumsum([0] + [s.points.shape[-2] for s in shapes])
    frame = np.empty((count, starts[-1], 2))
    for space in (*places, "frame"):
        for moving in (False, True):
            chosen = [i for i, s in enumerate(shapes) if s.space == space and (s.points.ndim == 3) == moving]
            if not chosen:
                continue
            points = np.concatenate([shapes[i].points for i in chosen], -2)
            slots = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in chosen])
            if space != "frame":
                depth = np.concatenate([np.full((shapes[i].points.shape[-2], 1), shapes[i].depth) for i in chosen])
                points = places[space].apply(points, depth)
            frame[:, slots] = points
    scale = fine / view[:, 2]
    frame = (frame - (view[:, :2] - view[:, 2:] / 2)[:, None]) * scale[:, None, None] - 0.5
    _shrink(frame, starts)
    return np.round(np.clip(frame, -8000, 16000) * (1 << _SUB)).astype(np.int32), starts[:-1]


def _shrink(points: np.ndarray, starts: np.ndarray) -> None:
    """Pulls outlines in by what fillPoly adds: it also paints every pixel that the outline touches."""
    after = np.arange(1, starts[-1] + 1)
    after[starts[1:] - 1] = starts[:-1]
    before = np.empty_like(after)
    before[after] = np.arange(starts[-1])
    following = points[:, after]
    along = following - points[:, before]
    area = np.add.reduceat(points[..., 0] * following[..., 1] - following[..., 0] * points[..., 1], starts[:-1], axis=1)
    step = np.repeat(np.where(area > 0, _BLEED, -_BLEED), np.diff(starts), axis=1)
    step /= np.sqrt(along[..., 0] ** 2 + along[..., 1] ** 2) + 1e-6
    points[..., 0] -= along[..., 1] * step
    points[..., 1] += along[..., 0] * step


def _backdrop(backdrop: Backdrop, view: np.ndarray, fine: int) -> np.ndarray:
    scale = fine / view[2] * (1 + 2 * MARGIN) / BACKDROP_SIZE  # canvas pixels per picture pixel
    corner = (view[:2] - view[2] / 2 + MARGIN) / (1 + 2 * MARGIN) * BACKDROP_SIZE
    shift = -corner * scale + 0.5 * scale - 0.5
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return cv2.warpAffine(
        backdrop.picture, matrix, (fine, fine), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _filled(
    canvas: np.ndarray, polygon: np.ndarray, shape: Shape, picture: Picture, low: np.ndarray, high: np.ndarray,
    places: dict[str, Placement], t: int, view: np.ndarray, fine: int,
) -> None:
    """Paints the shape's picture inside its outline."""
    x0, y0 = np.maximum(low, 0)
    x1, y1 = np.minimum(high + 2, fine)
    size = (int(x1 - x0), int(y1 - y0))
    to_canvas = _picture_matrix(shape, picture, places, t, view, fine)
    to_canvas[:, 2] -= (x0, y0)
    soft = cv2.warpAffine(picture.pixels, to_canvas, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros((size[1], size[0]), np.uint8)
    cv2.fillPoly(mask, [polygon - (np.array([x0, y0], np.int32) << _SUB)], 255, cv2.LINE_8, _SUB)
    if not picture.solid:
        mask &= _covered(soft)
    cv2.copyTo(soft, mask, canvas[y0:y1, x0:x1])


def _picture_matrix(
    shape: Shape, picture: Picture, places: dict[str, Placement], t: int, view: np.ndarray, fine: int
) -> np.ndarray:
    """(2, 3): from the fill's pixels to the canvas's."""
    place, scale = places[shape.space], fine / view[2]
    x, y = picture.left + 0.5 / picture.unit, picture.top + 0.5 / picture.unit
    if shape.shift_T2 is not None:
        x, y = x + shape.shift_T2[t, 0], y + shape.shift_T2[t, 1]
    (a, b), (c, d) = place.matrix_T22[t].tolist()
    (turn_x, turn_y), (left, top) = place.turn_T2[t].tolist(), place.origin_T2[t].tolist()
    depth, step = shape.depth + shape.behind, scale / picture.unit
    left += a * x + b * y + depth * turn_x - view[0] + view[2] / 2
    top += c * x + d * y + depth * turn_y - view[1] + view[2] / 2
    return np.array(((a * step, b * step, left * scale - 0.5), (c * step, d * step, top * scale - 0.5)))


def _head_maps(warp: HeadWarp, picture: Picture, place: Placement, view: np.ndarray, fine: int) -> list[np.ndarray]:
    """Coarse maps (T, G, G, 2) into the resting head's pixels, above and below the lips' seam; a cell too wide."""
    cells = fine // _CELL + 2
    at = (np.arange(cells, dtype=np.float32) - 0.5) / (cells - 2) - 0.5
    side = view[:, 2:].astype(np.float32)
    x = (view[:, :1].astype(np.float32) + side * at)[:, None].repeat(cells, 1).reshape(len(view), -1)
    y = (view[:, 1:2].astype(np.float32) + side * at)[:, :, None].repeat(cells, 2).reshape(len(view), -1)
    maps = warp.maps(place.matrix_T22, place.turn_T2, place.origin_T2, x, y)
    corner = np.array((picture.left, picture.top), np.float32)
    return [((m - corner) * np.float32(picture.unit) - 0.5).reshape(len(view), cells, cells, 2) for m in maps]


def _warped(
    canvas: np.ndarray, picture: Picture, above: np.ndarray, below: np.ndarray, seam: np.ndarray, fine: int
) -> None:
    """Paints a head that follows its mouth; `seam` is the outline of all that lies below the lips' line."""
    whole = fine + 2 * _CELL
    maps = [
        cv2.resize(m, (whole, whole), interpolation=cv2.INTER_LINEAR)[_CELL:-_CELL, _CELL:-_CELL]
        for m in (above, below)
    ]
    mask = np.zeros((fine, fine), np.uint8)
    cv2.fillPoly(mask, [seam], 255, cv2.LINE_8, _SUB)
    where = maps[0].copy()
    cv2.copyTo(maps[1], mask, where)
    soft = cv2.remap(picture.pixels, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    cv2.copyTo(soft, _covered(soft), canvas)


def _covered(pixels: np.ndarray) -> np.ndarray:
    return cv2.threshold(cv2.extractChannel(pixels, 3), 127, 255, cv2.THRESH_BINARY)[1]


def _blend(
    canvas: np.ndarray, polygon: np.ndarray, alpha: float, color: tuple[int, int, int, int], low: np.ndarray,
    high: np.ndarray,
) -> None:
    x0, y0 = np.maximum(low, 0)
    x1, y1 = np.minimum(high + 2, canvas.shape[0])
    part = canvas[y0:y1, x0:x1]
    layer = part.copy()
    cv2.fillPoly(layer, [polygon - (np.array([x0, y0], np.int32) << _SUB)], color, cv2.LINE_8, _SUB)
    cv2.addWeighted(layer, alpha, part, 1 - alpha, 0, dst=part)
