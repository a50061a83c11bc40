"""LatentSync as an engine: a window of crops in, the same window with the mouth saying the sound out.

Align the faces, encode them whole and without their mouths, draw the mouths from noise by guided DDIM, decode, put the
mouths back. Shapes: T frames, S the crop's side, R the resolution, h = R / 8; latents (B, C, F, h, h).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ...audio import Wave
from ...diffusion.guidance import Guidance, guide
from ...errors import InputError
from ...spec import VideoSpec
from ..protocol import Edit, Excerpt, OnStep
from ..published import PublishedEngine
from . import align, mask
from .ddim import TRAIN_STEPS, Schedule, sample
from .hearing import LayeredSpeech
from .unet import UNet

RESOLUTIONS = 256, 512
CROP_UNITS = 112.0
"""Side of the crop in units of the template: the aligned face is 100 of them high."""
WINDOW = 16
"""Frames at once, as in training."""
DECODED = 4
"""Frames decoded at once."""


@dataclass(frozen=True)
class Settings:
    """How a window is drawn. 1.5 was trained at 256, 1.6 at 512; their files look the same."""

    resolution: int = 256
    steps: int = 20
    cfg: float = 1.5
    """Strength of the sound; up to 1 it is off and steps are twice as quick."""
    reuse: int = 1
    """Every how many steps the whole network is computed; between, only its last layer."""
    guidance: Guidance | None = None
    """In the place of `cfg`: stronger at the mouth and early."""
    overlap_frames: int = 4

    def __post_init__(self) -> None:
        Schedule(self.steps)
        if self.resolution not in RESOLUTIONS:
            raise InputError(f"resolution must be 256 (LatentSync 1.5) or 512 (1.6), got {self.resolution}")
        if not 0 <= self.cfg <= 100:
            raise InputError(f"cfg must be a number within 0..100, got {self.cfg}")
        if self.reuse < 1:
            raise InputError(f"reuse must be at least 1 (every step in full), got {self.reuse}")
        if not 0 <= self.overlap_frames < WINDOW:
            raise InputError(f"overlap_frames must be within 0..{WINDOW - 1}, got {self.overlap_frames}")

    @property
    def spec(self) -> VideoSpec:
        return VideoSpec(
            temporal_stride=1,
            spatial_stride=mask.LATENT,
            latent_channels=4,
            crop_size=self.resolution * 5 // 4,
            crop_scale=CROP_UNITS / align.MOUTH_WIDTH,
            head_scale=CROP_UNITS / align.SPREAD,
            window_frames=WINDOW,
            overlap_frames=self.overlap_frames,
            mouth_height=float(align.MOUTH[1]) / align.FACE_UNITS[1],
            shared_noise=True,
        )

    @property
    def is_guided(self) -> bool:
        """Whether the network is asked a second time, without the sound."""
        return self.cfg > 1 if self.guidance is None else not self.guidance.is_off


class Denoiser(Protocol):
    """The UNet where it runs."""

    device: torch.device
    dtype: torch.dtype

    def resident(self, sample_shape: tuple[int, ...]) -> AbstractContextManager:
        """Entered while it is used on samples of a shape."""

    def predict(self, sample: Tensor, timestep: int, audio: Tensor, deep: Tensor | None) -> tuple[Tensor, Tensor]:
        """As `UNet.predict`."""


class PlacedUNet:
    """A `Denoiser` of a UNet that already lies where it runs."""

    def __init__(self, unet: UNet) -> None:
        self.dtype, self.device = unet.dtype, unet.conv_in.weight.device
        self.predict = unet.predict

    def resident(self, sample_shape: tuple[int, ...]) -> AbstractContextManager:
        return nullcontext()


class Codec(Protocol):
    """Stable Diffusion's autoencoder of pictures; latents in the network's scale."""

    def encode(self, faces_NRRC: Tensor) -> Tensor:
        """Pictures 0..1 to latents (N, 4, h, h), the most likely ones."""

    def decode(self, latents_NChw: Tensor) -> Tensor:
        """Back to (N, R, R, 3), 0..1."""


@dataclass(frozen=True)
class Face:
    """One frame's face as the network is given it; all on the CPU."""

    masked_Chw: Tensor
    whole_Chw: Tensor
    through_codec_RRC: np.ndarray
    """The face encoded and decoded, 0..1."""


