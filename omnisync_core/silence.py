"""What happens to the mouth where nobody speaks."""

from __future__ import annotations

import numpy as np

from . import audio
from .audio import Wave

RAMP_SECONDS = 0.12
"""How fast the mouth comes to rest after the sound's end where it kept the source's pixels before."""
GRID_RATE = 100
"""Points per second at which a sound is judged."""


class GatedWave:
    """A wave that is digital silence where nobody speaks: an engine closes the mouth there, whatever hums behind."""

    def __init__(self, wave: Wave):
        self.duration = wave.duration
        self._wave = wave
        self._grid = np.arange(int(np.ceil(wave.duration * GRID_RATE)) + 1) / GRID_RATE
        self._speaks = audio.speech_activity(wave, self._grid)

    def read(self, start_s: float, stop_s: float) -> np.ndarray:
        wave_S = self._wave.read(start_s, stop_s)
        times_S = start_s + np.arange(len(wave_S)) / audio.SAMPLE_RATE
        return wave_S * np.interp(times_S, self._grid, self._speaks, left=0, right=0).astype(np.float32)


def keep(wave: Wave, sound_V: np.ndarray, *, rest_after: bool) -> np.ndarray:
    """Strength 0..1 of the edit at times of the sound: 0 where nobody speaks, so that the source's pixels stay.

    `rest_after`: after the sound's end the edit comes back (the mouth rests in silence).
    """
    speaks_V = audio.speech_activity(wave, sound_V)
    if rest_after:
        speaks_V = np.maximum(speaks_V, np.clip((sound_V - wave.duration) / RAMP_SECONDS, 0, 1))
    return speaks_V.astype(np.float32)
