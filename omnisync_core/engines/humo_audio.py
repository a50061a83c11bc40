"""What HuMo hears: the states of Whisper large-v3 in five groups of layers, at the video's own rate, in windows.

Legend: L layers' states (33), G groups (5), D width of a state (1280), T states (50 a second) or video frames,
K latent frames: the first holds one video frame, each later one four.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..audio import ArrayWave, Wave
from ..errors import InputError
from ..models.whisper import STATES_PER_SECOND, SpeechFeatures, StatesShape, WhisperEncoder, with_neighbours

LAYERS, GROUPS, WIDTH = 33, 5, 1280
WINDOW = 8
"""Video frames that one latent frame hears."""
BESIDE = 2
"""Video frames that a latent frame hears before its own and after them."""
NOTHING = -(1 << 30)
"""A place of a window that is always zero."""
SAMPLES_PER_PAIR = 640
"""Samples of two states: the official code cuts a sound to whole pairs."""


def humo_audio(states_TGD: Tensor, samples: int, fps: float, frames: int) -> Tensor:
    """HuMo's `audio_embed` without its batch: (K, 8, 5, D) for `frames` video frames at `fps`, as OmniEdit's.

    `states_TGD` are the grouped states (see `group`) of a sound of `samples` at 16 kHz, of any length.
    """
    return humo_windows(at_rate(states_TGD[: samples // SAMPLES_PER_PAIR * 2], fps), frames)


def group(states_TLD: Tensor) -> Tensor:
    """(T, 33, D) -> (T, 5, D): means of layers 0-7, 8-15, 16-23, 24-31, and the last one."""
    if states_TLD.ndim != 3 or states_TLD.shape[1] != LAYERS:
        raise InputError(
            f"HuMo hears the {LAYERS} layers of Whisper large-v3, got states of shape {tuple(states_TLD.shape)}; "
            "load whisper_large_v3_fp16.safetensors"
        )
    return torch.stack([*(states_TLD[:, at : at + 8].mean(1) for at in range(0, 32, 8)), states_TLD[:, 32]], 1)


@torch.inference_mode()
def grouped_states(whisper: WhisperEncoder, wave_S: np.ndarray) -> np.ndarray:
    """`group` of 30 s of sound, (1500, 5, D): what `HuMoSpeech` asks for. InputError: no Whisper large-v3."""
    mel_BMF = torch.from_numpy(SpeechFeatures(whisper, ArrayWave(wave_S), 1).mel(0))[None]
    return group(torch.stack([layer[0] for layer in whisper.layers(mel_BMF)], 1)).numpy()


def at_rate(states_TGD: Tensor, fps: float) -> Tensor:
    """States at 50 a second brought to int(T / 50 * fps) video frames, first onto first and last onto last."""
    count, groups, width = states_TGD.shape
    length = int(count / STATES_PER_SECOND * fps)
    if not length:
        return states_TGD.new_zeros(0, groups, width)
    flat = states_TGD.reshape(count, -1).T[None]
    return F.interpolate(flat, size=length, mode="linear", align_corners=True)[0].T.reshape(length, groups, width)


def humo_windows(features_TGD: Tensor, frames: int, before: int = 0) -> Tensor:
    """(K, 8, G, D) for `frames` video frames (1 + 4k); zero where a window reaches beyond the features.

    Latent frame 0 hears three zeros and frames -2..2, latent frame k frames 4k - 5 .. 4k + 2. The first `before`
    features are those of frames before frame 0.
    """
    index = _window_index(frames) + before
    inside = (index >= 0) & (index < len(features_TGD))
    padded = torch.cat([features_TGD, features_TGD.new_zeros(1, *features_TGD.shape[1:])])
    return padded[torch.where(inside, index, len(features_TGD)).to(features_TGD.device)]


def _window_index(frames: int) -> Tensor:
    """Video frame heard at each place of each window, (K, 8)."""
    if frames < 1 or (frames - 1) % 4:
        raise InputError(f"HuMo edits 1 + 4k frames at a time, got {frames}")
    index = 4 * torch.arange((frames - 1) // 4 + 1)[:, None] - 5 + torch.arange(WINDOW)
    index[0] = torch.tensor([NOTHING, NOTHING, NOTHING, -2, -1, 0, 1, 2])
    return index


class HuMoSpeech(SpeechFeatures):
    """A sound of any length by time. `at` gives video frames' features with `BESIDE` more on either side of them.

    `encode(wave_S)` gives (1500, 5, D) for 30 s of sound (`group` of the encoder's states). Windows of 30 s overlap by
    a third and are blended, so that neither the encoder's limit nor a chunk's edge is heard.
    """

    def __init__(self, encode: Callable[[np.ndarray], np.ndarray], wave: Wave, width: int = WIDTH) -> None:
        super().__init__(StatesShape(GROUPS * width, 30), wave, GROUPS)
        self.encode = encode

    def at(self, times_T: np.ndarray) -> np.ndarray:
        """(2 + T + 2, 5, D) float32 at times in seconds, steadily forwards or back; zero outside the sound.

        The last times may repeat (a padded window).
        """
        times = with_neighbours(times_T, BESIDE, BESIDE)
        positions = np.clip(times, 0, self.wave.duration) * STATES_PER_SECOND
        low = np.floor(positions).astype(np.int64)
        states = self.states(low.min(), low.max() + 2)
        share = (positions - low)[:, None].astype(np.float32)
        low -= low.min()
        features = states[low] * (1 - share) + states[low + 1] * share
        features[(times < 0) | (times >= self.wave.duration)] = 0
        return features.reshape(len(times), GROUPS, -1)

    def _window(self, index: int) -> np.ndarray:
        if index not in self._windows:
            start = index * self.hop / STATES_PER_SECOND
            wave_S = self.wave.read(start, start + self.length / STATES_PER_SECOND)
            self.keep(index, self.encode(wave_S).reshape(self.length, -1))
        self._windows.move_to_end(index)
        return self._windows[index]
