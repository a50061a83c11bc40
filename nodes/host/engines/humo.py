"""HuMo, as the host loads it, as an engine: OmniEdit's Algorithm 1 on crops around the mouth.

The host's nodes for HuMo start from nothing, hear 25 fps and at most 30 s, and know no source. Here both branches read
the same prompt and see the same picture, the video's own first frame; the target hears the new sound, the source the
video's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import comfy.model_base
import comfy.utils
import numpy as np
import torch
from torch import Tensor

from ....omnisync_core.audio import Wave
from ....omnisync_core.engines.humo_audio import BESIDE, LAYERS, WIDTH, HuMoSpeech, group, humo_audio, humo_windows
from ....omnisync_core.engines.latents import Encoded, Held
from ....omnisync_core.engines.omniedit import humo_sigmas
from ....omnisync_core.engines.protocol import Excerpt, OnStep
from ....omnisync_core.errors import InputError
from ..digest import digest
from ..encoders import LAYER_GROUPS
from ..trajectory import VIDEO_CHANNELS, ZERO_VIDEO, OmniEditSampler
from .handle import check_kind, check_vae
from .omniedit import Handle, OmniEditEngine, Settings, with_values

HUMO = "load humo_1.7B_fp16 or humo_17B_fp8_e4m3fn.safetensors from models/diffusion_models"
WAN_VAE = "load wan_2.1_vae.safetensors (the video VAE of Wan 2.1) from models/vae"


def audio_embed(encoded: dict, fps: float, length: int) -> Tensor:
    """HuMo's `audio_embed` (1, K, 8, 5, 1280) for `length` frames at `fps`, from an AUDIO_ENCODER_OUTPUT."""
    states = encoded.get(LAYER_GROUPS)
    states = group(layers_of(encoded)) if states is None else states
    samples = int(encoded.get("audio_samples", len(states) * 320))
    if samples // 320 > len(states) + 2 and length / fps > len(states) / 50:
        raise InputError(
            f"the sound lasts {samples / 16000:.1f} s, its encoding ends at {len(states) / 50:.0f} s (the host's "
            "encoder stops at 30 s) and the video needs more; use Load Whisper Encoder and Encode Audio Whisper"
        )
    return humo_audio(states, samples, fps, length)[None]


def layers_of(encoded: dict) -> Tensor:
    """All layers' states (T, 33, D), float32, of an AUDIO_ENCODER_OUTPUT."""
    layers = encoded.get("encoded_audio_all_layers") if isinstance(encoded, dict) else None
    if layers is None or len(layers) != LAYERS:
        found = "none" if layers is None else f"{len(layers)} layers"
        raise InputError(
            f"HuMo hears the {LAYERS} layers of Whisper large-v3, got {found}; "
            "load whisper_large_v3_fp16.safetensors from models/audio_encoders"
        )
    return torch.stack([layer[0].float() for layer in layers], 1)


def check_humo(model, vae, audio_encoder) -> None:
    """Refuse what HuMo cannot work with, before anything is loaded or sampled. InputError."""
    check_model(model)
    check_vae(vae, WAN_VAE, channels=VIDEO_CHANNELS, dimensions=3)
    check_encoder(audio_encoder)


def check_model(patcher) -> None:
    hint = " (an image-to-video model)" if getattr(patcher.model, "image_to_video", False) else ""
    check_kind(patcher, comfy.model_base.WAN21_HuMo, "HuMo", HUMO, hint)


def check_encoder(encoder) -> None:
    if encoder is None or not hasattr(encoder, "encode_audio"):
        raise InputError("HuMo needs Whisper large-v3; load whisper_large_v3_fp16.safetensors")
    layers, width = encoder_size(encoder)
    if (layers, width) != (LAYERS - 1, WIDTH):
        raise InputError(
            f"HuMo hears Whisper large-v3 (32 layers of 1280), this audio encoder has {layers} layers of {width}; "
            "load whisper_large_v3_fp16.safetensors from models/audio_encoders"
        )


def encoder_size(encoder) -> tuple[int, int]:
    """(layers, width) of an AUDIO_ENCODER."""
    sizes = getattr(encoder.model, "config", None)
    if isinstance(sizes, dict) and "d_model" in sizes:
        return sizes["encoder_layers"], sizes["d_model"]
    inner = getattr(encoder.model, "encoder", encoder.model)
    layers = getattr(inner, "layers", ())
    norm = getattr(inner, "layer_norm", None)
    return len(layers), int(norm.weight.shape[0]) if norm is not None else 0


