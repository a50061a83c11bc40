"""What X-Dub hears: the last states of Whisper large-v2 and of wav2vec2 base, eight for each latent frame.

Both encoders give 50 states a second. At 25 frames a second a frame hears two, 20 ms apart; a latent frame hears those
of the four video frames it holds, the first one (which holds a single frame) those of three more before it. At another
rate the two states of a frame lie at its own time and half a frame later, between the encoders' by linear
interpolation: the network sees a film of 25 frames a second whose sound runs as much slower or faster as its pictures.
Shapes: f latent frames, T = 1 + 4 (f - 1) video frames, N and M states, D their width, P = 8.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ...audio import SAMPLE_RATE, Wave
from ...models.whisper import STATES_PER_SECOND, SpeechFeatures, StatesShape, frame_seconds, with_neighbours
from ...models.whole_sound import WholeSound

HEARD = 8
"""Features of a latent frame."""
PER_FRAME = 2
"""Features of a video frame."""
BEFORE = 3
"""Video frames before a window that its first latent frame hears."""
WAV_STEP, WAV_REACH = SAMPLE_RATE // STATES_PER_SECOND, 400
"""Samples from one state of wav2vec2 to the next, and those that one sees."""
WAV_SECONDS = 60
"""Longest sound that wav2vec2 hears in one pass; of longer ones windows overlap by a third."""
WAV_EPS = 1e-7
QUIET_SECONDS, QUIET_CONTEXT = 2.0, 8.0
"""How silence is heard: that much of it after the end of the sound."""


def audio_windows(whisper: Tensor, wav2vec: Tensor, start: int, latent_frames: int) -> Tensor:
    """(f, 8, Dw + Dv): features of a window whose first video frame is `start`, at 25 frames a second.

    whisper (N, Dw), wav2vec (M, Dv): the last states of the sound. Each stream repeats its own first and last.
    """
    whisper, wav2vec = torch.as_tensor(whisper), torch.as_tensor(wav2vec)
    wanted = PER_FRAME * (start - BEFORE) + torch.arange(HEARD * latent_frames)
    streams = [states[wanted.clamp(0, len(states) - 1)] for states in (whisper, wav2vec)]
    return by_latent_frame(torch.cat(streams, 1).unflatten(0, (-1, PER_FRAME)))


def by_latent_frame(features_T2D: Tensor) -> Tensor:
    """Features of 3 + T video frames as those of latent frames (f, 8, D): each four frames after the other."""
    return features_T2D.flatten(0, 1).unflatten(0, (-1, HEARD))


class XDubSpeech:
    """A sound's features at any times.

    wav2vec(wave_S) gives the last states (M, Dv) of a normalised wave, M = (S - 80) // 320. Beyond the sound's end
    stands what both make of silence; up to it their last states repeat.
    """

    def __init__(self, whisper: WholeSound, wav2vec: Callable[[np.ndarray], np.ndarray], wave: Wave) -> None:
        self._end = wave.duration * STATES_PER_SECOND
        self._streams = WhisperStates(whisper), WavStates(wav2vec, wave)

    def at(self, times_T: np.ndarray) -> np.ndarray:
        """(3 + T, 2, Dw + Dv) float32 at frames' times in seconds: `audio_windows` before it is grouped."""
        step = frame_seconds(np.asarray(times_T, np.float64))
        offsets = np.arange(PER_FRAME) * step / PER_FRAME
        places = (with_neighbours(times_T, BEFORE, 0)[:, None] + offsets) * STATES_PER_SECOND
        return np.concatenate([self._heard(stream, places) for stream in self._streams], -1)

    def _heard(self, stream: WhisperStates | WavStates, places: np.ndarray) -> np.ndarray:
        """States at places (in states) of any shape."""
        inside = np.clip(places, 0, stream.count - 1)
        low = np.minimum(np.floor(inside + 1e-6).astype(np.int64), max(stream.count - 2, 0))
        share = np.clip(inside - low, 0, 1)[..., None].astype(np.float32)
        picked = stream.states(low) * (1 - share) + stream.states(np.minimum(low + 1, stream.count - 1)) * share
        silent = places >= self._end - 1e-6
        if silent.any():
            picked[silent] = stream.silence
        return picked


