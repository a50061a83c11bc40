"""Runs engines over test clips through the real pipeline, and takes the figures of what comes out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..audio import Wave
from ..checkpoint import read_bundle
from ..crop import region
from ..engines.omnisync import BUNDLED, OmniSyncEngine, Sampling, build_spec, own_sampling, ready_networks
from ..engines.protocol import Edit, Engine, Excerpt, OnStep, WindowEngine
from ..job.options import SyncOptions
from ..pipeline import sync_video
from ..sheets.reader import read_opening
from ..spec import VideoSpec
from ..synth.clips import Clip, read_clip, read_video
from ..windows.placement import Placement
from .area import outside, placement_of
from .figures import ClipFigures, clip_figures

Engines = Callable[[Path, Sampling], Engine]
"""The engine for a clip's folder, sampling as asked."""
Codec = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""An edited window (T, S, S, 3) in 0..1 and its source to what an autoencoder leaves of the edit."""


def exact(frames_THWC: np.ndarray, source_THWC: np.ndarray) -> np.ndarray:
    """The codec that loses nothing."""
    return frames_THWC


@dataclass(frozen=True)
class Measured:
    """One clip edited by one engine."""

    folder: Path
    figures: ClipFigures
    opening_T: np.ndarray
    """Read from the result."""


def bundled(path: str | Path | None = None, device: str = "auto", dtype: str = "auto") -> Engines:
    """Engines of a bundle (None: the one that ships), its weights read once."""
    bundle = read_bundle(path or BUNDLED)
    networks, spec = ready_networks(bundle, device, dtype), build_spec(bundle)
    return lambda folder, sampling: OmniSyncEngine(networks, spec, sampling, bundle.digest)


def own(path: str | Path | None = None) -> Sampling:
    """How a bundle (None: the one that ships) wants to be sampled."""
    return own_sampling(read_bundle(path or BUNDLED))


def run(
    folders: Sequence[Path],
    engines: Engines,
    name: str,
    sampling: Sampling,
    prompt: Callable[[Clip], str] = lambda clip: clip.caption,
    *,
    keep: bool = False,
) -> list[Measured]:
    """Edit every clip with its own prompt; `keep` leaves `<name>.mkv` in its folder. What is done is not done again."""
    measured = []
    for folder in folders:
        clip = read_clip(folder)
        engine = engines(folder, replace(sampling, prompt=prompt(clip)))
        measured.append(_edit(folder, clip, engine, name, keep))
        figures = measured[-1].figures
        print(f"{name} {folder.name} ({clip.family}): share {figures.share:.3f}, r {figures.sync_r:.3f}", flush=True)
    return measured


def take(folders: Sequence[Path], which: str) -> list[Measured]:
    """The figures of the `truth` or the `source` itself, as if it were a result."""
    measured = []
    for folder in folders:
        clip = read_clip(folder)
        frames = clip.truth_frames if which == "truth" else clip.source_frames
        measured.append(_measure(folder, clip, frames, 0.0))
    return measured


class TruthEngine(WindowEngine):
    """Pastes the truth: what then is missing is lost by cropping, codec and compositing. The ceiling of any model."""

    def __init__(self, placement: Placement, truth_THWC: np.ndarray, codec: Codec = exact, name: str = "none") -> None:
        self.spec, self.fingerprint = placement.spec, {"engine": "truth", "codec": name}
        self._placement, self._truth, self._codec = placement, truth_THWC, codec

    def speech(self, wave: Wave) -> Times:
        return Times()

    def edit_window(self, excerpt: Excerpt, anchor: np.ndarray | None, on_step: OnStep) -> Edit:
        on_step(1, 1)
        positions = np.abs(self._placement.timeline.time_V - excerpt.speech_TND[:, 0]).argmin(1)
        truth = [self._crop(int(position)) for position in positions]
        source = excerpt.frames_THWC
        return Edit(self._codec(np.stack(truth), source), self._codec(source, source))

    def _crop(self, position: int) -> np.ndarray:
        frame, placement = self._truth[position], self._placement

        def rgb(xyxy: tuple[int, int, int, int]) -> np.ndarray:
            x0, y0, x1, y1 = xyxy
            return frame[y0:y1, x0:x1].astype(np.float32) / 255

        return region.crop(rgb, placement.frame_size, placement.spot(position).box, self.spec.crop_size)


class Times:
    """Features of a sound that are the times they were asked for."""

    def at(self, times_T: np.ndarray) -> np.ndarray:
        return np.asarray(times_T, np.float64).reshape(-1, 1, 1)


def truth_engine(folder: Path, spec: VideoSpec, codec: Codec = exact, name: str = "none") -> TruthEngine:
    return TruthEngine(_placement(folder, read_clip(folder), spec), read_video(folder / "truth.mkv"), codec, name)


def ceiling(engines: Engines) -> Engines:
    """The truth through the autoencoder of an engine instead of its edit."""

    def build(folder: Path, sampling: Sampling) -> TruthEngine:
        engine = engines(folder, sampling)
        return truth_engine(folder, engine.spec, engine.through_codec, str(engine.fingerprint["model"]))

    return build


def _edit(folder: Path, clip: Clip, engine: Engine, name: str, keep: bool) -> Measured:
    """Edit and measure, or read what was measured before of the same clip with the same engine."""
    output, kept = folder / f"{name}.mkv", folder / f"{name}.json"
    job = {"clip": [clip.split, clip.seed, *clip.source_frames.shape[:2]], "engine": engine.fingerprint}
    job = json.loads(json.dumps(job))
    if kept.exists() and (output.exists() or not keep):
        record = json.loads(kept.read_text(encoding="utf-8"))
        if record["job"] == job:
            figures = record["figures"] | {"lag_r": tuple(record["figures"]["lag_r"])}
            return Measured(folder, ClipFigures(**figures), np.array(record["opening"], np.float32))
    # A clip may have been stopped midway, maybe by another engine.
    shutil.rmtree(f"{output}.omnisync", ignore_errors=True)
    options = SyncOptions(mouth=clip.point, lossless=True)
    sync_video(folder / "source.mkv", folder / "target.wav", output, engine, options)
    frames = read_video(output)
    if not keep:
        output.unlink()
    measured = _measure(
        folder, clip, frames, outside(frames, clip.source_frames, _placement(folder, clip, engine.spec))
    )
    record = {"job": job, "figures": vars(measured.figures), "opening": measured.opening_T.tolist()}
    kept.write_text(json.dumps(record), encoding="utf-8")
    return measured


def _placement(folder: Path, clip: Clip, spec: VideoSpec) -> Placement:
    return placement_of(folder / "source.mkv", folder / "target.wav", clip.point, spec)


def _measure(folder: Path, clip: Clip, frames_THWC: np.ndarray, outside_max: float) -> Measured:
    opening_T = read_opening(frames_THWC, clip.center_T2, clip.width)
    pictures = {"result": frames_THWC, "source": clip.source_frames, "truth": clip.truth_frames}
    openings = {"result": opening_T, "source": clip.source_mouth_T5[:, 0], "truth": clip.truth_mouth_T5[:, 0]}
    return Measured(
        folder,
        clip_figures(folder.name, clip.family, clip.occluded, pictures, openings, clip.box_T4, outside_max),
        opening_T,
    )
