"""Heads as lit solids: what flat drawings lack (shading, profile, soft lips, beards), for training the mouth finder.

A head is an ellipsoid with bumps (nose, brows, lips, chin), coloured by where things lie on a face, turned freely and
lit from a random side. Nobody in particular: every measure is drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from .character import _HAIRS, _SKINS
from .shapes import rgb

AROUND, DOWN = 420, 240
"""Samples of the surface: the whole turn, and from the top to the chin."""


@dataclass(frozen=True, eq=False)
class Cutout:
    """A picture with its mask, and the mouth in it; pixels."""

    rgba_HW4: np.ndarray
    """uint8; colours are not multiplied by the mask."""
    mouth: tuple[float, float, float, float]
    """x, y, width, roll (radians, clockwise). The width is that of a face seen from the front, however it is turned."""
    eyes: tuple[float, float]
    """The middle between the eyes, x and y."""
    share: float
    """How much of the mouth faces the viewer, 0..1."""


def solid_heads(rng: np.random.Generator, views: int = 1, size: int = 208) -> list[Cutout]:
    """One random head, seen `views` times: turned and lit anew in each size x size picture."""
    face = _Face(rng)
    surface = face.surface()
    return [_view(rng, face, surface, size) for _ in range(views)]


def _view(
    rng: np.random.Generator, face: _Face, surface: tuple[np.ndarray, np.ndarray, np.ndarray], size: int
) -> Cutout:
    points, colors, normals = surface
    yaw = float(rng.choice([rng.normal(0, 0.35), rng.uniform(-1.5, 1.5)], p=[0.6, 0.4]))
    turn = _turn(yaw, float(np.clip(rng.normal(-0.05, 0.22), -0.6, 0.5)), float(rng.normal(0, 0.12)))
    seen, facing = points @ turn.T, normals @ turn.T
    radius, middle = 0.36 * size, np.array([size / 2, size * 0.44])
    image = _splat(seen, facing, _lit(rng, colors, facing), radius, middle, size)
    image = _behind(rng, face, image, turn, radius, middle)
    x, y, share = face.shown_mouth(seen, facing)
    eyes = face.middle_of_eyes() @ turn.T
    roll = float(np.arctan2(-turn[0, 1], turn[1, 1]))
    at, up = np.array([x, y]) * radius + middle, eyes[:2] * radius + middle
    return Cutout(image, (float(at[0]), float(at[1]), face.width * radius, roll), (float(up[0]), float(up[1])), share)


class _Face:
    """One head's measures; x right, y down, z to the viewer; the head's half height is 1."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.wide, self.deep = rng.uniform(0.68, 0.82), rng.uniform(0.82, 0.98)
        self.skin = np.array(rgb(rng.choice(_SKINS.split())), np.float32) * rng.uniform(0.8, 1.05)
        self.hair = np.array(rgb(rng.choice(_HAIRS.split())), np.float32)
        self.eyes = rng.uniform(-0.12, 0.02)
        self.mouth = rng.uniform(0.5, 0.6)
        self.half = rng.uniform(0.29, 0.4)
        """Half of the mouth's width, in half widths of the head."""
        self.open = float(rng.choice([0.0, rng.uniform(0.02, 0.1), rng.uniform(0.1, 0.26)], p=[0.35, 0.25, 0.4]))
        self.smile = rng.normal(0.02, 0.04)
        self.lips = rng.uniform(0.035, 0.085)
        self.teeth = rng.random() < 0.6
        self.beard = float(rng.choice([0, rng.uniform(0.15, 0.5), rng.uniform(0.6, 0.95)], p=[0.6, 0.2, 0.2]))
        self.moustache = self.beard * (rng.random() < 0.8) + (rng.random() < 0.05) * 0.8
        self.bald = rng.random() < 0.15
        self.long = rng.random() < 0.4 and not self.bald
        self.glasses = rng.random() < 0.2
        self.line = rng.uniform(-0.72, -0.42)
        turn = np.linspace(-np.pi, np.pi, AROUND, endpoint=False, dtype=np.float32)
        tilt = np.linspace(-0.5 * np.pi, 0.5 * np.pi, DOWN, dtype=np.float32)
        self.u, self.v = np.meshgrid(np.sin(turn), np.sin(tilt))
        self.round = np.cos(tilt)[:, None]
        self.u = self.u * self.round / np.maximum(self.round, 0.55)
        self.front = np.cos(turn)[None] * np.ones_like(self.v) > 0
        self.turn = turn

    def surface(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points, colours and outward normals, (DOWN, AROUND, 3) each."""
        x = np.sin(self.turn)[None] * self.round
        z = np.cos(self.turn)[None] * self.round
        narrow = 1 - 0.3 * np.clip(self.v - 0.1, 0, 1) ** 1.5
        out = 1 + self._bumps()
        points = np.stack([x * self.wide * narrow * out, self.v * (1 + 0.06 * self.open), z * self.deep * out], -1)
        down, right = np.gradient(points, axis=0), np.gradient(points, axis=1)
        normals = np.cross(right, down)
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-9
        normals *= np.sign((normals * points).sum(-1, keepdims=True) + 1e-9)
        return points.astype(np.float32), self._colors(), normals.astype(np.float32)

    @property
    def width(self) -> float:
        """Of the mouth, over the head's half height."""
        around = np.sqrt(1 - self.mouth**2) * (1 - 0.3 * max(0.0, self.mouth - 0.1) ** 1.5)
        return 2 * self.half * self.wide * around

    def shown_mouth(self, points: np.ndarray, normals: np.ndarray) -> tuple[float, float, float]:
        """Middle x, y of the part of the mouth that is seen, and how much that is (0..1)."""
        row = int(np.abs(self.v[:, 0] - self.mouth - 0.3 * self.open).argmin())
        here = (np.abs(self.u[row]) < self.half) & self.front[row]
        weight = np.clip(normals[row, here, 2], 0, None)
        weight = weight * (weight > 0.12)
        if weight.sum() < 1e-3:
            return 0.0, 0.0, 0.0
        middle = (points[row, here] * (weight > 0)[:, None]).sum(0) / (weight > 0).sum()
        return float(middle[0]), float(middle[1]), float((weight > 0).mean())

    def middle_of_eyes(self) -> np.ndarray:
        return np.array([0.0, self.eyes, self.deep])

    def _spot(self, x: float, y: float, across: float, along: float) -> np.ndarray:
        spot = np.exp(-(((self.u - x) / across) ** 2) - ((self.v - y) / along) ** 2)
        if x:
            spot = spot + np.exp(-(((self.u + x) / across) ** 2) - ((self.v - y) / along) ** 2)
        return spot * self.front

    def _bumps(self) -> np.ndarray:
        rng, eyes, mouth = self.rng, self.eyes, self.mouth
        tip = eyes + rng.uniform(0.28, 0.36)
        ridge = np.clip((self.v - eyes + 0.1) / (tip - eyes + 0.1), 0, 1)
        nose = np.where(self.v < tip, ridge, np.exp(-(((self.v - tip) / 0.06) ** 2)))
        nose = nose * np.exp(-((self.u / (0.07 + 0.09 * ridge)) ** 2)) * rng.uniform(0.16, 0.3)
        bumps = nose + rng.uniform(0.03, 0.07) * self._spot(0, eyes - 0.17, 0.5, 0.08)
        bumps -= rng.uniform(0.04, 0.09) * self._spot(0.38, eyes, 0.2, 0.1)
        bumps += rng.uniform(0, 0.06) * self._spot(0.5, eyes + 0.3, 0.2, 0.15)
        bumps += rng.uniform(0.03, 0.08) * self._spot(0, mouth, 0.3, 0.13)
        bumps -= 0.04 * self._spot(0, mouth + 0.17 + self.open, 0.2, 0.05)
        bumps += rng.uniform(0.04, 0.1) * self._spot(0, 0.9, 0.25, 0.14)
        if not self.bald:
            bumps = bumps + self._hair() * rng.uniform(0.03, 0.14)
        return bumps * self.front + (0 if self.bald else 0.06) * ~self.front

    def _hair(self) -> np.ndarray:
        """0..1: where hair grows on the skull."""
        edge = self.line + 0.35 * np.abs(self.u) ** 3 + 0.04 * np.sin(9 * self.u + 3 * self.half)
        side = np.where(self.front, np.clip((np.abs(self.u) - 0.93) * 14, 0, 1) * (self.v < self.mouth * 0.5), 1.0)
        back = (~self.front) * np.clip((0.75 - self.v) * 8, 0, 1)
        return np.clip(np.maximum(np.clip((edge - self.v) * 14, 0, 1), np.where(self.front, side, back)), 0, 1)

    def _colors(self) -> np.ndarray:
        rng, v, front = self.rng, self.v, self.front
        color = np.broadcast_to(self.skin, (*v.shape, 3)).copy()
        blotch = cv2.resize(
            rng.normal(0, 1, (18, 30)).astype(np.float32), (AROUND, DOWN), interpolation=cv2.INTER_CUBIC
        )
        color *= 1 + 0.04 * blotch[..., None]
        _mix(
            color, (190, 70, 70), 0.25 * rng.random() * (self._spot(0.5, 0.3, 0.25, 0.2) + self._spot(0, 0.3, 0.1, 0.1))
        )
        _mix(color, self.skin * 0.35, 0.75 * self._spot(0.1, self.eyes + 0.38, 0.045, 0.025))
        streak = rng.normal(0, 1, (DOWN // 2, AROUND // 2)).astype(np.float32)
        streak = cv2.resize(cv2.GaussianBlur(streak, (0, 0), sigmaX=0.8, sigmaY=3), (AROUND, DOWN)) * 0.35
        hair = self.hair * np.clip(1 + streak, 0.5, 1.6)[..., None]
        if self.beard or self.moustache:
            self._grow_beard(color, hair)
        self._eyes(color)
        if not self.bald:
            _mix(color, hair, self._hair())
        self._mouth(color)
        return np.where(front[..., None] | (self._hair()[..., None] > 0.5), color, color * 0.95)

    def _grow_beard(self, color: np.ndarray, hair: np.ndarray) -> None:
        u, v = self.u, self.v
        below = np.clip((v - self.mouth + 0.28 - 0.75 * np.clip(np.abs(u) - 0.35, 0, 1)) * 9, 0, 1)
        rough = np.clip(self.rng.normal(1, 0.25, v.shape), 0, 1.4)
        beard = below * np.clip((v - self.mouth - 0.02) * 10 + 8 * np.clip(np.abs(u) - 0.4, 0, 1), 0, 1)
        lip = np.exp(-((u / (self.half * 1.1)) ** 4)) * np.exp(-(((v - self.mouth + 0.11) / 0.06) ** 2))
        _mix(color, hair, (self.beard * beard * self.front * rough).clip(0, 1))
        _mix(color, hair, (self.moustache * lip * self.front * rough).clip(0, 1))

    def _eyes(self, color: np.ndarray) -> None:
        rng, u, v, front = self.rng, self.u, self.v, self.front
        at, wide, tall = rng.uniform(0.36, 0.43), rng.uniform(0.13, 0.17), rng.uniform(0.0, 0.075)
        gaze = rng.uniform(-0.04, 0.04)
        for side in (-1, 1):
            x, y = u - side * at, v - self.eyes
            lid = np.clip(1 - (x / wide) ** 2, 0, 1)
            _mix(color, self.skin * 0.6, 0.6 * np.exp(-((x / wide) ** 4) - ((y + 0.02) / 0.1) ** 2) * front)
            if tall > 0.015:
                inside = (np.abs(y) < tall * lid) & front
                color[inside] = np.array((225, 220, 215), np.float32) * rng.uniform(0.7, 1)
                iris = inside & ((x - gaze) ** 2 + y**2 < (0.06) ** 2)
                color[iris] = np.array((60, 50, 45), np.float32) * rng.uniform(0.4, 1.6)
                color[inside & ((x - gaze) ** 2 + y**2 < 0.028**2)] = 12
            _mix(color, (30, 20, 18), (0.8 * np.exp(-(((y + tall * lid) / 0.014) ** 2)) * (lid > 0) * front))
            brow = np.exp(-(((y + 0.17 + 0.1 * x * x - 0.02 * side * x) / 0.03) ** 2)) * (np.abs(x) < 0.2) * front
            _mix(color, self.hair * 0.8, brow * rng.uniform(0.4, 0.95))
            if self.glasses:
                ring = np.abs(np.hypot(x / 1.25, y - 0.02) - 0.19) < 0.02
                color[ring & front] = np.array((25, 22, 22), np.float32) + 60 * (self.half > 0.36)
        if self.glasses:
            color[(np.abs(u) < 0.18) & (np.abs(v - self.eyes + 0.02) < 0.015) & front] = 30

    def _mouth(self, color: np.ndarray) -> None:
        rng = self.rng
        s = self.u / self.half
        inside = np.clip(1 - s * s, 0, 1) * self.front
        middle = self.mouth - self.smile * (s * s) * 1.2
        upper, lower = middle - 0.25 * self.open * inside, middle + 0.9 * self.open * inside
        bow = self.lips * (0.85 * inside**0.7 - 0.25 * np.exp(-((s / 0.16) ** 2)))
        top, bottom = upper - bow, lower + 1.25 * self.lips * inside**0.7
        red = np.array((rng.uniform(150, 200), rng.uniform(60, 105), rng.uniform(70, 105)), np.float32)
        lip = self.skin * (1 - (share := rng.uniform(0.15, 0.7))) + red * share * self.skin.mean() / 150
        soft = 60.0
        on = np.clip((self.v - top) * soft, 0, 1) * np.clip((bottom - self.v) * soft, 0, 1) * (inside > 0)
        _mix(color, lip * np.where(self.v < middle, 0.88, 1.04)[..., None], on * rng.uniform(0.5, 1))
        _mix(
            color,
            lip * 0.35,
            0.9 * np.exp(-(((self.v - (upper + lower) / 2) / 0.012) ** 2)) * (np.abs(s) < 1.02) * self.front,
        )
        if self.open > 0:
            gap = (self.v > upper) & (self.v < lower) & (inside > 0)
            color[gap] = np.array((55, 18, 20), np.float32) * rng.uniform(0.4, 1.3)
            if self.teeth:
                tooth = gap & (self.v < upper + min(0.075, 0.7 * self.open) * inside) & (np.abs(s) < 0.8)
                color[tooth] = np.array((225, 215, 200), np.float32) * rng.uniform(0.65, 1.05)
            tongue = gap & (self.v > lower - 0.35 * self.open * inside) & (np.abs(s) < 0.6)
            color[tongue] = np.array((170, 80, 85), np.float32) * rng.uniform(0.5, 1.1)
        _mix(
            color,
            self.skin * 0.55,
            0.5 * np.exp(-(((self.v - bottom - 0.05) / 0.03) ** 2)) * np.exp(-((s / 0.6) ** 2)) * self.front,
        )


def _mix(color: np.ndarray, other: ArrayLike, share: np.ndarray) -> None:
    color += (np.asarray(other, np.float32) - color) * np.clip(share, 0, 1)[..., None].astype(np.float32)


def _turn(yaw: float, pitch: float, roll: float) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    c, s = np.cos(pitch), np.sin(pitch)
    turn = np.array([[1, 0, 0], [0, c, s], [0, -s, c]]) @ turn
    c, s = np.cos(roll), np.sin(roll)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ turn


def _lit(rng: np.random.Generator, colors: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Colours under a main light, a sky and a little shine."""
    light = rng.normal(0, 1, 3) * (1, 0.7, 0.5) + (0, -0.5, 0.9)
    light /= np.linalg.norm(light)
    facing = normals @ light
    soft = rng.uniform(0, 0.5)
    lambert = np.clip((facing + soft) / (1 + soft), 0, 1)
    sky = 0.5 - 0.5 * normals[..., 1]
    ambient = rng.uniform(0.25, 0.8)
    tone, fill = 1 + rng.normal(0, 0.06, 3), 1 + rng.normal(0, 0.08, 3)
    shade = (1 - ambient) * 1.35 * lambert[..., None] * tone + ambient * (0.55 + 0.45 * sky)[..., None] * fill
    shine = rng.uniform(0, 70) * np.clip(facing, 0, 1)[..., None] ** rng.uniform(8, 30)
    return np.clip(colors * shade + shine, 0, 255)


def _splat(
    points: np.ndarray, normals: np.ndarray, colors: np.ndarray, radius: float, middle: np.ndarray, size: int
) -> np.ndarray:
    """The visible surface as an RGBA picture: far points first, near ones over them."""
    shown = normals[..., 2] > -0.05
    p, c = points[shown], colors[shown]
    order = np.argsort(p[:, 2], kind="stable")
    at = np.rint(p[order, :2] * radius + middle - 0.5).astype(int)
    inside = ((at >= 0) & (at < size)).all(1)
    at, c = at[inside], c[order][inside]
    image = np.zeros((size, size, 4), np.float32)
    image[at[:, 1], at[:, 0]] = np.column_stack([c, np.full(len(c), 255.0)])
    holes = image[..., 3] == 0
    filled = cv2.morphologyEx(image[..., 3], cv2.MORPH_CLOSE, np.ones((5, 5)))
    blurred = cv2.GaussianBlur(image, (0, 0), 1.2)
    near = blurred[..., :3] * 255 / np.maximum(blurred[..., 3:], 1)
    image[..., :3] = np.where(holes[..., None], near, image[..., :3])
    image[..., 3] = filled
    return cv2.GaussianBlur(image, (0, 0), 0.6).astype(np.uint8)


def _behind(
    rng: np.random.Generator, face: _Face, image: np.ndarray, turn: np.ndarray, radius: float, middle: np.ndarray
) -> np.ndarray:
    """Neck, shoulders and long hair behind the head."""
    size = len(image)
    back = np.zeros_like(image)
    neck = (middle + radius * np.array([turn[0, 1] * 0.8, 1.15])).astype(int)
    cloth = [int(v) for v in rng.integers(10, 245, 3)]
    if face.long:
        reach = (int(radius * rng.uniform(0.8, 1.0)), int(radius * rng.uniform(1.1, 1.6)))
        shift = int(-0.25 * turn[0, 2] * radius)
        cv2.ellipse(back, (int(middle[0]) + shift, int(middle[1] + 0.25 * radius)), reach, 0, 0, 360,
            (*[int(v) for v in face.hair * 0.8], 255), -1, cv2.LINE_AA)  # fmt: skip
    dark = [int(v) for v in face.skin * rng.uniform(0.55, 0.85)]
    half = int(radius * rng.uniform(0.34, 0.45))
    cv2.rectangle(back, (neck[0] - half, neck[1] - int(0.5 * radius)), (neck[0] + half, size), (*dark, 255), -1)
    top = int(middle[1] + radius * rng.uniform(1.15, 1.35))
    cv2.ellipse(back, (int(neck[0]), top + int(radius)), (int(radius * rng.uniform(1.4, 2)), int(radius)), 0, 180, 360,
        (*cloth, 255), -1, cv2.LINE_AA)  # fmt: skip
    cv2.rectangle(
        back,
        (int(neck[0] - 1.3 * radius), top + int(0.9 * radius)),
        (int(neck[0] + 1.3 * radius), size),
        (*cloth, 255),
        -1,
    )
    if rng.random() < 0.5:
        cv2.ellipse(back, (int(neck[0]), top), (half, int(0.4 * half)), 0, 0, 360, (*dark, 255), -1, cv2.LINE_AA)
    share = image[..., 3:].astype(np.float32) / 255
    color = image[..., :3] * share + back[..., :3] * (1 - share)
    mask = np.maximum(image[..., 3], back[..., 3])
    return np.dstack([color.astype(np.uint8), mask])
