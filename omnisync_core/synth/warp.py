"""How a painted head follows its mouth and turns: for any point of the frame, the point of the resting head seen there.

A head's surface is deeper at its rim than at its nose, so it slides over itself when it turns. The mouth's columns are
stretched so that painted lips end where the mouth's curves do; chin and cheeks follow, and nothing beyond them moves.
"""

from __future__ import annotations

import numpy as np

from .character import Character
from .mouths import mouth_curves
from .shapes import ramp

REST = np.array([[0.0, 0.5, 0.0, 0.0, 0.0]], np.float32)
REACH = 1.0
"""Of the mouth's sideways pull, in mouth widths."""
PULLED_ABOVE, _BELOW = 0.42, 0.55  # how far the lips drag what is above and below them, in mouth widths
_BINS = 512


def depth_at(ch: Character, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Depth of the head's surface in head units; the mouth's own depth wherever lips can be."""
    style = ch.mouth
    rim = (x / ch.head_width) ** 2 + ((y - 0.1) / 1.32) ** 2
    base = 0.62 * np.clip(1.05 - rim, 0, 1)
    base += 0.3 * np.exp(-((x / 0.17) ** 2) - ((y - 0.16) / 0.2) ** 2)
    side = 1 - _step((np.abs(x) - 0.5 * style.size) / 0.64)
    down = _step((y - style.center_y + 0.3) / 0.22)
    return base + (style.depth - base) * side * down


class HeadWarp:
    """The mouth's pull at T times as columns over x."""

    def __init__(self, ch: Character, mouth_T5: np.ndarray) -> None:
        self.character, self.style = ch, ch.mouth
        style = ch.mouth
        now, rest = mouth_curves(style, mouth_T5), mouth_curves(style, REST)
        self.now = now
        self.drop_T = now.chin_drop_T.astype(np.float32)
        self.reach = REACH * style.size
        x = np.linspace(-self.reach, self.reach, _BINS)
        self.outer_T, self.rest_outer = now.upper_outer[:, -1, 0], rest.upper_outer[0, -1, 0]
        self.columns = np.empty((len(mouth_T5), _BINS, 10), np.float32)
        for t, outer in enumerate(self.outer_T):
            knots = (
                (-self.reach, -outer, outer, self.reach),
                (-self.reach, -self.rest_outer, self.rest_outer, self.reach),
            )
            x_rest = np.interp(x, *knots)
            self.columns[t, :, 8] = x_rest - x
            self.columns[t, :, 9] = 1 - ramp(np.abs(x), outer, self.reach)
            for k, name in enumerate(("upper_outer", "upper_inner", "lower_inner", "lower_outer")):
                curve, still = getattr(now, name)[t], getattr(rest, name)[0]
                self.columns[t, :, k] = np.interp(x, curve[:, 0], curve[:, 1])
                self.columns[t, :, 4 + k] = np.interp(x_rest, still[:, 0], still[:, 1])

    def seam(self) -> np.ndarray:
        """Outline (T, n, 2) of all that lies below the line where the lips meet, and its far continuation."""
        line = 0.5 * (self.now.upper_inner + self.now.lower_inner)
        ends = np.array([(-4.0, 0.0), (4.0, 0.0)]) + line[:, [0, -1]] * (0, 1)
        low = np.broadcast_to(np.array([(4.0, 6.0), (-4.0, 6.0)]), ends.shape)
        return np.concatenate([ends[:, :1], line, ends[:, 1:], low], 1)

    def maps(
        self, matrix_T22: np.ndarray, turn_T2: np.ndarray, origin_T2: np.ndarray, x_TP: np.ndarray, y_TP: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """`sources` of points of the frame (T, P) for heads placed so."""
        exact = np.linalg.inv(matrix_T22)
        slide = (exact @ turn_T2[..., None])[..., 0].astype(np.float32)
        undo, origin = exact.astype(np.float32), origin_T2.astype(np.float32)
        across, down = x_TP - origin[:, :1], y_TP - origin[:, 1:]
        x = undo[:, 0, :1] * across + undo[:, 0, 1:] * down
        y = undo[:, 1, :1] * across + undo[:, 1, 1:] * down
        depth: np.floating | np.ndarray = np.float32(self.style.depth)
        for _ in range(4):
            at_x, at_y = x - depth * slide[:, :1], y - depth * slide[:, 1:]
            depth = depth_at(self.character, at_x, at_y)
        return self.sources(x - depth * slide[:, :1], y - depth * slide[:, 1:])

    def sources(self, x_TP: np.ndarray, y_TP: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where (x, y) comes from on the resting head, each (T, P, 2): as skin above the lips' seam, as below it."""
        style, size = self.style, np.float32(self.style.size)
        bins = np.clip((x_TP + self.reach) * ((_BINS - 1) / (2 * self.reach)) + 0.5, 0, _BINS - 1).astype(np.int32)
        flat = bins + (np.arange(len(bins), dtype=np.int32) * _BINS)[:, None]
        columns = np.ascontiguousarray(np.moveaxis(self.columns.reshape(-1, 10)[flat], -1, 0))
        top, up, low, bottom, top0, up0, low0, bottom0, pull, fade = columns
        high = np.float32(style.center_y - PULLED_ABOVE * size)
        near = _step((y_TP - high) / np.maximum(top - high, 0.02)) * (1 - _step((y_TP - bottom) / (_BELOW * size)))
        x_rest = x_TP + pull * near

        lip = np.clip((y_TP - top) / np.maximum(up - top, 1e-3), 0, 1)
        upper = top0 - top + lip * (up0 - up - top0 + top)
        above = np.clip((y_TP - high) / np.maximum(top - high, 1e-3), 0, 1)
        upper = y_TP + fade * upper * above

        jaw = self._unlowered(x_TP, y_TP)
        at_lip = self._unlowered(x_TP, bottom)
        lip = np.clip((y_TP - low) / np.maximum(bottom - low, 1e-3), 0, 1)
        away = 1 - np.clip((y_TP - bottom) / (_BELOW * size), 0, 1)
        on_lip = low0 - low + lip * (bottom0 - bottom - low0 + low)
        below = (bottom0 - bottom - at_lip) * away + jaw
        lower = y_TP + np.where(y_TP < bottom, fade * on_lip + (1 - fade) * jaw, fade * below + (1 - fade) * jaw)
        return np.stack([x_rest, upper], -1), np.stack([x_rest, lower], -1)

    def _unlowered(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """What to add to y to undo the chin's drop there."""
        style = self.style
        start = style.center_y + 0.1 * style.size
        length = np.float32(max(style.chin_y, start + 0.1) - start)
        drop = self.drop_T[:, None] * np.clip(1 - (x / style.size) ** 2, 0, 1) ** 1.5
        rest = y
        for _ in range(2):
            t = np.clip((rest - start) / length, 0, 1)
            rest = rest - (rest + drop * t * t * (3 - 2 * t) - y) / (1 + drop * 6 * t * (1 - t) / length)
        return rest - y


def _step(t: np.ndarray) -> np.ndarray:
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)
