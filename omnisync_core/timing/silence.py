"""What happens to the mouth where nobody speaks."""

from __future__ import annotations

import numpy as np

from .. import audio
from ..audio import Wave

GRID_RATE = 100
"""Points per second at which a sound is judged."""
RAMP_SECONDS = 0.12
"""How fast the mouth comes to rest after the sound's end where it kept the source's pixels before."""


class Voice:
    """When somebody speaks in the first `until` seconds of a sound, which is read once, whole, in pieces."""

    def __init__(self, wave: Wave, until: float) -> None:
        self.wave, self.duration = wave, wave.duration
        points = int(np.ceil(min(wave.duration, until) * GRID_RATE)) + 2
        self._speaks = audio.speech_activity(wave, np.arange(points) / GRID_RATE)

    @property
    def is_silent(self) -> bool:
        return not self._speaks.any()

    def at(self, times: np.ndarray) -> np.ndarray:
        """0..1 at times in seconds; 0 outside the sound."""
        place = np.clip(times * GRID_RATE, 0, len(self._speaks) - 1)
        before = np.minimum(place.astype(int), len(self._speaks) - 2)
        share = (place - before).astype(np.float32)
        speaks = self._speaks[before] * (1 - share) + self._speaks[before + 1] * share
        return np.where((times >= 0) & (times < self.duration), speaks, np.float32(0))

    def kept(self, times_V: np.ndarray, *, rest_after: bool) -> np.ndarray:
        """Strength of an edit that leaves the source where nobody speaks (`rest_after`: not after the sound's end)."""
        speaks_V = self.at(times_V)
        if rest_after:
            return np.maximum(speaks_V, np.clip((times_V - self.duration) / RAMP_SECONDS, 0, 1).astype(np.float32))
        return speaks_V


class GatedWave:
    """A wave that is digital silence where nobody speaks: an engine closes the mouth there, whatever hums behind."""

    def __init__(self, voice: Voice) -> None:
        self.duration, self._voice = voice.duration, voice

    def read(self, start_s: float, stop_s: float) -> np.ndarray:
        wave_S = self._voice.wave.read(start_s, stop_s)
        return wave_S * self._voice.at(start_s + np.arange(len(wave_S)) / audio.SAMPLE_RATE)
