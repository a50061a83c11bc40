"""Test clips: a drawn character saying one thing, and its exact twin saying another.

Source and truth share character, pose, background and occluder; only the words and how far the mouth opens differ.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from scipy.io import wavfile

from ..audio import SAMPLE_RATE
from ..errors import OutputError
from .mouths import MOUTH_PARAMS
from .scene import Scene
from .speech import AMPLITUDE, caption, utterance

STYLES = tuple(AMPLITUDE)
STYLE_SHARES = (0.25, 0.5, 0.25)
"""As in training."""
WORDS = {"person": "person", "cartoon": "cartoon character", "animal": "animal", "robot": "robot"}
SEEDS_PER_RUN = 10**6


@dataclass(frozen=True, eq=False)
class Clip:
    """T frames of source and truth, uint8; mouth parameters as `MOUTH_PARAMS`; lengths in pixels."""

    seed: int
    split: str
    family: str
    fps: float
    source_frames: np.ndarray
    truth_frames: np.ndarray
    source_wave: np.ndarray
    """float32 mono 16 kHz, as long as the frames."""
    target_wave: np.ndarray
    source_mouth_T5: np.ndarray
    truth_mouth_T5: np.ndarray
    box_T4: np.ndarray
    """Whole pixels x0, y0, x1, y1 that hold the mouth of both."""
    center_T2: np.ndarray
    width: float
    """Of the resting mouth."""
    occluded: bool
    """Something passes before the mouth."""
    source_style: str
    style: str
    """Of the truth, as its caption says."""
    caption: str
    source_text: str
    target_text: str
    target_voice: str

    @property
    def point(self) -> tuple[float, float]:
        """What a user would click: a pixel between the lips of the first frame."""
        x, y = np.rint(self.center_T2[0]).tolist()
        return x, y


def make_clip(
    seed: int, split: str = "test", size: int = 256, seconds: float = 3.0, fps: float = 25, *, style: str | None = None
) -> Clip:
    """The clip of a seed; `style` (of `AMPLITUDE`) replaces the drawn one of the truth and changes nothing else.

    Characters, voices and sentences of the two splits are apart whatever the seeds.
    """
    rng = np.random.default_rng([seed, 5])
    source_style, drawn = (str(name) for name in rng.choice(STYLES, 2, p=STYLE_SHARES))
    style = style or drawn
    times_T = np.arange(round(seconds * fps)) / fps
    scene = Scene.random(seed, split, duration=seconds)
    said = [utterance(2 * seed + which, split, seconds=seconds) for which in (0, 1)]
    mouths = [words.mouth_at(times_T, AMPLITUDE[name]) for words, name in zip(said, (source_style, style), strict=True)]
    boxes = [scene.mouth_box(mouth, times_T) * size for mouth in mouths]
    low, high = np.minimum(*boxes)[:, :2], np.maximum(*boxes)[:, 2:]
    box_T4 = np.clip(np.concatenate([np.floor(low), np.ceil(high)], 1), 0, size).astype(int)
    frames = [scene.render(mouth, times_T, size=size) for mouth in mouths]
    samples = round(len(times_T) / fps * SAMPLE_RATE)
    waves = [np.pad(words.wave_S, (0, samples))[:samples] for words in said]
    return Clip(
        seed, split, scene.character.family, fps, frames[0], frames[1], waves[0], waves[1], mouths[0], mouths[1],
        box_T4, scene.mouth_center(times_T) * size, scene.mouth_width * size, scene.occluder is not None, source_style,
        style, caption_of(scene.character.family, style, seed), said[0].text, said[1].text, said[1].voice,
    )  # fmt: skip


def caption_of(family: str, style: str, seed: int) -> str:
    """A prompt that asks a character of a family for a style, as captions were worded in training."""
    return caption(style, np.random.default_rng([seed, 6]), WORDS[family.split("/")[0]])


def write_clips(out: str | os.PathLike, *, clips: int, seed: int, size: int = 256, seconds: float = 3.0) -> list[Path]:
    """Write `clips` test clips to `out/clip_0000` and so on; another `seed` gives other clips."""
    folders = []
    for index in range(clips):
        folder = Path(out) / f"clip_{index:04d}"
        write_clip(folder, make_clip(seed * SEEDS_PER_RUN + index, size=size, seconds=seconds))
        folders.append(folder)
    return folders


def write_clip(folder: Path, clip: Clip) -> None:
    """source.mkv, truth.mkv (FFV1 without loss), source.wav, target.wav and mouth.json."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_video(folder / "source.mkv", clip.source_frames, clip.fps)
        write_video(folder / "truth.mkv", clip.truth_frames, clip.fps)
        write_wave(folder / "source.wav", clip.source_wave)
        write_wave(folder / "target.wav", clip.target_wave)
        (folder / "mouth.json").write_text(json.dumps(about(clip), ensure_ascii=False), encoding="utf-8")
    except (OSError, av.error.FFmpegError) as error:
        raise OutputError(f"cannot write {folder}: {getattr(error, 'strerror', None) or error}") from error


