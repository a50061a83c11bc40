"""LTX-2, as the host loads it: lip sync to a given sound, and editing picture and sound by a prompt.

Lip sync is Algorithm 1 on the video's stream; the sound's stream stays clean (its timestep is 0) and is the user's in
the target branch, the video's own in the source branch. Editing is Algorithm 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import comfy.model_base
import comfy.nested_tensor
import comfy.utils
import latent_preview
import numpy as np
import torch
import torchaudio
from torch import Tensor

from ....omnisync_core.audio import SAMPLE_RATE, Wave
from ....omnisync_core.engines.latents import Encoded, Held
from ....omnisync_core.engines.omniedit import edit, ltx_sigmas
from ....omnisync_core.engines.protocol import Excerpt, OnStep
from ....omnisync_core.errors import InputError
from ..trajectory import OmniEditGuider, OmniEditSampler, Run, pack, packed, unpacked
from .handle import check_kind, check_vae
from .omniedit import Handle, OmniEditEngine, Settings, with_values

CHANNELS, STRIDE, SIDE = 128, 8, 32
"""Channels of a latent; video frames and pixels of one of its places."""
LONGEST_SIDE_PRODUCT = 921_600
"""Pixels of a frame that the official code edits at most."""
REACH_SECONDS = 0.5
"""Sound encoded beyond what is used, so that its end is not the end of the sound."""
CHECKPOINT = "load ltx-2-19b-dev-fp8.safetensors (or another LTX-2 checkpoint) from models/checkpoints"


def check_ltx(model, vae, audio_vae) -> None:
    """Refuse what LTX-2 cannot work with, before anything is loaded or sampled. InputError."""
    check_kind(model, comfy.model_base.LTXAV, "LTX-2 audio-video", CHECKPOINT)
    check_vae(vae, "take LTX-2's own video VAE, the VAE output of its checkpoint", channels=CHANNELS, dimensions=3)
    if not hasattr(getattr(audio_vae, "first_stage_model", None), "num_of_latents_from_frames"):
        raise InputError(
            "LTX-2 needs its audio VAE; load it from the LTX-2 checkpoint with Load LTXV Audio VAE and connect it"
        )


@dataclass(frozen=True)
class LTXSettings(Settings):
    steps: int = 40
    start: int = 12
    end: int = 40
    cfg: float = 10.0
    crop_size: int = 512
    window_frames: int = 121
    overlap_frames: int = 17
    sizes: ClassVar[dict] = {"temporal_stride": STRIDE, "spatial_stride": SIDE, "latent_channels": CHANNELS}
    crop_step: ClassVar[int] = SIDE


@dataclass(frozen=True, eq=False)
class LTXHandle(Handle):
    def open(self) -> LTXEngine:
        return LTXEngine(self)


@dataclass(frozen=True, eq=False)
class Heard:
    """The sound of a window's frames, mono 16 kHz, with `REACH_SECONDS` more."""

    wave_S: np.ndarray
    fps: float


class LTXSpeech:
    """A sound by time, as it is: LTX-2 encodes it itself."""

    def __init__(self, wave: Wave):
        self.wave = wave

    def at(self, times_T: np.ndarray) -> Heard:
        steps = np.diff(times_T)
        steps = steps[steps != 0]
        step = float(np.median(steps)) if len(steps) else 1 / 25
        start, length = float(times_T[0]), abs(step) * len(times_T) + REACH_SECONDS
        if step < 0:
            return Heard(self.wave.read(start - length, start)[::-1].copy(), -1 / step)
        return Heard(self.wave.read(start, start + length), 1 / step)


class LTXEngine(OmniEditEngine):
    """Algorithm 1 on a window of crops; each branch hears its own clean sound."""

    name = "ltx"

    def speech(self, wave: Wave) -> LTXSpeech:
        return LTXSpeech(wave)

    def prepare(self, excerpt: Excerpt) -> Encoded:
        """With the branches' sounds as latents, and the frame rate."""
        sounds = self._sounds(excerpt.speech_TND, len(excerpt.frames_THWC))
        return Encoded(excerpt, self.encode(excerpt.frames_THWC), sounds)

    def sample(self, window: Encoded, held: Held | None, on_step: OnStep) -> Tensor:
        (sounds, fps), settings, excerpt = window.given, self.settings, window.excerpt
        sampler = CleanSoundSampler(settings.start, settings.end, settings.cfg, settings.noise, sounds, held)
        text = with_values(self.handle.text, {"frame_rate": fps})
        edited, _ = sample_pair(
            self.guider(text, text, excerpt.mouth_T3), sampler, (window.source_BCthw, sounds["target"]),
            settings.steps, excerpt.seed, self.callback(on_step), clean_sound=True,
        )  # fmt: skip
        return edited

    def _sounds(self, speech: Heard | tuple, frames: int) -> tuple[dict[str, Tensor], float]:
        heard, own = speech if isinstance(speech, tuple) else (speech, None)
        own = Heard(np.zeros_like(heard.wave_S), heard.fps) if own is None else own
        encoder, waves = self.handle.sound_encoder, {"target": heard.wave_S, "source": own.wave_S}
        return {
            name: encode_sound(encoder, torch.as_tensor(wave_S)[None, None], SAMPLE_RATE, frames, heard.fps)
            for name, wave_S in waves.items()
        }, heard.fps


