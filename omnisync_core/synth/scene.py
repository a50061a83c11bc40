"""A drawn talking scene: who, where, how the head moves, and its pictures at any time."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import cv2
import numpy as np

from .backdrops import Backdrop, random_backdrop
from .character import Character, random_character
from .eyes import eye_shapes
from .film import Film
from .heads import Look, build_look
from .mouths import MOUTH_PARAMS, jaw_weight, mouth_curves, mouth_shapes
from .occluders import Occluder, random_occluder
from .render import Placement, draw
from .shapes import HIDDEN, Shape
from .warp import PULLED_ABOVE, REACH, REST, HeadWarp, depth_at

__all__ = ["MOUTH_PARAMS", "Scene"]

_FARTHEST = 0.62  # radians; a face further round shows cheeks that are not painted


@dataclass(frozen=True, eq=False)
class Waves:
    """A sum of slow sine waves: smooth at any time, any duration."""

    amplitude: np.ndarray
    frequency: np.ndarray  # Hz
    phase: np.ndarray

    @staticmethod
    def random(rng: np.random.Generator, reach: float) -> Waves:
        """Three waves that together stay within `reach`."""
        share = rng.uniform(0.3, 1, 3) * (1, 0.6, 0.35)
        share *= reach * rng.uniform(0.35, 1) / share.sum()
        return Waves(share, rng.uniform((0.06, 0.16, 0.35), (0.16, 0.35, 0.6)), rng.uniform(0, 2 * np.pi, 3))

    def at(self, times_T: np.ndarray) -> np.ndarray:
        """Values at the times."""
        t = np.asarray(times_T, np.float64)[:, None]
        return (self.amplitude * np.sin(2 * np.pi * self.frequency * t + self.phase)).sum(1)


@dataclass(frozen=True, eq=False)
class Pose:
    """The head's movement; the mouth rests at `mouth` when all waves are 0."""

    mouth: tuple[float, float]
    scale: float  # frame widths per head unit
    tilt: float  # mean roll, radians
    turn: float  # mean yaw
    x: Waves
    y: Waves
    roll: Waves
    grow: Waves
    yaw: Waves
    pitch: Waves


@dataclass(frozen=True, eq=False)
class Blinks:
    """When the eyes close, and where they look; both from hashed keys, so that any time has an answer."""

    phase: float
    period: float

    def blink_at(self, times_T: np.ndarray) -> np.ndarray:
        """0 open .. 1 closed."""
        t = np.asarray(times_T, np.float64) / self.period + self.phase
        moment = 0.2 + 0.6 * _hash(np.floor(t) + 17 * self.phase)
        away = np.abs(t - np.floor(t) - moment) * self.period
        return np.clip(1.6 - away / 0.075, 0, 1) ** 1.5

    def gaze_at(self, times_T: np.ndarray) -> np.ndarray:
        """(T, 2) in -1..1; rests, then jumps."""
        t = np.asarray(times_T, np.float64) / (0.6 * self.period) + 2.7 * self.phase
        key = np.floor(t)
        share = np.clip((t - key) * self.period * 0.6 / 0.12, 0, 1)[:, None]
        now, before = (np.stack([_hash(k * 1.7 + 3), _hash(k * 2.3 + 11)], -1) * 2 - 1 for k in (key, key - 1))
        return 0.7 * (before + (now - before) * share * share * (3 - 2 * share))


