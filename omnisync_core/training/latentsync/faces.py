"""Footage to learn from: a folder of videos of aligned faces at 25 frames a second, each with its sound.

Shapes: F frames, R the resolution. A window is read from the key frame before it on; no clip is held in memory.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from ...audio import SpeechWave
from ...engines.latentsync.hearing import LayeredSpeech, windows
from ...engines.latentsync.mask import kept, kept_latents
from ...errors import InputError
from ...files import replacing
from ...media import frames_of, probe_video
from ...models.whisper import WhisperEncoder
from ...synth.archive import opened
from .codec import Codec
from .mel import FRAMES_PER_SECOND, sync_mel, window_of
from .stages import FaceBatch
from .syncnet import SyncNetConfig

FPS = 25
SUFFIXES = ".mp4", ".mov", ".mkv", ".webm", ".avi"
WINDOWS = 3
"""A clip must be this many windows long, so that the reference can be another moment."""


class FaceClip:
    """One video; what `contrastive.Clip` asks for. InputError: not 25 frames a second, too short, without sound."""

    def __init__(self, path: Path, resolution: int, config: SyncNetConfig) -> None:
        self.path, self.resolution, self.config = path, resolution, config
        self._video = probe_video(path)
        if abs(self._video.average_fps - FPS) > 0.1:
            raise InputError(f"{path} has {self._video.average_fps:.2f} frames a second, expected {FPS}: convert it")
        if not self._video.has_audio:
            raise InputError(f"{path} has no sound")
        self.wave = SpeechWave(path)
        self._mel_MF = sync_mel(self.wave.read(0, self.wave.duration))
        heard = int((self._mel_MF.shape[1] - config.mel_frames) * FPS / FRAMES_PER_SECOND)
        self.length = min(self._video.frame_count - config.frames, heard) + 1
        usable, wanted = self.length + config.frames - 1, WINDOWS * config.frames
        if usable < wanted:
            raise InputError(f"{path} has {usable} frames with sound to them, expected {wanted} or more")

    def faces(self, first: int) -> np.ndarray:
        """(F, 3, R, R) float32 in -1..1."""
        frames = frames_of(self._video, first, first + self.config.frames, seek=True)
        return np.stack([_square(frame.rgb(), self.resolution) for frame in frames])

    def mel(self, first: int) -> np.ndarray:
        """(80, M) of the window that begins at a frame."""
        return window_of(self._mel_MF, first, FPS, self.config.mel_frames)


class HeardClip(FaceClip):
    """A clip with what the UNet hears of it; `folder` keeps that for the next time."""

    def __init__(
        self, path: Path, resolution: int, config: SyncNetConfig, whisper: WhisperEncoder, folder: Path
    ) -> None:
        super().__init__(path, resolution, config)
        stat = path.stat()
        name = hashlib.sha256(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:24]
        self._kept = folder / f"{name}.npy"
        if not self._kept.exists():
            speech = LayeredSpeech(whisper, self.wave)
            with replacing(self._kept) as part, open(part, "wb") as file:
                np.save(file, speech.states(np.arange(speech.count)).astype(np.float16))

    def audio(self, first: int) -> np.ndarray:
        """(F, 50, 384) features."""
        features_NKD = opened(self._kept, mmap_mode="r")
        return windows(features_NKD, (first + np.arange(self.config.frames)) / FPS).astype(np.float32)


def read_clips(folder: str | Path, open_clip: Callable[[Path], FaceClip]) -> list:
    """Every clip of a folder and those below, by `open_clip(path)`; unfit ones are named in a warning and left out.

    InputError: none is fit.
    """
    folder = Path(folder)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not paths:
        raise InputError(f"no videos in {folder}; expected a folder of aligned faces ({', '.join(SUFFIXES)})")
    clips, refused = [], []
    for path in paths:
        try:
            clips.append(open_clip(path))
        except InputError as error:
            refused.append(str(error))
    if refused:
        warnings.warn(f"{len(refused)} of {len(paths)} videos are left out; the first: {refused[0]}", stacklevel=2)
    if not clips:
        raise InputError(f"none of the {len(paths)} videos in {folder} can be learned from; the first: {refused[0]}")
    return clips


def draw_faces(
    clips: Sequence[HeardClip], batch: int, codec: Codec, rng: np.random.Generator, device: torch.device
) -> FaceBatch:
    """Random windows with a reference from another moment of their clip, which shares no frame with them."""
    rows: dict[str, list] = {"truth": [], "reference": [], "audio": [], "mel": []}
    for _ in range(batch):
        clip = clips[int(rng.integers(len(clips)))]
        first = int(rng.integers(clip.length))
        others = [at for at in range(clip.length) if abs(at - first) >= clip.config.frames]
        rows["truth"].append(clip.faces(first))
        rows["reference"].append(clip.faces(int(rng.choice(others))))
        rows["audio"].append(clip.audio(first))
        rows["mel"].append(clip.mel(first)[None])
    drawn = {name: torch.as_tensor(np.stack(value)).to(device) for name, value in rows.items()}
    truth, side = drawn["truth"], drawn["truth"].shape[-1]
    masked = truth * torch.as_tensor(kept(side)).to(device)
    mask = torch.as_tensor(kept_latents(side)).to(device).expand(batch, 1, truth.shape[1], -1, -1)
    pictures = {"truth": truth, "masked": masked, "reference": drawn["reference"]}
    latents = {name: codec.encode(value).transpose(1, 2) for name, value in pictures.items()}
    return FaceBatch(**latents, mask=mask, audio_BFLD=drawn["audio"], pictures_BFCHW=truth, mel_B1MF=drawn["mel"])


def _square(picture_HWC: np.ndarray, side: int) -> np.ndarray:
    """(3, R, R) in -1..1, free of aliasing."""
    smaller = picture_HWC.shape[0] >= side
    if picture_HWC.shape[:2] != (side, side):
        how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
        picture_HWC = cv2.resize(picture_HWC, (side, side), interpolation=how)
    return (picture_HWC.transpose(2, 0, 1) * 2 - 1).clip(-1, 1)