def about(clip: Clip) -> dict:
    """What mouth.json says; pixels are those of the clip's frames."""
    return {
        "fps": clip.fps, "size": clip.source_frames.shape[1], "seed": clip.seed, "split": clip.split,
        "family": clip.family, "caption": clip.caption, "style": clip.style, "source_style": clip.source_style,
        "occluded": clip.occluded, "source_text": clip.source_text, "target_text": clip.target_text,
        "target_voice": clip.target_voice, "mouth_box_xyxy": clip.box_T4.tolist(),
        "mouth_center_xy": clip.center_T2.round(3).tolist(), "mouth_width": round(float(clip.width), 3),
        "source": _columns(clip.source_mouth_T5), "truth": _columns(clip.truth_mouth_T5),
    }  # fmt: skip


def read_clip(folder: str | os.PathLike) -> Clip:
    """A written clip."""
    folder = Path(folder)
    known = json.loads((folder / "mouth.json").read_text(encoding="utf-8"))
    waves = [wavfile.read(folder / name)[1].astype(np.float32) / 32767 for name in ("source.wav", "target.wav")]
    mouths = [np.array([known[who][name] for name in MOUTH_PARAMS], np.float32).T for who in ("source", "truth")]
    return Clip(
        known["seed"], known["split"], known["family"], known["fps"], read_video(folder / "source.mkv"),
        read_video(folder / "truth.mkv"), waves[0], waves[1], mouths[0], mouths[1], np.array(known["mouth_box_xyxy"]),
        np.array(known["mouth_center_xy"]), known["mouth_width"], known["occluded"], known["source_style"],
        known["style"], known["caption"], known["source_text"], known["target_text"], known["target_voice"],
    )  # fmt: skip


def write_video(path: Path, frames_THWC: np.ndarray, fps: float) -> None:
    """uint8 RGB frames as FFV1, sample for sample."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=Fraction(fps).limit_denominator(1001), options={"level": "3"})
        stream.height, stream.width = frames_THWC.shape[1:3]
        stream.pix_fmt = "bgr0"
        for rgb in frames_THWC:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="bgr0")))
        output.mux(stream.encode(None))


def read_video(path: str | os.PathLike) -> np.ndarray:
    """All frames, (T, H, W, 3) uint8."""
    return np.stack(list(_decoded(path)))


def write_wave(path: Path, wave_S: np.ndarray) -> None:
    wavfile.write(path, SAMPLE_RATE, np.rint(wave_S * 32767).astype(np.int16))


def _decoded(path: str | os.PathLike) -> Iterator[np.ndarray]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def _columns(mouth_T5: np.ndarray) -> dict[str, list[float]]:
    return {name: mouth_T5[:, k].astype(float).round(5).tolist() for k, name in enumerate(MOUTH_PARAMS)}