@dataclass(frozen=True, eq=False)
class Scene:
    """One character before one background; the frame is the unit square, y down, times in seconds."""

    character: Character
    background: Backdrop
    occluder: Occluder | None
    pose: Pose
    blinks: Blinks
    film: Film = field(default_factory=Film)

    @staticmethod
    def random(seed: int, split: str, *, pose_seed: int | None = None, duration: float = 3.0) -> Scene:
        """A scene of the split ("train" or "test"); another `pose_seed` changes only movement,
        blinks and the occluder's path."""
        if split not in ("train", "test"):
            raise ValueError(f"split is {split!r}; expected 'train' or 'test'")
        key = zlib.crc32(split.encode())
        character = random_character(seed, split)
        fixed = np.random.default_rng([key, seed, 2])
        moving = np.random.default_rng([key, seed, 3, 0 if pose_seed is None else pose_seed + 1])
        background = _background(key, seed)
        pose = _random_pose(fixed, moving, character)
        blinks = Blinks(moving.uniform(0, 10), moving.uniform(1.6, 3.6))
        width = pose.scale * character.mouth.size
        occluder = None
        if fixed.random() < 0.2:
            flat = character.look in ("drawn", "flat", "anime")
            occluder = random_occluder(fixed, moving, pose.mouth, width, duration, shaded=not flat, skin=character.skin)
        film = Film.random(np.random.default_rng([key, seed, 5]), character.look)
        return Scene(character, background, occluder, pose, blinks, film)

    @property
    def mouth_width(self) -> float:
        """The resting mouth's width over the frame's."""
        return self.pose.scale * self.character.mouth.size

    def mouth_center(self, times_T: np.ndarray) -> np.ndarray:
        """(T, 2) in frame units."""
        style = self.character.mouth
        place = self._places(np.atleast_1d(times_T))["head"]
        return place.apply(np.array([[0.0, style.center_y]]), style.depth)[:, 0]

    def mouth_box(self, mouth_T5: np.ndarray, times_T: np.ndarray) -> np.ndarray:
        """(T, 4) xyxy in frame units: lips, mouth and the part of the chin that moves."""
        moments = self._exposed(np.asarray(mouth_T5), np.atleast_1d(np.asarray(times_T, np.float64)))
        boxes = np.stack([self._sharp_box(*moment) for moment in moments])
        low, high = boxes[..., :2].min(0), boxes[..., 2:].max(0)
        return np.concatenate([low - self.film.reach, high + self.film.reach], 1)

    def _sharp_box(self, mouth: np.ndarray, times: np.ndarray) -> np.ndarray:
        style = self.character.mouth
        place = self._places(times)["head"]
        drawn = mouth_shapes(style, mouth, self._look.interior, lips=not self._look.painted_lips)
        moved = [place.apply(s.points, s.depth) for s in drawn]
        hidden = [s.points[..., 0] < HIDDEN / 2 for s in drawn]
        drop = mouth_curves(style, mouth).chin_drop_T
        for shape in self._look.head + self._look.front if style.jaw > 0 else ():
            if shape.jaw:
                weight = jaw_weight(style, shape.points) > 0
                weight |= np.roll(weight, 1) | np.roll(weight, -1)
                points = self._lowered(shape, drop).points[:, weight]
                moved.append(place.apply(points, self._depth(points) if shape.warped else shape.depth))
                hidden.append(np.zeros(moved[-1].shape[:2], bool))
        if self._follows:
            y = np.linspace(style.center_y - PULLED_ABOVE * style.size, style.chin_y + drop.max(), 7)
            points = np.stack(np.meshgrid(REACH * style.size * np.linspace(-1, 1, 5), y), -1).reshape(-1, 2)
            moved.append(place.apply(points, self._depth(points)))
            hidden.append(np.zeros(moved[-1].shape[:2], bool))
        points, away = np.concatenate(moved, 1), np.concatenate(hidden, 1)[..., None]
        return np.concatenate([np.where(away, np.inf, points).min(1), np.where(away, -np.inf, points).max(1)], 1)

    def render(
        self, mouth_T5: np.ndarray, times_T: np.ndarray, *, size: int, view: np.ndarray | None = None
    ) -> np.ndarray:
        """uint8 (T, size, size, 3) RGB; `view` (T, 3) is centre x, centre y and side in frame units,
        None the whole frame."""
        times = np.atleast_1d(np.asarray(times_T, np.float64))
        mouth = np.asarray(mouth_T5)
        if mouth.shape != (len(times), 5):
            raise ValueError(f"mouth has shape {mouth.shape}; expected ({len(times)}, 5)")
        view = np.broadcast_to((0.5, 0.5, 1.0) if view is None else np.asarray(view, np.float64), (len(times), 3))
        if self.film.cells:
            coarse, cells = self.film.grid(view)
            return self.film.enlarge(self._developed(mouth, times, coarse, cells), coarse, view, size)
        frames = self._developed(mouth, times, view, size)
        if not self.film.spreads:
            return frames
        still = self._developed(np.repeat(REST, len(times), 0), times, view, size)
        frames, still = (self.film.printed(some, view) for some in (frames, still))
        box = (self.mouth_box(mouth, times) - np.tile(view[:, :2] - view[:, 2:] / 2, 2)) / view[:, 2:] * size
        for t, (x0, y0, x1, y1) in enumerate(np.clip(box + np.array((-1, -1, 1, 1)), 0, size).astype(int)):
            still[t, y0:y1, x0:x1] = frames[t, y0:y1, x0:x1]
        return still

    def _developed(self, mouth: np.ndarray, times: np.ndarray, view: np.ndarray, size: int) -> np.ndarray:
        """Frames before what spreads over their neighbourhood: that is done with a closed mouth beyond the box."""
        seen = [self._drawn(*moment, view, size) for moment in self._exposed(mouth, times)]
        frames = (
            seen[0]
            if len(seen) == 1
            else np.stack([cv2.addWeighted(a, 0.5, b, 0.5, 0) for a, b in zip(*seen, strict=True)])
        )
        return self.film.develop(frames, times, view)

    def _drawn(self, mouth: np.ndarray, times: np.ndarray, view: np.ndarray, size: int) -> np.ndarray:
        warp = HeadWarp(self.character, mouth) if self._follows else None
        return draw(self._shapes(mouth, times, warp), self._places(times), warp, self.background, view, size)

    def _exposed(self, mouth: np.ndarray, times: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """The moments that the open shutter sees: mouths and times, early and late."""
        if not self.film.shutter or len(times) < 2:
            return [(mouth, times)]
        part = 0.25 * self.film.shutter
        moved, passed = part * np.gradient(mouth, axis=0), part * np.gradient(times)
        return [(np.maximum(mouth + sign * moved, 0), times + sign * passed) for sign in (-1, 1)]

    def _shapes(self, mouth: np.ndarray, times: np.ndarray, warp: HeadWarp | None) -> list[Shape]:
        look, style = self._look, self.character.mouth
        drop = mouth_curves(style, mouth).chin_drop_T
        blink, gaze = self.blinks.blink_at(times), self.blinks.gaze_at(times)
        shapes = [m.at(times) for m in self.background.movers] + look.back
        for shape in look.head:
            if shape.warped:
                shape = replace(shape, points=warp.seam(), depth=style.depth)
            shapes.append(self._lowered(shape, drop) if shape.jaw and not shape.warped else shape)
        for eye in look.eyes:
            shapes += eye_shapes(eye, blink, gaze)
        shapes += look.middle + mouth_shapes(style, mouth, look.interior, lips=not look.painted_lips)
        shapes += [self._lowered(s, drop) if s.jaw else s for s in look.front]
        return shapes + list(self.occluder.parts if self.occluder else ())

    def _lowered(self, shape: Shape, drop_T: np.ndarray) -> Shape:
        weight = jaw_weight(self.character.mouth, shape.points)
        points = np.repeat(shape.points[None], len(drop_T), 0)
        points[..., 1] += drop_T[:, None] * weight
        return replace(shape, points=points, jaw=False)

    @property
    def _follows(self) -> bool:
        return self._look.painted_lips

    def _depth(self, points: np.ndarray) -> np.ndarray:
        return depth_at(self.character, points[..., 0], points[..., 1])[..., None]

    @cached_property
    def _look(self) -> Look:
        return build_look(self.character)

    def _places(self, times: np.ndarray) -> dict[str, Placement]:
        p, t = self.pose, np.asarray(times, np.float64)
        yaw, pitch, scale = (
            _FARTHEST * np.tanh((p.turn + p.yaw.at(t)) / _FARTHEST),
            p.pitch.at(t),
            p.scale * (1 + p.grow.at(t)),
        )
        roll = p.tilt + p.roll.at(t)
        cos, sin = np.cos(roll), np.sin(roll)
        turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1) * scale[:, None, None]
        squeeze = np.stack([np.cos(yaw), np.cos(pitch)], -1)
        matrix = turn * squeeze[:, None]
        shift = np.einsum("tij,tj->ti", turn, np.stack([np.sin(yaw), np.sin(pitch)], -1))
        style = self.character.mouth
        aside = np.array([[np.cos(p.tilt), -np.sin(p.tilt)], [np.sin(p.tilt), np.cos(p.tilt)]]) * p.scale
        rest = np.array(p.mouth) - aside @ (
            style.depth * np.sin(_FARTHEST * np.tanh(p.turn / _FARTHEST)),
            style.center_y,
        )
        origin = rest + np.stack([p.x.at(t), p.y.at(t)], -1)
        low = np.array([0.0, 0.75])  # the body follows the neck
        neck = np.matmul(matrix, low) + origin
        plain = np.eye(2) * (p.scale * (1 + 0.5 * p.grow.at(t)))[:, None, None]
        body = Placement(plain, 0 * shift, 0.75 * neck + 0.25 * (rest + p.scale * low) - np.matmul(plain, low))
        places = {"head": Placement(matrix, shift, origin), "body": body}
        return places | ({"occluder": self.occluder.place(t)} if self.occluder else {})


