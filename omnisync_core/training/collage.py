"""Training pictures of the mouth finder: heads pasted on clutter, each put together anew.

Any backdrop or none, several heads or none, hands, stripes, letters and scraps of heads without a mouth; turned,
scaled, bent, cut off, recoloured, blurred, noisy, compressed.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ..mouth.finder import CELL, USUAL
from ..synth.backdrops import BACKDROP_SIZE
from .cutouts import Pool

SIDE = 160
LEAST, MOST = 7.0, 72.0
"""Widths of the mouths, pixels of the network's picture."""
EMPTY = 0.1
"""Share of pictures without any head."""
TRUTH = 9
"""Channels of the truth: heat, weight of the heat, weight of the rest, then as the network's but the heat."""


def collage(pool: Pool, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A uint8 picture and its truth (TRUTH, SIDE / CELL, SIDE / CELL)."""
    canvas = _backdrop(pool, rng, SIDE)
    for _ in range(rng.integers(0, 5)):
        _clutter(canvas, rng)
    for _ in range(int(rng.choice([0, 1, 3], p=[0.5, 0.3, 0.2]))):
        _scrap(canvas, pool, rng)
    mouths: list[np.ndarray] = []
    heads = 0 if rng.random() < EMPTY else int(rng.choice([1, 2, 3, 5], p=[0.6, 0.2, 0.12, 0.08]))
    for _ in range(heads):
        _paste(canvas, pool, rng, mouths)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.6, 0.25, 0.15]))):
        cover: Callable[..., np.ndarray] = (_hand, _clutter, _thing)[int(rng.integers(3))]
        covered = cover(canvas, rng, pool)
        mouths = [_hidden(mouth, covered) for mouth in mouths]
    return _spoiled(canvas, rng), _truth(mouths, SIDE)


def mirrored(picture: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left and right changed places."""
    signs = np.ones((TRUTH, 1, 1), np.float32)
    signs[[3, 6, 7]] = -1
    return np.ascontiguousarray(picture[:, ::-1]), np.ascontiguousarray(truth[..., ::-1] * signs)


def _backdrop(pool: Pool, rng: np.random.Generator, side: int) -> np.ndarray:
    kind = rng.random()
    if kind < 0.4:
        picture = pool.backdrops[rng.integers(len(pool.backdrops))]
        part = int(rng.uniform(60, BACKDROP_SIZE))
        x, y = rng.integers(0, BACKDROP_SIZE - part + 1, 2)
        canvas = cv2.resize(picture[y : y + part, x : x + part], (side, side), interpolation=cv2.INTER_LINEAR)
        return canvas.copy()
    color = rng.uniform(0, 255, 3)
    if kind < 0.52:
        return _textured(pool, rng, color, side)
    if kind < 0.62:
        other, turn = rng.uniform(0, 255, 3), rng.uniform(-1, 1, 2)
        ramp = np.add.outer(np.linspace(-1, 1, side) * turn[0], np.linspace(-1, 1, side) * turn[1])
        ramp = 1 / (1 + np.exp(-rng.uniform(1, 6) * ramp))
        return np.clip(color + (other - color) * ramp[..., None], 0, 255).astype(np.uint8)
    canvas = np.broadcast_to(color.astype(np.float32), (side, side, 3)).copy()
    cells, strength = 2, rng.uniform(10, 70)
    fall, tinted = rng.uniform(0.4, 0.95), rng.uniform(0, 0.6) ** 2
    while cells < side:
        noise = rng.normal(0, 1, (cells, cells, 3)).astype(np.float32)
        noise = noise * tinted + 1.5 * noise.mean(-1, keepdims=True)
        canvas += strength * cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
        cells, strength = cells * 2, strength * fall
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _textured(pool: Pool, rng: np.random.Generator, color: np.ndarray, side: int) -> np.ndarray:
    """Cloth, hair, leaves: one or two of the drawn world's textures in one colour."""
    canvas = np.broadcast_to(color.astype(np.float32), (side, side, 3)).copy()
    for _ in range(rng.integers(1, 3)):
        texture = pool.textures[rng.integers(len(pool.textures))]
        part = int(rng.uniform(40, 500))
        x, y = rng.integers(0, 512 - part + 1, 2)
        part_hw = cv2.resize(texture[y : y + part, x : x + part], (side, side), interpolation=cv2.INTER_AREA)
        canvas *= 1 + rng.uniform(0.05, 0.6) * (part_hw if rng.random() < 0.5 else part_hw.T)[..., None]
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _thing(canvas: np.ndarray, rng: np.random.Generator, pool: Pool) -> np.ndarray:
    """One of the pool's things, anywhere; returns its mask."""
    side, image = len(canvas), pool.things[rng.integers(len(pool.things))]
    moved = _strewn(image, rng, side, np.exp(rng.uniform(np.log(0.2), np.log(1.2))) * side / len(image))
    _lay(canvas, _recolored(moved[..., :3], rng), moved[..., 3])
    return moved[..., 3]


def _scrap(canvas: np.ndarray, pool: Pool, rng: np.random.Generator) -> None:
    """A part of a head without its mouth: an eye, an ear, hair, a collar, any size."""
    one = int(rng.integers(len(pool.rgba)))
    size = pool.rgba.shape[1]
    x, y, width, _ = pool.mouth[one]
    part = int(rng.uniform(0.15, 0.5) * size)
    left, top = rng.integers(0, size - part, 2)
    if abs(left + part / 2 - x) < part / 2 + 0.7 * width and abs(top + part / 2 - y) < part / 2 + 0.5 * width:
        return
    image = pool.rgba[one, top : top + part, left : left + part]
    if image[..., 3].mean() < 60:
        return
    moved = _strewn(image, rng, len(canvas), np.exp(rng.uniform(np.log(0.3), np.log(3.0))))
    _lay(canvas, _recolored(moved[..., :3], rng), moved[..., 3])


def _strewn(image: np.ndarray, rng: np.random.Generator, side: int, scale: float) -> np.ndarray:
    """A picture with a mask, turned and scaled, anywhere on an empty (side, side, 4)."""
    angle = rng.normal(0, 0.5) if rng.random() < 0.7 else rng.uniform(-np.pi, np.pi)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    matrix = np.array([[c, -s], [s, c]])
    if scale < 0.7:
        less = max(2, round(max(image.shape[:2]) * scale * 1.4)) / max(image.shape[:2])
        image = cv2.resize(image, None, fx=less, fy=less, interpolation=cv2.INTER_AREA)
        matrix = matrix / less
    shift = rng.uniform(0, side, 2) - matrix @ (np.array(image.shape[1::-1]) / 2)
    return cv2.warpAffine(image, np.column_stack([matrix, shift]), (side, side))


def _clutter(canvas: np.ndarray, rng: np.random.Generator, _pool: Pool | None = None) -> np.ndarray:
    """Draws something that is no face; returns its mask."""
    side = len(canvas)
    mask = np.zeros((side, side), np.uint8)
    kind = rng.integers(6)
    middle, reach = rng.uniform(0, side, 2), np.exp(rng.uniform(np.log(6), np.log(0.5 * side)))
    if kind == 0:
        angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
        points = middle + reach * rng.uniform(0.4, 1, (len(angle), 1)) * np.column_stack([np.cos(angle), np.sin(angle)])
        cv2.fillPoly(mask, [points.astype(np.int32)], 255, cv2.LINE_AA)
    elif kind == 1:
        axes = (int(reach), int(reach * rng.uniform(0.15, 1)) + 1)
        cv2.ellipse(mask, middle.astype(int).tolist(), axes, rng.uniform(0, 180), 0, 360, 255,
            -1 if rng.random() < 0.7 else int(rng.integers(1, 5)), cv2.LINE_AA)  # fmt: skip
    elif kind == 2:
        for k in range(int(rng.integers(2, 9))):
            y = middle + np.array([0, k * reach * 0.25])
            turn = np.array([np.cos(kind), 0.2 * np.sin(3 * k)]) * reach
            cv2.line(
                mask, (y - turn).astype(int).tolist(), (y + turn).astype(int).tolist(), 255, int(rng.integers(1, 5))
            )
    elif kind == 3:
        text = "".join(rng.choice(list("AEHKMNORSTWXabdeghknorsu0123456789"), int(rng.integers(1, 7))))
        cv2.putText(mask, text, middle.astype(int).tolist(), int(rng.integers(0, 7)), rng.uniform(0.3, 1.6), 255,
            int(rng.integers(1, 4)), cv2.LINE_AA)  # fmt: skip
    elif kind == 4:
        points = middle + np.cumsum(rng.normal(0, 0.3 * reach, (7, 2)), 0)
        cv2.polylines(mask, [points.astype(np.int32)], False, 255, int(rng.integers(1, 7)), cv2.LINE_AA)
    else:
        for _ in range(int(rng.integers(3, 30))):
            at = (middle + rng.normal(0, reach, 2)).astype(int).tolist()
            cv2.ellipse(
                mask, at, (int(rng.integers(1, 7)), int(rng.integers(1, 5))), rng.uniform(0, 180), 0, 360, 255, -1
            )
    color = rng.uniform(0, 255, 3)
    if rng.random() < 0.5:
        waves = rng.normal(0, 25) * np.sin(np.linspace(0, rng.uniform(5, 60), side))
        color = np.broadcast_to((color + waves[:, None])[:, None], canvas.shape)
    _lay(canvas, color, mask, rng.uniform(0.4, 1))
    return mask


def _hand(canvas: np.ndarray, rng: np.random.Generator, _pool: Pool | None = None) -> np.ndarray:
    """An arm and fingers in a skin's colour, shaded across; returns its mask."""
    side = len(canvas)
    skin = np.array([220, 170, 140]) * rng.uniform(0.3, 1.1) * (1 + rng.normal(0, 0.08, 3))
    total = np.zeros((side, side), np.uint8)
    at, length = rng.uniform(0, side, 2), np.exp(rng.uniform(np.log(12), np.log(90)))
    turn = rng.uniform(0, 2 * np.pi)
    spread, thick = rng.uniform(0.1, 0.4), length * rng.uniform(0.1, 0.16)
    for finger in [*range(int(rng.integers(2, 6))), -1]:
        mask = np.zeros((side, side), np.uint8)
        angle = turn + (finger - 1.5) * spread if finger >= 0 else turn + np.pi
        root = at + thick * 1.3 * (finger - 1.5) * np.array([-np.sin(turn), np.cos(turn)]) * (finger >= 0)
        tip = root + length * rng.uniform(0.6, 1) * np.array([np.cos(angle), np.sin(angle)]) * (
            1 if finger >= 0 else 2.5
        )
        width = max(1, int(2 * thick if finger >= 0 else 5 * thick))
        cv2.line(mask, root.astype(int).tolist(), tip.astype(int).tolist(), 255, width, cv2.LINE_AA)
        soft = cv2.GaussianBlur(mask, (0, 0), max(0.8, width / 4)).astype(np.float32)[..., None] / 255
        _lay(canvas, skin.astype(np.float32) * (0.45 + 0.6 * soft) * np.float32(rng.uniform(0.9, 1.05)), mask)
        total = np.maximum(total, mask)
    return total


def _paste(canvas: np.ndarray, pool: Pool, rng: np.random.Generator, mouths: list[np.ndarray]) -> None:
    """Pastes a cut-out and appends its mouth (x, y, width, roll, eyes x, eyes y, shown); hides those it covers."""
    side, one = len(canvas), int(rng.integers(len(pool.rgba)))
    image, field = _bent(pool.rgba[one], rng)
    x, y, width, roll, *eyes = _moved(field, pool.mouth[one], pool.eyes[one])
    wanted = np.exp(rng.uniform(np.log(LEAST), np.log(MOST if rng.random() < 0.3 else 42)))
    scale, angle = wanted / width, rng.normal(0, 0.15) if rng.random() < 0.85 else rng.uniform(-1.2, 1.2)
    flip = -1 if rng.random() < 0.5 else 1
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    matrix = np.array([[c, -s], [s, c]]) @ np.diag(np.exp(rng.normal(0, 0.06, 2)) * (flip, 1))
    place = (rng.uniform(-0.05, 1.05, 2) if rng.random() < 0.5 else rng.normal((0.5, 0.62), 0.17)) * side
    shift = place - matrix @ (x, y)
    moved, (x0, y0, x1, y1) = _turned(image, matrix, shift, scale, side)
    _lay(canvas[y0:y1, x0:x1], _recolored(moved[..., :3], rng), moved[..., 3])
    hidden = np.zeros((side, side), np.uint8)
    hidden[y0:y1, x0:x1] = moved[..., 3]
    mouths[:] = [_hidden(mouth, hidden) for mouth in mouths]
    inside = (place > 0.15 * wanted).all() and (place < side - 0.15 * wanted).all()
    shown = pool.share[one] > 0.3 and inside
    mouths.append(np.array([*place, wanted, flip * roll + angle, *(matrix @ eyes + shift), float(shown)]))


def _turned(
    image: np.ndarray, matrix: np.ndarray, shift: np.ndarray, scale: float, side: int
) -> tuple[np.ndarray, tuple[int, int, int, int]]:  # fmt: skip
    """A cut-out moved by a matrix and a shift, and the part (x0, y0, x1, y1) of the canvas that it covers."""
    full = np.column_stack([matrix, shift])
    if scale < 0.7:
        less = max(1, round(image.shape[0] * scale * 1.4)) / image.shape[0]
        image = cv2.resize(image, None, fx=less, fy=less, interpolation=cv2.INTER_AREA)
        full = np.column_stack([matrix / less, shift])
    reach = np.abs(full[:, :2]).sum(1) * len(image) / 2
    middle = full @ (len(image) / 2, len(image) / 2, 1)
    x0, y0 = np.clip(middle - reach - 1, 0, side - 1).astype(int)
    x1, y1 = np.clip(middle + reach + 2, 1, side).astype(int)
    moved = cv2.warpAffine(image, full - [[0, 0, x0], [0, 0, y0]], (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    return moved, (x0, y0, x1, y1)


BENT = 0.03
"""How far the four by four points of a cut-out are moved, over its side."""


def _bent(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
    """A cut-out with other proportions, and where each of its pixels comes from ((S, S, 2), or None)."""
    if rng.random() < 0.3:
        return image, None
    size = len(image)
    coarse = (rng.normal(0, BENT, (4, 4, 2)) * size).astype(np.float32)
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    field = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC) + np.dstack([x, y])
    return cv2.remap(image, field, None, cv2.INTER_LINEAR), field


def _moved(field: np.ndarray | None, mouth: np.ndarray, eyes: np.ndarray) -> tuple[float, ...]:
    """Mouth (x, y, width, roll) and eyes (x, y) of a bent cut-out."""
    x, y, width, roll = mouth
    if field is None:
        return x, y, width, roll, *eyes
    half = width / 2 * np.array([np.cos(roll), np.sin(roll)])
    middle = np.array([x, y])
    points = np.array([middle - half, middle + half, middle, eyes])
    found = points.copy()
    for _ in range(4):
        at = np.clip(np.rint(found).astype(int), 0, len(field) - 1)
        found = found + points - field[at[:, 1], at[:, 0]] - (found - at)
    left, right, middle, eyes = found
    across = right - left
    return *middle, float(np.hypot(*across)), float(np.arctan2(across[1], across[0])), *eyes


def _recolored(color: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The cut-out's own light: gain, tint, side light, stronger or weaker contrast, sometimes gray."""
    height, width = color.shape[:2]
    gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.07, 3))
    color = color * np.float32(gain)
    if rng.random() < 0.5:
        turn = rng.normal(0, 0.5, 2).astype(np.float32)
        color *= np.exp(np.linspace(-1, 1, height, dtype=np.float32) * turn[0])[:, None, None]
        color *= np.exp(np.linspace(-1, 1, width, dtype=np.float32) * turn[1])[:, None]
    if rng.random() < 0.4:
        share = np.float32(rng.uniform(0, 1.5))
        color = cv2.transform(color, share * np.eye(3, dtype=np.float32) + (1 - share) / 3)
    if rng.random() < 0.4:
        grain = _GRAIN[: (height + 1) // 2, : (width + 1) // 2]
        color += rng.uniform(0, 14) * cv2.resize(grain, (width, height))[..., None]
    return color


_GRAIN = np.random.default_rng(5).normal(0, 1, (SIDE, SIDE)).astype(np.float32)


def _hidden(mouth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mouth, marked as not shown where the mask lies over its middle."""
    x, y, width = mouth[:3]
    half = max(1, int(0.35 * width))
    part = mask[max(0, int(y) - half // 2) : int(y) + half // 2 + 1, max(0, int(x) - half) : int(x) + half + 1]
    covered = part.size and (part > 127).mean() > 0.45
    return np.array([*mouth[:6], 0.0 if covered else mouth[6]])


def _lay(canvas: np.ndarray, color: np.ndarray, mask: np.ndarray, alpha: float = 1.0) -> None:
    """Blends a colour or a picture into the canvas where the mask (uint8) says."""
    x0, y0, across, down = cv2.boundingRect(mask)
    here = np.s_[y0 : y0 + down, x0 : x0 + across]
    if not across:
        return
    share = mask[here].astype(np.float32)[..., None] * np.float32(alpha / 255)
    color = np.asarray(color, np.float32)
    color = np.clip(color[here] if color.ndim == 3 else color, 0, 255)
    part = canvas[here].astype(np.float32)
    part += (color - part) * share
    canvas[here] = part.astype(np.uint8)


def _spoiled(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What cameras and codecs do."""
    side = len(canvas)
    levels = np.arange(256, dtype=np.float32)
    if rng.random() < 0.6:
        levels = 255 * (levels / 255) ** np.exp(rng.normal(0, 0.3))
        levels = (levels - 128) * rng.uniform(0.5, 1.3) + 128 + rng.uniform(-30, 30)
    x = cv2.LUT(canvas, np.clip(levels, 0, 255).astype(np.uint8))
    if rng.random() < 0.15:
        x = cv2.cvtColor(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    kind = rng.random()
    if kind < 0.4:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.3, 1.4))
    elif kind < 0.5:
        x = cv2.blur(x, (int(rng.integers(1, 7)), int(rng.integers(1, 3))))
    elif kind < 0.6:
        small = int(rng.uniform(0.4, 0.9) * side)
        x = cv2.resize(cv2.resize(x, (small, small), interpolation=cv2.INTER_AREA), (side, side))
    if rng.random() < 0.6:
        at = int(rng.integers(len(_NOISE) - x.size))
        noise = _NOISE[at : at + x.size].reshape(x.shape)
        x = np.clip(x + np.float32(rng.uniform(0, 10)) * noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        _, data = cv2.imencode(".jpg", x, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 90))])
        x = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return x


_NOISE = np.random.default_rng(6).normal(0, 1, 12 * SIDE * SIDE).astype(np.float32)


def _truth(mouths: list[np.ndarray], side: int) -> np.ndarray:
    cells = side // CELL
    truth = np.zeros((TRUTH, cells, cells), np.float32)
    truth[1] = 1
    grid = (np.arange(cells) + 0.5) * CELL
    for x, y, width, roll, ex, ey, shown in mouths:
        near = np.exp(-((grid[None] - x) ** 2 + (grid[:, None] - y) ** 2) / (2 * max(0.13 * width, 0.45 * CELL) ** 2))
        if not shown:
            # A mouth that is mostly hidden or cut off: neither answer is wrong.
            truth[1] = np.where(near > 0.1, 0, truth[1])
            continue
        truth[0] = np.maximum(truth[0], near)
        column, row = int(np.clip(x / CELL, 0, cells - 1)), int(np.clip(y / CELL, 0, cells - 1))
        truth[0, row, column] = 1
        # Neighbouring cells learn the same mouth: the peak may lie beside the true cell.
        for r in range(max(0, row - 1), min(cells, row + 2)):
            for c in range(max(0, column - 1), min(cells, column + 2)):
                values = (x / CELL - c - 0.5, y / CELL - r - 0.5, np.log(width / USUAL), roll)
                truth[2:, r, c] = (1.0, *values, (ex - x) / width, (ey - y) / width)
    return truth
