"""X-Dub as an engine: a window of crops in, the same window with the mouth saying the sound out.

Encode the source, draw the window from noise beside it, decode, draw again what ended in noise. Shapes: T frames, S
the crop's side, K frames of the anchor; latents (1, C, f, h, w), h = S / 16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ...audio import Wave
from ...errors import InputError
from ...models.whisper import WhisperEncoder
from ...models.whole_sound import WholeSound
from ...spec import VideoSpec
from ...windows import chunks
from ..protocol import Edit, Excerpt, OnStep
from ..published import PublishedEngine, Resident
from . import noise, sampling
from .config import XDubConfig
from .dit import XDubDiT
from .hearing import XDubSpeech, by_latent_frame
from .weights import context_of

MOTION_FRAMES = 5
"""Finished frames that a window goes on from: two latent frames."""
CROP_SCALE, MOUTH_HEIGHT = 4.65, 0.65
"""Where the official crop has the mouth, on a mean frontal face: widths of it to a side, share of the height."""
CROP_UNIT = 32
MELS = 80


@dataclass(frozen=True)
class Settings:
    """How a window is drawn."""

    steps: int = 30
    ref_cfg_scale: float = 2.5
    """How closely the face is the source's."""
    audio_cfg_scale: float = 10.0
    """How strongly the mouth follows the sound."""
    reuse: int = 1
    """Every how many steps all three branches are asked; between, the one that sees and hears."""
    unguided_below: float = 0.0
    """Noise level under which that one is asked alone."""
    redraws: int = 2
    """How often a window that ended in noise is drawn again at most."""
    crop_size: int = 512
    window_frames: int = 77

    def __post_init__(self) -> None:
        sampling.sigmas(self.steps)
        for name, most in (("ref_cfg_scale", 100), ("audio_cfg_scale", 100), ("unguided_below", 1)):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise InputError(f"{name} must be a number within 0..{most}, got {value}")
        for name, least in (("reuse", 1), ("redraws", 0), ("crop_size", CROP_UNIT)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.crop_size % CROP_UNIT:
            raise InputError(f"crop_size must be a multiple of {CROP_UNIT}, got {self.crop_size}")
        if self.window_frames <= MOTION_FRAMES or self.window_frames % 4 != 1:
            raise InputError(f"window_frames must be 1 + 4k and at least 9, got {self.window_frames}")

    @property
    def spec(self) -> VideoSpec:
        return VideoSpec(
            temporal_stride=4,
            spatial_stride=16,
            latent_channels=48,
            crop_size=self.crop_size,
            crop_scale=CROP_SCALE,
            window_frames=self.window_frames,
            overlap_frames=MOTION_FRAMES,
            mouth_height=MOUTH_HEIGHT,
            shared_noise=True,
        )


@dataclass(frozen=True)
class Given:
    """What the branches of a window see, read and hear; on the CPU, float32."""

    source: Tensor
    context: Tensor
    audio: Tensor
    motion_frames: int

    def reference(self, branch: str) -> Tensor:
        """Latents before the network: zeros where a branch sees nothing."""
        return torch.zeros_like(self.source) if branch == "none" else self.source

    def sound(self, branch: str) -> Tensor:
        """Features before the network: zeros where a branch hears nothing."""
        return self.audio if branch == "full" else torch.zeros_like(self.audio)


class Denoiser(Protocol):
    """The transformer where it runs."""

    device: torch.device
    dtype: torch.dtype

    def run(self, given: Given, work: Callable[[sampling.Velocity], Tensor]) -> Tensor:
        """What `work` makes of a window's velocity, float32 on the CPU, while the transformer is in its place."""


class PlacedDiT:
    """A `Denoiser` of a transformer that already lies where it runs; the branches of a step are one batch."""

    def __init__(self, network: XDubDiT) -> None:
        self.dtype, self.device = network.dtype, network.patch_embedding.weight.device
        self.predict = network.__call__

    def run(self, given: Given, work: Callable[[sampling.Velocity], Tensor]) -> Tensor:
        place = {"device": self.device, "dtype": self.dtype}

        def velocity(latents: Tensor, sigma: float, branches: Sequence[str]) -> Tensor:
            count = len(branches)
            out = self.predict(
                latents.to(**place).expand(count, -1, -1, -1, -1),
                torch.full((count,), 1000 * sigma, device=self.device),
                ref_latents=torch.cat([given.reference(branch) for branch in branches]).to(**place),
                context=given.context.to(**place).expand(count, -1, -1),
                audio_feats=torch.cat([given.sound(branch) for branch in branches]).to(**place),
                motion_frames=given.motion_frames,
            )
            return out.float().cpu()

        return work(velocity)


class Codec(Protocol):
    """Wan 2.2's autoencoder of video; latents in the network's scale, float32 on the CPU."""

    def encode(self, frames_THWC: np.ndarray) -> Tensor:
        """T = 1 + 4k pictures 0..1 to latents (1, C, 1 + k, h, w), the most likely ones."""

    def decode(self, latents: Tensor) -> np.ndarray:
        """Back to (T, S, S, 3), 0..1."""


Wav2Vec = Callable[[np.ndarray], np.ndarray]
"""The last states (M, D) of a normalised wave (S,) at 16 kHz."""


class XDubEngine(PublishedEngine[Settings, Denoiser, Codec]):
    """See `engines/protocol.py`.

    One window at a time: a window takes minutes, beside which it is nothing that autoencoder and transformer change
    places; so every window goes on from finished pictures, as the official program's does.
    """

    name = "xdub"
    has_codec = True

    def __init__(
        self, denoiser: Denoiser, codec: Codec, whisper: WhisperEncoder, wav2vec: Wav2Vec, prompt_1D: Tensor,
        settings: Settings, models: str | list[str], resident: Resident = lambda module: nullcontext(),
    ) -> None:  # fmt: skip
        """As `PublishedEngine`; `prompt_1D`: the empty prompt's row."""
        super().__init__(denoiser, codec, whisper, settings, models, resident)
        self._wav2vec, self._context = wav2vec, context_of(prompt_1D.float().cpu())
        self.fingerprint["prompt"] = self._context[0, 0].double().sum().item()

    def speech(self, wave: Wave) -> XDubSpeech:
        return XDubSpeech(WholeSound(self._whisper, wave, self._resident, last_only=True), self._wav2vec, wave)

    @torch.inference_mode()
    def through_codec(self, frames_THWC: np.ndarray, source_THWC: np.ndarray) -> np.ndarray:
        return self._codec.decode(self._codec.encode(frames_THWC))

    @torch.inference_mode()
    def edit_window(self, excerpt: Excerpt, anchor: np.ndarray | None, on_step: OnStep) -> Edit:
        """The excerpt's speech has three frames more, before the window. Of a long anchor (a window that was moved back
        to be full) the last five frames are gone on from, those before stay as they are; noise is not gone on from.
        """
        self.check(excerpt)
        frames_THWC, count = excerpt.frames_THWC, len(excerpt.frames_THWC)
        if anchor is not None and self._is_noise(anchor, excerpt):
            anchor = None
        passed = 0 if anchor is None else max(len(anchor) - MOTION_FRAMES, 0)
        motion = None if anchor is None else self._codec.encode(anchor[passed:])
        source = self._codec.encode(filled(frames_THWC[passed:], self.spec.window_frames))
        audio = self._audio(np.asarray(excerpt.speech_TND)[passed:])
        reference = self._reference(frames_THWC, source, passed)

        def draw(seed: int, on_step: OnStep) -> np.ndarray:
            drawn = self._decode(self._draw(source, motion, audio, seed, on_step), count - passed)
            return drawn if anchor is None else np.concatenate([anchor[:passed], drawn])

        return self._sane(draw, reference, excerpt, on_step)

    def _sane(
        self, draw: Callable[[int, OnStep], np.ndarray], reference_THWC: np.ndarray, excerpt: Excerpt, on_step: OnStep
    ) -> Edit:
        """The first drawing that is no noise, else the one nearest to the source."""
        edited = best = draw(excerpt.seed, on_step)
        nearest, redrawn = noise.distance(edited, reference_THWC, excerpt.mouth_T3), 0
        while nearest > noise.FARTHEST and redrawn < self.settings.redraws:
            redrawn += 1
            edited = draw(chunks.window_seed(excerpt.seed, redrawn), lambda step, steps: None)
            far = noise.distance(edited, reference_THWC, excerpt.mouth_T3)
            if far < nearest:
                nearest, best = far, edited
        return Edit(best, reference_THWC, _note(redrawn, nearest))

    def _is_noise(self, anchor_KSSC: np.ndarray, excerpt: Excerpt) -> bool:
        count = len(anchor_KSSC)
        return noise.distance(anchor_KSSC, excerpt.frames_THWC[:count], excerpt.mouth_T3[:count]) > noise.FARTHEST

    def _reference(self, frames_THWC: np.ndarray, source: Tensor, passed: int) -> np.ndarray:
        """The source through the codec; of a window that was moved back the part before was not encoded yet."""
        return self._decode(self._codec.encode(frames_THWC) if passed else source, len(frames_THWC))

    def _decode(self, latents: Tensor, frames: int) -> np.ndarray:
        """The first frames (the codec is causal)."""
        return self._codec.decode(latents[:, :, : self.spec.latent_frames(frames)])

    def _audio(self, features_T2D: np.ndarray) -> Tensor:
        """(1, f, 8, D); where the window was filled the last frame's features repeat."""
        missing = self.spec.window_frames + 3 - len(features_T2D)
        features = np.pad(features_T2D, ((0, missing), (0, 0), (0, 0)), mode="edge")
        return by_latent_frame(torch.from_numpy(features))[None]

    def _draw(self, source: Tensor, motion: Tensor | None, audio: Tensor, seed: int, on_step: OnStep) -> Tensor:
        """The latents of the window with its new mouth."""
        settings = self.settings
        eps = torch.randn(source.shape, generator=torch.Generator().manual_seed(seed))

        def work(velocity: sampling.Velocity) -> Tensor:
            return sampling.sample(
                velocity, eps, source, sampling.sigmas(settings.steps), motion_latents=motion,
                ref_cfg_scale=settings.ref_cfg_scale, audio_cfg_scale=settings.audio_cfg_scale, reuse=settings.reuse,
                unguided_below=settings.unguided_below, on_step=on_step,
            )  # fmt: skip

        kept = 0 if motion is None else motion.shape[2]
        return self._denoiser.run(Given(source, self._context, audio, kept), work)


def filled(frames_THWC: np.ndarray, count: int) -> np.ndarray:
    """`count` frames: those given, then back and forth over them, as the official program plays a short source.

    The network was only ever run on whole windows.
    """
    last = max(len(frames_THWC) - 1, 1)
    there = np.arange(count) % (2 * last)
    return frames_THWC[np.minimum(np.minimum(there, 2 * last - there), len(frames_THWC) - 1)]


def check_hearing(config: XDubConfig, whisper: WhisperEncoder, wav_width: int) -> None:
    """InputError: the two encoders are not those whose states the network hears."""
    mels = whisper.config["num_mel_bins"]
    if (whisper.width + wav_width, mels) != (config.audio_dim, MELS):
        raise InputError(
            f"X-Dub hears {config.audio_dim} features (Whisper large-v2 1280 of {MELS} mels, wav2vec2 base 768), got "
            f"Whisper {whisper.width} of {mels} mels and wav2vec2 {wav_width}; load large-v2.pt and wav2vec2-base-960h"
        )


def _note(redrawn: int, far: float) -> str:
    if not redrawn and far <= noise.FARTHEST:
        return ""
    times = f"drawn again {redrawn} times" if redrawn != 1 else "drawn again once"
    if far <= noise.FARTHEST:
        return f"ended in noise and was {times}"
    return f"looks like noise ({times}): try another seed or more steps"