@lru_cache(maxsize=2)
def _background(key: int, seed: int) -> Backdrop:
    """Kept while a character's clips are drawn."""
    return random_backdrop(np.random.default_rng([key, seed, 6]))


def _random_pose(fixed: np.random.Generator, moving: np.random.Generator, character: Character) -> Pose:
    size = character.mouth.size
    width = np.exp(fixed.uniform(np.log(0.15), np.log(min(0.27, 0.36 * size))))
    scale = width / size
    room = 0.06 + (character.head_top * 1.2 + character.mouth.center_y) * scale
    y = float(np.clip(room + fixed.uniform(-0.03, 0.1), 0.5, 0.75))
    x = fixed.uniform(0.35, 0.65) if scale < 0.26 else fixed.uniform(0.42, 0.58)
    reach = np.deg2rad(moving.uniform(2, 9))
    turn = moving.choice((-1, 1)) * moving.uniform(0.3, 0.9) if moving.random() < 0.25 else 0.0
    return Pose(
        mouth=(float(x + moving.uniform(-0.02, 0.02)), float(np.clip(y + moving.uniform(-0.02, 0.02), 0.5, 0.75))),
        scale=float(scale),
        tilt=float(np.deg2rad(moving.uniform(-3, 3))),
        turn=float(turn),
        x=Waves.random(moving, 0.035),
        y=Waves.random(moving, 0.025),
        roll=Waves.random(moving, reach),
        grow=Waves.random(moving, 0.05),
        yaw=Waves.random(moving, 0.3),
        pitch=Waves.random(moving, 0.16),
    )


def _hash(key: np.ndarray) -> np.ndarray:
    value = np.sin(key * 12.9898 + 4.1414) * 43758.5453
    return value - np.floor(value)
