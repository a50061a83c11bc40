"""The pool that the mouth finder's collages are made of: heads, things that pass before them, backdrops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from ..synth.backdrops import BACKDROP_SIZE, Backdrop, random_backdrop
from ..synth.character import _SKINS, random_character
from ..synth.film import Film
from ..synth.occluders import random_occluder
from ..synth.relief import tiles
from ..synth.scene import Scene
from ..synth.shapes import rgb
from ..synth.solids import Cutout, solid_heads

PHOTOGRAPHIC = 0.6
"""Share of the drawn heads that are photographic people."""
THING = 128
"""Side of the pictures of things."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Heads (K, S, S, 4) with their mouths (K, 4), eyes (K, 2) and shares (K,); things (T, THING, THING, 4); backdrops
    (B, BACKDROP_SIZE, BACKDROP_SIZE, 3); textures (X, H, W), float of mean 0 and deviation 1."""

    rgba: np.ndarray
    mouth: np.ndarray
    eyes: np.ndarray
    share: np.ndarray
    things: np.ndarray
    backdrops: np.ndarray
    textures: np.ndarray


def draw_pool(heads: int, seed: int, split: str = "train", solids: float = 0.6) -> Pool:
    """`heads` drawn characters of the families of `split`, `solids` times as many solids, and what surrounds them."""
    rng = np.random.default_rng([seed, 11])
    cutouts: list[Cutout] = []
    for number in range(round(heads * solids / 3)):
        cutouts += solid_heads(np.random.default_rng([seed, number]), 3)
    cutouts += [drawn_head(number, rng, split) for number in _characters(heads, seed, split, rng)]
    backdrops = np.stack([random_backdrop(rng).picture[..., :3] for _ in range(max(8, heads // 6))])
    return Pool(
        np.stack([one.rgba_HW4 for one in cutouts]), np.array([one.mouth for one in cutouts], np.float32),
        np.array([one.eyes for one in cutouts], np.float32), np.array([one.share for one in cutouts], np.float32),
        np.stack([_thing(rng) for _ in range(max(8, heads // 10))]), backdrops,
        np.stack([tile[:512, :512] for tile in tiles().values()]).astype(np.float32),
    )  # fmt: skip


def save_pool(path: Path, pool: Pool) -> None:
    np.savez(path, **vars(pool))


def load_pool(path: Path) -> Pool:
    with np.load(path) as data:
        return Pool(**{name: data[name] for name in data.files})


def _characters(count: int, seed: int, split: str, rng: np.random.Generator) -> list[int]:
    """Seeds of as many photographic people as PHOTOGRAPHIC says, the rest of any kind."""
    kept: list[int] = []
    number = 10**7 + seed * 10**5
    while len(kept) < count:
        wanted = len(kept) < round(PHOTOGRAPHIC * count)
        if not wanted or random_character(number, split).look == "photo":
            kept.append(number)
        number += 1
    return kept


def drawn_head(seed: int, rng: np.random.Generator, split: str = "train", size: int = 208) -> Cutout:
    """A drawn character at a random moment; its mask is what a black and a white backdrop agree on."""
    scene = Scene.random(seed, split)
    at = np.array([rng.uniform(0, 3)])
    mouth = np.clip([[rng.choice([0, rng.random()]), *rng.random(4)]], 0, 1)
    view = np.array([[0.5, 0.58, 1.16]])
    turned = rng.normal(0, 0.6) if rng.random() < 0.5 else scene.pose.turn
    scene = replace(scene, occluder=None, film=Film(), pose=replace(scene.pose, turn=float(turned)))
    black, white = (
        replace(scene, background=Backdrop(np.full((BACKDROP_SIZE, BACKDROP_SIZE, 4), level, np.uint8), ()))
        .render(mouth, at, size=size, view=view)[0].astype(np.float32)
        for level in (0, 255)
    )  # fmt: skip
    mask = np.clip(255 - (white - black).mean(-1), 0, 255)
    color = np.clip(black * 255 / np.maximum(mask, 1)[..., None], 0, 255)
    place = scene._places(at)["head"]
    style = scene.character.mouth
    points = np.array([[0, style.center_y], [0, scene.character.eye_y]], np.float64)
    center, eyes = ((place.apply(points, style.depth)[0] - view[0, :2]) / view[0, 2] + 0.5) * size
    roll = float(scene.pose.tilt + scene.pose.roll.at(at)[0])
    width = float(scene.mouth_width * (1 + scene.pose.grow.at(at)[0]) / view[0, 2] * size)
    return Cutout(np.dstack([color, mask]).astype(np.uint8), (*center.tolist(), width, roll), tuple(eyes.tolist()), 1.0)


def _thing(rng: np.random.Generator) -> np.ndarray:
    """A hand, a cup, a microphone ...: (THING, THING, 4)."""
    skin = rgb(rng.choice(_SKINS.split()))
    parts = random_occluder(rng, rng, (0.5, 0.5), 0.2, 3.0, shaded=True, skin=skin).parts
    painted = max((one.fill.pixels for one in parts if hasattr(one.fill, "pixels")), key=np.size)
    less = THING / max(painted.shape[:2])
    small = cv2.resize(painted, None, fx=less, fy=less, interpolation=cv2.INTER_AREA)[:THING, :THING]
    return np.pad(small, ((0, THING - small.shape[0]), (0, THING - small.shape[1]), (0, 0)))
