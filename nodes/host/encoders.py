"""The encoders of sound and of text as the host moves them.

Both are transformers' plain modules: they cannot be streamed in parts, so their patchers are the host's plain ones and
move them whole. Shapes: wave_S mono 16 kHz, mel_BMF, hidden states BLD (50 a second), speech_1TND.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import comfy.hooks
import comfy.model_management as memory
import comfy.sd
import numpy as np
import torch
from torch import Tensor, nn

from ...omnisync_core.audio import ArrayWave, Wave, resample
from ...omnisync_core.checkpoint import Bundle, load_strictly, tensor_digest
from ...omnisync_core.engines.humo_audio import GROUPS, LAYERS, HuMoSpeech, group
from ...omnisync_core.errors import InputError
from ...omnisync_core.models.text import LENGTH, TextEncoder
from ...omnisync_core.models.whisper import STATES_PER_SECOND, SpeechFeatures, WhisperEncoder, load_whisper
from ...omnisync_core.timing.silence import GatedWave, Voice
from .patchers import whole_patcher

SPEECH = "omnisync_speech"
"""Key of the speech (1, T, N, D), T video frames, in AUDIO_ENCODER_OUTPUT and CONDITIONING."""
LAYER_GROUPS = "omnisync_layer_groups"
"""Key of `engines.humo_audio.group` of a whole sound, (T, 5, D) at 50 Hz, in an AUDIO_ENCODER_OUTPUT."""
SPEECH_TOKENS = 4
"""Features a video frame where no bundle says otherwise."""
STACK_SECONDS = 30.0
"""The longest sound whose layers are all kept; they are 33 times the result of a large Whisper."""
HALF_FROM = 300e6
"""Parameters from which half precision is worth its error."""


class AudioEncoder:
    """An AUDIO_ENCODER of the host over a Whisper of any size, for sound of any length."""

    def __init__(self, network: WhisperEncoder, digest: str, tokens: int = SPEECH_TOKENS):
        device = memory.text_encoder_device()
        large = sum(value.numel() for value in network.parameters()) >= HALF_FROM
        self.dtype = torch.float16 if large and memory.should_use_fp16(device) else torch.float32
        self.model = network.to(self.dtype).eval().requires_grad_(False)
        self.model.digest = digest
        self.tokens = tokens
        self.model_sample_rate = 16000
        self.patcher = whole_patcher(self.model)

    @classmethod
    def of_bundle(cls, bundle: Bundle, tokens: int) -> AudioEncoder:
        network = WhisperEncoder(bundle.config["whisper"])
        return cls(bundle.load_into("whisper", network), tensor_digest(bundle.tensors["whisper"]), tokens)

    @classmethod
    def of_file(cls, path: str | Path) -> AudioEncoder:
        """A published Whisper, tiny to large-v3, in OpenAI's or transformers' naming. CheckpointError."""
        network = load_whisper(path)
        return cls(network, tensor_digest(network.state_dict()))

    @property
    def stack_seconds(self) -> float:
        """The longest sound whose layers are all given."""
        return min(STACK_SECONDS, self.model.window_seconds)

    @contextmanager
    def resident(self, module: nn.Module | None = None) -> Iterator[None]:
        """While this is entered the network lies where the host lets it run."""
        memory.load_models_gpu([self.patcher], force_full_load=True)
        yield

    def features(self, wave: Wave) -> SpeechFeatures:
        """Features of a sound by time, encoded window by window when asked for."""
        return SpeechFeatures(self.model, wave, self.tokens, self.resident)

    def encode_audio(self, audio: Tensor, sample_rate: int) -> dict:
        """What the host's own node asks for: waveform (B, C, S) -> its output's three keys, of the whole sound."""
        wave_S = audio[:1].float().reshape(-1, audio.shape[-1]).mean(0).cpu().numpy()
        return self.encode(ArrayWave(resample(wave_S, sample_rate)))

    def encode(self, wave: Wave) -> dict:
        """The host's AUDIO_ENCODER_OUTPUT at 50 Hz, windows blended; every layer only up to `STACK_SECONDS`."""
        features, samples = self.features(wave), round(wave.duration * self.model_sample_rate)
        if wave.duration <= self.stack_seconds:
            layers = self._layers(features)
            return {"encoded_audio": layers[-1], "encoded_audio_all_layers": layers, "audio_samples": samples}
        states = features.states(0, round(wave.duration * STATES_PER_SECOND))
        return {"encoded_audio": torch.from_numpy(states)[None], "audio_samples": samples, **self.grouped(wave)}

    def grouped(self, wave: Wave) -> dict:
        """What HuMo hears of a sound of any length, (T, 5, D) at 50 Hz, for `LAYER_GROUPS`; {} if this is no large."""
        if self.model.config["encoder_layers"] != LAYERS - 1:
            return {}

        def encode(wave_S: np.ndarray) -> np.ndarray:
            layers = self._layers(self.features(ArrayWave(wave_S)))
            return group(torch.stack([layer[0] for layer in layers], 1)).cpu().numpy()

        states = HuMoSpeech(encode, wave, self.model.width).states(0, round(wave.duration * STATES_PER_SECOND))
        samples = round(wave.duration * self.model_sample_rate)
        return {LAYER_GROUPS: torch.from_numpy(states).unflatten(1, (GROUPS, -1)), "audio_samples": samples}

    @torch.inference_mode()
    def _layers(self, features: SpeechFeatures) -> tuple[Tensor, ...]:
        """Every layer of the first window, (1, positions, D) each, as the host's encoder gives them."""
        mel_BMF = torch.from_numpy(features.mel(0))[None]
        with self.resident():
            weight = self.model.encoder.conv1.weight
            layers = self.model.layers(mel_BMF.to(weight.device, weight.dtype))
        return tuple(layer.float().to(memory.intermediate_device()) for layer in layers)