class WhisperStates:
    """The last states of a whole sound, without their axis of layers."""

    def __init__(self, sound: WholeSound) -> None:
        self._sound = sound

    @property
    def count(self) -> int:
        return self._sound.count

    @property
    def silence(self) -> np.ndarray:
        return self._sound.silence[0]

    def states(self, indices: np.ndarray) -> np.ndarray:
        return self._sound.states(indices)[..., 0, :]


class WavStates:
    """The states of wav2vec2 over a sound that is normalised as a whole, whatever its length."""

    def __init__(self, encode: Callable[[np.ndarray], np.ndarray], wave: Wave, seconds: int = WAV_SECONDS) -> None:
        self._encode, self._wave, self._seconds = encode, wave, seconds
        self._samples = max(round(wave.duration * SAMPLE_RATE), WAV_REACH)
        self.count = (self._samples - WAV_REACH) // WAV_STEP + 1

    def states(self, indices: np.ndarray) -> np.ndarray:
        """States 0..count - 1 by number, of any shape, as (*shape, D)."""
        if self.count <= self._seconds * STATES_PER_SECOND:
            return self._whole[indices]
        first = int(indices.min())
        return self._windows.states(first, int(indices.max()) + 1)[indices - first]

    @cached_property
    def silence(self) -> np.ndarray:
        """The state (D,) after a second of silence that follows on the sound's end."""
        context = min(round(QUIET_CONTEXT * SAMPLE_RATE), self._samples)
        quiet_S = np.zeros(round(QUIET_SECONDS * SAMPLE_RATE), np.float32)
        heard = self._normalised(self._read(self._samples - context, self._samples))
        states = self._encode(np.concatenate([heard, self._normalised(quiet_S)]))
        return states[(context + len(quiet_S) // 2) // WAV_STEP]

    @cached_property
    def _whole(self) -> np.ndarray:
        return self._encode(self._normalised(self._read(0, self._samples)))

    @cached_property
    def _windows(self) -> _WavWindows:
        width = self.silence.shape[-1]
        return _WavWindows(self._window, self._wave, width, self._seconds)

    def _window(self, start: int, count: int) -> np.ndarray:
        """`count` states from number `start` on; the sound's last one repeats."""
        stop = min(start + count, self.count)
        samples = self._read(start * WAV_STEP, (stop - 1) * WAV_STEP + WAV_REACH)
        states = self._encode(self._normalised(samples))
        return np.pad(states, ((0, start + count - stop), (0, 0)), mode="edge")

    def _read(self, first: int, last: int) -> np.ndarray:
        return self._wave.read(first / SAMPLE_RATE, last / SAMPLE_RATE)

    def _normalised(self, wave_S: np.ndarray) -> np.ndarray:
        mean, spread = self._moments
        return ((wave_S - mean) / spread).astype(np.float32)

    @cached_property
    def _moments(self) -> tuple[float, float]:
        """Mean and spread of the whole sound, which is read once, in pieces."""
        size = self._seconds * SAMPLE_RATE
        parts = (self._read(at, min(at + size, self._samples)) for at in range(0, self._samples, size))
        sums = np.array([(part.sum(dtype=np.float64), np.square(part, dtype=np.float64).sum()) for part in parts])
        mean, square = sums.sum(0) / self._samples
        return float(mean), float(np.sqrt(max(square - mean**2, 0) + WAV_EPS))


class _WavWindows(SpeechFeatures):
    """Blended windows of states; the last one, beyond the sound's end, repeats."""

    def __init__(self, encode: Callable[[int, int], np.ndarray], wave: Wave, width: int, seconds: int) -> None:
        super().__init__(StatesShape(width, seconds), wave, 1)
        self._encode = encode

    def _window(self, index: int) -> np.ndarray:
        if index not in self._windows:
            self.keep(index, self._encode(index * self.hop, self.length))
        self._windows.move_to_end(index)
        return self._windows[index]
