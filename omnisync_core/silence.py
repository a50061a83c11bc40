"""What happens to the mouth where nobody speaks."""

from __future__ import annotations

import numpy as np

from . import audio
from .audio import Wave

GRID_RATE = 100
"""Points per second at which a sound is judged."""
RAMP_SECONDS = 0.12
"""How fast the mouth comes to rest after the sound's end where it kept the source's pixels before."""


class Voice:
    """When somebody speaks in a sound. Reads it once, whole, in pieces."""

    def __init__(self, wave: Wave):
        self.wave, self.duration = wave, wave.duration
        self._grid = np.arange(int(np.ceil(wave.duration * GRID_RATE)) + 1) / GRID_RATE
        self._speaks = audio.speech_activity(wave, self._grid)

    @property
    def is_silent(self) -> bool:
        return not self._speaks.any()

    def at(self, times: np.ndarray) -> np.ndarray:
        """0..1 at times in seconds; 0 outside the sound."""
        return np.interp(times, self._grid, self._speaks, left=0, right=0).astype(np.float32)

    def kept(self, times_V: np.ndarray, *, rest_after: bool) -> np.ndarray:
        """Strength of an edit that leaves the source where nobody speaks (`rest_after`: not after the sound's end)."""
        speaks_V = self.at(times_V)
        if rest_after:
            return np.maximum(speaks_V, np.clip((times_V - self.duration) / RAMP_SECONDS, 0, 1).astype(np.float32))
        return speaks_V


class GatedWave:
    """A wave that is digital silence where nobody speaks: an engine closes the mouth there, whatever hums behind."""

    def __init__(self, voice: Voice):
        self.duration, self._voice = voice.duration, voice

    def read(self, start_s: float, stop_s: float) -> np.ndarray:
        wave_S = self._voice.wave.read(start_s, stop_s)
        return wave_S * self._voice.at(start_s + np.arange(len(wave_S)) / audio.SAMPLE_RATE)