@dataclass(frozen=True)
class HuMoSettings(Settings):
    steps: int = 20
    start: int = 6
    end: int = 16
    cfg: float = 4.5


@dataclass(frozen=True, eq=False)
class HuMoHandle(Handle):
    ref_image: Tensor | None = field(default=None, repr=False)

    def open(self) -> HuMoEngine:
        return HuMoEngine(self)


class HuMoEngine(OmniEditEngine):
    """Algorithm 1 on a window of crops, through the host's guider and its model."""

    name = "humo"

    def __init__(self, handle: HuMoHandle):
        super().__init__(handle)
        ref = handle.ref_image
        self.fingerprint["reference"] = "first frame" if ref is None else digest(ref)
        self._kept: dict[str | int, Tensor] = {}

    def speech(self, wave: Wave) -> HuMoSpeech:
        return HuMoSpeech(self._encode_sound, wave)

    def prepare(self, excerpt: Excerpt) -> Encoded:
        """With the pictures that both branches see."""
        frames_THWC = excerpt.frames_THWC
        source, shown = self.encode(frames_THWC), {"reference_latents": [self._reference(frames_THWC)]}
        if needs_zero_video(self.handle.model.model):
            shown[ZERO_VIDEO] = self._zero_video(len(frames_THWC))
        return Encoded(excerpt, source, shown)

    def sample(self, window: Encoded, held: Held | None, on_step: OnStep) -> Tensor:
        excerpt, source, settings = window.excerpt, window.source_BCthw, self.settings
        sampler = OmniEditSampler(settings.start, settings.end, settings.cfg, settings.noise, held)
        return self.guider(*self._conds(window), excerpt.mouth_T3).sample(
            torch.zeros_like(source), source, sampler, torch.cat([humo_sigmas(settings.steps), torch.zeros(1)]),
            callback=self.callback(on_step), disable_pbar=True, seed=excerpt.seed,
        )  # fmt: skip

    def _conds(self, window: Encoded) -> tuple[list, list]:
        """The target's and the source's conditioning of a window."""
        speech, frames = window.excerpt.speech_TND, len(window.excerpt.frames_THWC)
        heard, own = speech if isinstance(speech, tuple) else (speech, None)
        own = np.zeros_like(heard) if own is None else own
        target, source = (
            with_values(self.handle.text, {**window.given, "audio_embed": windows(features, frames)})
            for features in (heard, own)
        )
        return target, source

    def _reference(self, frames_THWC: np.ndarray) -> Tensor:
        """The picture both branches see: the user's, else the window's first frame; encoded alone."""
        given = self.handle.ref_image
        if given is None:
            return self.encode(frames_THWC[:1])
        if "reference" not in self._kept:
            size = self.spec.crop_size
            scaled = comfy.utils.common_upscale(given[:1, ..., :3].movedim(-1, 1), size, size, "bilinear", "center")
            self._kept["reference"] = self.encode(scaled.movedim(1, -1).cpu().numpy())
        return self._kept["reference"]

    def _zero_video(self, count: int) -> Tensor:
        """The VAE's latent of `count` frames of value 0 in -1..1, kept."""
        if count not in self._kept:
            size = self.spec.crop_size
            self._kept[count] = self.encode(np.full((count, size, size, 3), 0.5, np.float32))
        return self._kept[count]

    def _encode_sound(self, wave_S: np.ndarray) -> np.ndarray:
        encoded = self.handle.sound_encoder.encode_audio(torch.as_tensor(wave_S)[None, None], 16000)
        return group(layers_of(encoded)).cpu().numpy()


def windows(features: np.ndarray, frames: int) -> Tensor:
    """`audio_embed` (1, K, 8, 5, D) from what `HuMoSpeech.at` gives for a window's frames."""
    return humo_windows(torch.as_tensor(features), frames, before=BESIDE)[None]


def needs_zero_video(model) -> bool:
    """Whether this HuMo is the 17B one, which is shown a video beside the noise."""
    return model.diffusion_model.patch_embedding.weight.shape[1] > VIDEO_CHANNELS