class LatentSyncEngine(PublishedEngine[Settings, Denoiser, Codec]):
    """See `engines/protocol.py`."""

    name = "latentsync"
    sees_head = True
    _faces: Mapping[bytes, Face] = {}
    """Of the window before."""

    def speech(self, wave: Wave) -> LayeredSpeech:
        return LayeredSpeech(self._whisper, wave, self._resident)

    @torch.inference_mode()
    def edit_window(self, excerpt: Excerpt, anchor: np.ndarray | None, on_step: OnStep) -> Edit:
        frames_THWC, mouth_T3 = excerpt.frames_THWC, excerpt.mouth_T3
        self.check(excerpt)
        affines = [self._affine(mouth, len(frames_THWC[0])) for mouth in mouth_T3]
        faces = self._prepare(frames_THWC, affines)
        fixed = None if anchor is None else self._encode_anchor(anchor, affines)
        weight = self._weight(mouth_T3[:, :3], affines, len(frames_THWC[0]))
        drawn = self._draw(faces, fixed, torch.as_tensor(excerpt.speech_TND), weight, excerpt.seed, on_step)
        return self._put_back(frames_THWC, faces, self._decode(drawn), affines)

    def _affine(self, mouth: np.ndarray, size: int) -> np.ndarray:
        """To the aligned face: by brows and nose, as officially; without them by the mouth's place, the head's turn and
        the crop's size, which is steady through a shot."""
        head = mouth[4:].reshape(-1, 2)
        if len(head) and np.isfinite(head).all():
            return align.from_points(head * size - 0.5, self.settings.resolution)
        x, y = mouth[:2] * size - 0.5
        steady = np.array([x, y, size / self.spec.crop_scale], np.float32)
        roll = float(mouth[3]) if len(mouth) > 3 else 0.0
        return align.from_points(align.points_of_mouth(steady, roll), self.settings.resolution)

    def _prepare(self, frames_THWC: np.ndarray, affines: list[np.ndarray]) -> list[Face]:
        """Each frame's face; those that the window before has seen are not encoded again."""
        aligned = [
            align.align(np.asarray(frame) * 255, affine, self.settings.resolution).clip(0, 255) / np.float32(255)
            for frame, affine in zip(frames_THWC, affines, strict=True)
        ]
        keys = [hashlib.sha256(face_RRC.data).digest() for face_RRC in aligned]
        kept = {key: self._faces[key] for key in keys if key in self._faces}
        for key, face_RRC in zip(keys, aligned, strict=True):
            if key not in kept:
                kept[key] = self._encode(face_RRC)
        self._faces = kept
        return [kept[key] for key in keys]

    def _encode(self, face_RRC: np.ndarray) -> Face:
        """Always the same two pictures at once: a resumed job must give the same bits."""
        whole = torch.from_numpy(np.ascontiguousarray(face_RRC, np.float32))
        keep = torch.from_numpy(mask.kept(self.settings.resolution))[..., None]
        grey = 0.5  # masked pixels are 0 in -1..1
        masked_latent, latent = self._codec.encode(torch.stack([whole * keep + grey * (1 - keep), whole])).float().cpu()
        decoded = self._codec.decode(latent[None])[0].float().clamp(0, 1).cpu().numpy()
        return Face(masked_latent, latent, decoded)

    def _encode_anchor(self, anchor_KSSC: np.ndarray, affines: list[np.ndarray]) -> Tensor:
        """Latents (1, 4, K, h, h) of finished frames."""
        latents = []
        for frame, affine in zip(anchor_KSSC, affines, strict=False):
            face_RRC = align.align(np.asarray(frame) * 255, affine, self.settings.resolution).clip(0, 255) / 255
            latents.append(self._codec.encode(torch.from_numpy(face_RRC.astype(np.float32))[None])[0].float().cpu())
        return torch.stack(latents, 1)[None]

    def _weight(self, mouth_T3: np.ndarray, affines: list[np.ndarray], size: int) -> Callable[[int], Tensor | float]:
        """The guidance's weight at a timestep: a number, or (T, h, w) around the mouth."""
        guidance = self.settings.guidance
        if guidance is None:
            return lambda timestep: self.settings.cfg
        width, height = align.face_size(self.settings.resolution)
        inside = []
        for (x, y, across), affine in zip(mouth_T3 * size, affines, strict=True):
            place = affine @ np.array([x - 0.5, y - 0.5, 1], np.float32)
            inside.append([place[0] / width, place[1] / height, across * np.linalg.norm(affine[:, 0]) / width])
        mouths_T3, side = torch.tensor(np.array(inside)), self.settings.resolution // mask.LATENT
        return lambda timestep: guidance.weight(timestep / TRAIN_STEPS, mouths_T3.float(), (side, side))

    def _draw(
        self,
        faces: list[Face],
        fixed: Tensor | None,
        speech_TND: Tensor,
        weight: Callable[[int], Tensor | float],
        seed: int,
        on_step: OnStep,
    ) -> Tensor:
        """Latents (1, 4, T, h, h) of the faces with their new mouths; `fixed` are those of the first ones."""
        settings, schedule = self.settings, Schedule(self.settings.steps)
        side, frames = settings.resolution // mask.LATENT, len(faces)
        eps = torch.randn((1, 4, 1, side, side), generator=torch.Generator().manual_seed(seed))
        eps = eps.expand(-1, -1, frames, -1, -1)
        branches = 2 if settings.is_guided else 1
        predict = self._predictor(_condition(faces, settings.resolution), speech_TND, branches)

        def noise_in(index: int, x: Tensor) -> Tensor:
            timestep = schedule.timesteps[index]
            out = predict(x, timestep, index % settings.reuse != 0)
            if branches == 1:
                return out
            level = torch.as_tensor(weight(timestep))
            return guide(out[:1], out[1:], level)

        def hold(index: int, x: Tensor) -> Tensor:
            if fixed is None:
                return x
            count = fixed.shape[2]
            return torch.cat([schedule.noised(index, fixed, eps[:, :, :count]), x[:, :, count:]], 2)

        def finish_step(index: int, x: Tensor) -> Tensor:
            on_step(index + 1, len(schedule))
            return hold(index + 1, x)

        with self._denoiser.resident((branches, 13, frames, side, side)):
            return sample(noise_in, hold(0, eps), schedule, finish_step)

    def _predictor(self, condition: Tensor, speech_TND: Tensor, branches: int) -> Callable[[Tensor, int, bool], Tensor]:
        """predict(x, timestep, cached) -> noise (branches, 4, T, h, h), float32 on the CPU; without the sound first."""
        place = {"device": self._denoiser.device, "dtype": self._denoiser.dtype}
        audio = torch.stack([torch.zeros_like(speech_TND), speech_TND][-branches:]).to(**place)
        condition = condition.to(**place)
        deep: Tensor | None = None

        def predict(x: Tensor, timestep: int, cached: bool) -> Tensor:
            nonlocal deep
            given = torch.cat([x.to(**place), condition], 1).expand(branches, -1, -1, -1, -1)
            out, deep = self._denoiser.predict(given, timestep, audio, deep if cached else None)
            return out.float().cpu()

        return predict

    def _decode(self, latents: Tensor) -> np.ndarray:
        """(T, R, R, 3), 0..1."""
        parts = latents[0].transpose(0, 1).split(DECODED)
        return np.concatenate([self._codec.decode(part).float().clamp(0, 1).cpu().numpy() for part in parts])

    def _put_back(
        self, frames_THWC: np.ndarray, faces: list[Face], drawn_TRRC: np.ndarray, affines: list[np.ndarray]
    ) -> Edit:
        """Crops with the new mouth, and without it: what is kept of the face is the same in both."""
        size = frames_THWC.shape[2], frames_THWC.shape[1]
        keep = mask.softly_kept(self.settings.resolution)[..., None]
        edited, reference = np.empty_like(frames_THWC, np.float32), np.empty_like(frames_THWC, np.float32)
        for index, (frame, face, drawn, affine) in enumerate(zip(frames_THWC, faces, drawn_TRRC, affines, strict=True)):
            before = face.through_codec_RRC
            pictures = np.concatenate([before, drawn * (1 - keep) + before * keep, np.ones_like(before[..., :1])], 2)
            placed = align.restore(pictures, affine, size, fill=0)
            inside = placed[..., 6:] > 0.999
            reference[index] = np.where(inside, placed[..., :3], frame)
            edited[index] = np.where(inside, placed[..., 3:6], frame)
        return Edit(edited, reference)


def _condition(faces: list[Face], resolution: int) -> Tensor:
    """Mask, masked face and face (1, 9, T, h, h)."""
    kept = torch.from_numpy(np.ascontiguousarray(mask.kept_latents(resolution)))[None]
    return torch.stack([torch.cat([kept, face.masked_Chw, face.whole_Chw]) for face in faces], 1)[None]
