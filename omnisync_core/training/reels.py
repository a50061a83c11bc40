"""Training clips: drawn characters, cropped around the mouth as at inference, in shards that are written once.

A reel is one character: `POSE_A` clips of one pose that differ only in what is said (pseudo-pairs), then one clip of
another pose (arbitrary pairs). Shapes: frames_RKTHWC (reels, clips, frames), mouth_RKT3 (x, y, width over the crop's
side).
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import replacing
from ..spec import VideoSpec
from ..synth.archive import opened
from ..synth.scene import Scene
from ..synth.speech import AMPLITUDE, load_corpus

POSE_A = 3
CLIPS = POSE_A + 1
STYLES = tuple(AMPLITUDE)
SHARD_REELS = 100


@dataclass(frozen=True)
class ReelOptions:
    corpus: str
    out: str
    split: str = "train"
    seed: int = 0
    crop_size: int = 96
    frames: int = 17
    clips: int = CLIPS
    """`POSE_A` leaves the arbitrary pair out."""
    side_jitter: float = 0.3
    """Spread of log(side of the crop over its nominal side): a user's guess of the mouth's width is rough."""
    center_jitter: float = 0.08
    """Spread of the crop's centre, in sides."""


def write_reels(options: ReelOptions, count: int, workers: int) -> list[Path]:
    """Write (or find) the shards that hold `count` reels. InputError: those found were drawn otherwise."""
    Path(options.out).mkdir(parents=True, exist_ok=True)
    shards = [Path(options.out) / f"reels_{index:04d}.npz" for index in range(-(-count // SHARD_REELS))]
    missing = [index for index, path in enumerate(shards) if not path.exists()]
    for path in shards:
        if path.exists() and (drawn := _drawn_as(path)) != (asked := _described(options)):
            raise InputError(f"{path} was drawn as {drawn}, not as {asked}: choose another `out`")
    with ProcessPoolExecutor(workers) as pool:
        for _ in pool.map(_write_shard, [options] * len(missing), missing):
            pass
    return shards


def _described(options: ReelOptions) -> dict:
    """What decides how a reel looks; a folder may move."""
    return {name: value for name, value in asdict(options).items() if name not in ("corpus", "out")}


def _drawn_as(shard: Path) -> dict:
    with opened(shard) as data:
        return _described(ReelOptions(**json.loads(str(data["options"]))))


def _write_shard(options: ReelOptions, index: int) -> None:
    corpus = _corpus(options.corpus)
    reels = [draw_reel(options, corpus, index * SHARD_REELS + k) for k in range(SHARD_REELS)]
    arrays = {key: np.stack([reel[key] for reel in reels]) for key in reels[0]}
    path = Path(options.out) / f"reels_{index:04d}.npz"
    with replacing(path) as part, open(part, "wb") as file:
        np.savez(file, options=np.array(json.dumps(asdict(options))), **arrays)


_CORPORA: dict[str, list] = {}


def _corpus(path: str) -> list:
    if path not in _CORPORA:
        _CORPORA[path] = load_corpus(path)
    return _CORPORA[path]


def draw_reel(options: ReelOptions, corpus: list, index: int) -> dict[str, np.ndarray]:
    """One character's clips with what each says: utterance, start in it (s), style; fps and mouth positions."""
    rng = np.random.default_rng([options.seed, index, 77])
    fps = float(rng.choice([24.0, 25.0, 25.0, 30000 / 1001, 30.0, rng.uniform(24, 30)]))
    times_T = np.arange(options.frames) / fps
    reel: dict[str, Any] = {"fps": np.float64(fps), "scene": np.int64(index)}
    clips: dict[str, list] = {"frames": [], "mouth": [], "utterance": [], "start": [], "style": [], "params": []}
    views = {}
    for clip in range(options.clips):
        pose = int(clip >= POSE_A)
        scene = Scene.random(_scene_seed(options, index), options.split, pose_seed=1000 * index + pose, duration=3.0)
        if pose not in views:
            views[pose] = _view(options, scene, rng, float(rng.uniform(0, 2)), times_T)
        at_T, view_T3 = views[pose]
        said = int(rng.integers(len(corpus)))
        style = int(rng.choice(len(STYLES), p=[0.25, 0.5, 0.25]))
        start = float(rng.uniform(-0.3, corpus[said].duration - 0.4))
        mouth_T5 = corpus[said].mouth_at(start + times_T, AMPLITUDE[STYLES[style]])
        clips["frames"].append(scene.render(mouth_T5, at_T, size=options.crop_size, view=view_T3))
        clips["mouth"].append(_mouth(scene, at_T, view_T3))
        clips["utterance"].append(said)
        clips["start"].append(start)
        clips["style"].append(style)
        clips["params"].append(mouth_T5)
    return reel | {key: np.stack(value) for key, value in clips.items()}


def _scene_seed(options: ReelOptions, index: int) -> int:
    return options.seed * 1_000_000 + index


def _view(
    options: ReelOptions, scene: Scene, rng: np.random.Generator, start: float, times_T: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Scene times and crop views (T, 3): centre x, y and side; the centre follows the head's slow movement."""
    at_T = start + times_T
    center_T2 = scene.mouth_center(at_T)
    steady = center_T2.mean(0) + (1 - rng.uniform(0, 1)) * (center_T2 - center_T2.mean(0))
    side = VideoSpec().crop_scale * scene.mouth_width * np.exp(rng.uniform(-1, 1) * options.side_jitter)
    offset = rng.normal(size=2) * options.center_jitter * side
    offset = np.clip(offset, -0.18 * side, 0.18 * side)
    return at_T, np.concatenate([steady + offset, np.full((len(times_T), 1), side)], 1).astype(np.float64)


def _mouth(scene: Scene, at_T: np.ndarray, view_T3: np.ndarray) -> np.ndarray:
    center_T2 = (scene.mouth_center(at_T) - view_T3[:, :2]) / view_T3[:, 2:] + 0.5
    return np.concatenate([center_T2, scene.mouth_width / view_T3[:, 2:]], 1).astype(np.float32)