class CleanSoundSampler(OmniEditSampler):
    """Algorithm 1 on the video of an audio-video latent; each branch hears its own clean sound."""

    def __init__(
        self, start: int, end: int, cfg: float, noise: str, sounds: dict[str, Tensor], held: Held | None = None
    ):
        super().__init__(start, end, cfg, noise, held)
        self.sounds = sounds

    def follow(self, guider: OmniEditGuider, run: Run, path: dict) -> Tensor:
        shapes = guider.inner_model.latent_shapes
        video, sound = comfy.utils.unpack_latents(run.source, shapes)
        sounds = {name: latent.to(video) for name, latent in self.sounds.items()}
        run.mask, on_step = None, run.callback
        if on_step is not None:
            run.callback = lambda step, clean, latent, steps: on_step(
                step, pack((clean, sound)), pack((latent, sound)), steps
            )

        def velocities(videos_N, sigma, names):
            heard_N = torch.stack([sounds[name] for name in names])
            return unpacked(run.branches(packed((videos_N, heard_N)), sigma, names), shapes)[0]

        cfg = guider.weights(self.cfg, video.shape, video.device)
        edited = edit(velocities, video, **path, cfg=cfg, on_step=run.holding(self._held(guider)))
        return pack((edited, sound))


def sample_pair(
    guider: OmniEditGuider,
    sampler: OmniEditSampler,
    pair: tuple[Tensor, Tensor],
    steps: int,
    seed: int,
    callback: Callable | None = None,
    clean_sound: bool = False,
) -> tuple[Tensor, Tensor]:
    """Sample a (video, audio) pair along LTX-2's schedule; with `clean_sound` the sound's timestep is 0."""
    nested = comfy.nested_tensor.NestedTensor
    mask = nested([torch.ones_like(pair[0][:, :1]), torch.zeros_like(pair[1][:, :1, :, :1])]) if clean_sound else None
    sigmas = torch.cat([ltx_sigmas(steps), torch.zeros(1)])
    result = guider.sample(
        nested([torch.zeros_like(stream) for stream in pair]), nested(list(pair)), sampler, sigmas,
        denoise_mask=mask, callback=callback, disable_pbar=True, seed=seed,
    )  # fmt: skip
    return tuple(result.unbind())


def encode_sound(audio_vae, waveform_BCS: Tensor, rate: int, frames: int, fps: float) -> Tensor:
    """Latent (1, 8, T_a, 16) of the sound of `frames` video frames; silence after its end."""
    count = audio_vae.first_stage_model.num_of_latents_from_frames(frames, fps)
    wanted = getattr(audio_vae, "audio_sample_rate", 44100)
    wave = torchaudio.functional.resample(waveform_BCS[:1, :2].float(), rate, wanted)
    length = max(wave.shape[-1], int((frames / fps + REACH_SECONDS) * wanted))
    length += -length % _step(audio_vae)
    wave = torch.nn.functional.pad(wave, (0, length - wave.shape[-1]))
    latent = audio_vae.encode(wave.movedim(1, -1))
    if latent.shape[2] < count:
        raise InputError(f"the audio VAE gave {latent.shape[2]} latents for {frames} frames at {fps}, not {count}")
    return latent[:, :, :count]


def _step(audio_vae) -> int:
    """Samples of which the host's VAE takes whole multiples: it cuts what is over off at *both* ends."""
    return int(getattr(audio_vae, "spacial_compression_encode", lambda: 1)())


def edit_video(
    models: tuple, frames_NHWC: Tensor, sound: dict | None, fps: float, texts: tuple, settings: LTXSettings, seed: int
) -> tuple[Tensor, dict]:  # fmt: skip
    """Pictures (N, H, W, 3) and AUDIO, edited from a source text to a target text (CONDITIONINGs (target, source))."""
    model, vae, audio_vae = models
    count = len(frames_NHWC)
    frames = padded(scaled(frames_NHWC))
    video = vae.encode(frames)
    silent = sound is None or not sound["waveform"].numel()  # a trimmed clip may begin behind its sound
    wave, rate = (torch.zeros(1, 2, 1), SAMPLE_RATE) if silent else (sound["waveform"], sound["sample_rate"])
    audio = encode_sound(audio_vae, wave, rate, len(frames), fps)
    guider = OmniEditGuider(model)
    guider.set_conds(*(with_values(text, {"frame_rate": fps}) for text in texts))
    guider.set_focus(settings.focus, None)
    sampler = OmniEditSampler(settings.start, settings.end, settings.cfg, settings.noise, silent_source=silent)
    preview = latent_preview.prepare_callback(model, settings.steps)
    edited, heard = sample_pair(guider, sampler, (video, audio), settings.steps, seed, preview)
    pictures = vae.decode(edited)[0][:count].float().cpu()
    rate = int(audio_vae.first_stage_model.output_sample_rate)
    waveform = audio_vae.decode(heard).movedim(-1, 1).float().cpu()[..., : round(count / fps * rate)]
    return pictures, {"waveform": waveform, "sample_rate": rate}


def check_length(frames: int, longest: int, fps: float) -> None:
    if frames > longest:
        raise InputError(
            f"the video has {frames} frames, {longest} are edited at once ({longest / fps:.1f} s); trim it, or raise "
            "max_frames if there is memory for it"
        )


def scaled(frames_NHWC: Tensor) -> Tensor:
    """Pictures at most as large as the official code edits them, sides a multiple of 32."""
    height, width = frames_NHWC.shape[1:3]
    scale = min(1.0, (LONGEST_SIDE_PRODUCT / (height * width)) ** 0.5)
    new = [max(SIDE, int(side * scale) // SIDE * SIDE) for side in (height, width)]
    if new == [height, width]:
        return frames_NHWC
    return comfy.utils.common_upscale(frames_NHWC.movedim(-1, 1), new[1], new[0], "bilinear", "disabled").movedim(1, -1)


def padded(frames_NHWC: Tensor) -> Tensor:
    """1 + 8k frames, the last one repeated."""
    missing = -(len(frames_NHWC) - 1) % STRIDE
    return torch.cat([frames_NHWC, frames_NHWC[-1:].expand(missing, -1, -1, -1)])