def encode_speech(
    encoder: AudioEncoder, wave: Wave, fps: float, frames: int = 0, strength: float = 1.0, offset: float = 0.0
) -> dict:
    """An AUDIO_ENCODER_OUTPUT with the speech of every video frame; `frames` 0 is as many as the sound is long.

    The host's own keys are there for a sound of one window: the host's models hear no longer one. Of a longer one,
    Whisper large-v3 gives `LAYER_GROUPS`, for HuMo Audio Conditioning.
    """
    if not isinstance(encoder, AudioEncoder):
        raise InputError("this audio encoder knows no video frames; use Load OmniSync Model or Load Whisper Encoder")
    frames = frames or max(1, round(wave.duration * fps))
    speech = strength * speech_of_frames(encoder, wave, fps, frames, offset)
    usual = encoder.encode(wave) if wave.duration <= encoder.stack_seconds else encoder.grouped(wave)
    return {**usual, SPEECH: speech, "fps": fps, "frame_count": frames}


def speech_of_frames(encoder: AudioEncoder, wave: Wave, fps: float, frames: int, offset: float = 0.0) -> Tensor:
    """Speech (1, T, N, D) of `frames` video frames, T the next 1 + 4k (the last frame's is repeated).

    `offset` in seconds lets the mouth move later (or earlier, below 0). Where nobody speaks the sound is heard as
    silence, so that the mouth closes: `SyncOptions.silence` "close".
    """
    wave = GatedWave(Voice(wave, frames / fps + abs(offset)))
    padded = 1 + -(-max(frames - 1, 0) // 4) * 4
    times_T = np.minimum(np.arange(padded), frames - 1) / fps - offset
    return torch.from_numpy(encoder.features(wave).at(times_T))[None]


def text_clip(bundle: Bundle) -> comfy.sd.CLIP:
    """A CLIP of the host over a bundle's text encoder."""
    network = HostText(bundle.config["text"])
    load_strictly(network, bundle.tensors["text"], f"{bundle.path} (text)")
    network.digest = tensor_digest(bundle.tensors["text"])
    clip = comfy.sd.CLIP(no_init=True)
    clip.cond_stage_model = network.eval().requires_grad_(False)
    clip.tokenizer = PlainTokenizer()
    clip.patcher = whole_patcher(network)
    clip.patcher.hook_mode, clip.patcher.is_clip = comfy.hooks.EnumHookMode.MinVram, True
    clip.layer_idx, clip.use_clip_schedule, clip.apply_hooks_to_conds = None, False, None
    clip.tokenizer_options = {}
    return clip


class PlainTokenizer:
    """The text itself as the host's tokens; the network cuts it into bytes."""

    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **_) -> dict[str, list[str]]:
        return {"omnisync": [text]}

    def state_dict(self) -> dict:
        return {}


class HostText(TextEncoder):
    """The core's text encoder with what the host's CLIP asks of a network."""

    def reset_clip_options(self) -> None:
        """It has none."""

    def set_clip_options(self, options: dict) -> None:
        """It has none."""

    @torch.inference_mode()
    def encode_token_weights(self, tokens: dict[str, list[str]]) -> tuple[Tensor, None]:
        """(text_BLD, no pooled output); an empty text is all zeros."""
        return self.encode(tokens["omnisync"], LENGTH).float().to(memory.intermediate_device()), None
