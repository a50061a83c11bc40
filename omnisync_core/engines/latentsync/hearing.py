"""What LatentSync hears: states of every layer of Whisper tiny around each video frame, of a sound of any length.

Shapes: N states (50 a second), K layers of states, D their width, T video frames.
"""

from __future__ import annotations

import numpy as np

from ...models.whisper import STATES_PER_SECOND
from ...models.whole_sound import WholeSound

BEFORE, AFTER = 4, 6
"""States before a frame's own and from it on: two video frames at 25 fps to each side."""


def window_indices(centres_T: np.ndarray, count: int) -> np.ndarray:
    """The states (T, 10) around each centre; the first and the last of `count` stand in for what lies beyond."""
    return np.clip(np.asarray(centres_T)[:, None] + np.arange(-BEFORE, AFTER), 0, count - 1)


def window_centres(times_T: np.ndarray) -> np.ndarray:
    """The state at each time (seconds): that of the last 20 ms begun. Same as counting frames at a fixed rate."""
    return np.floor(np.asarray(times_T, np.float64) * STATES_PER_SECOND + 1e-6).astype(np.int64)


def windows(features_NKD: np.ndarray, times_T: np.ndarray) -> np.ndarray:
    """Features (T, 10 K, D) at times in seconds: states in their order in time, each with its layers in turn."""
    picked = features_NKD[window_indices(window_centres(times_T), len(features_NKD))]
    return picked.reshape(len(picked), -1, features_NKD.shape[-1])


class LayeredSpeech(WholeSound):
    """Features of a sound at any times; see `windows`. Beyond its end stands what the encoder makes of silence."""

    def at(self, times_T: np.ndarray) -> np.ndarray:
        """(T, 10 K, D) float32."""
        centres_T = window_centres(times_T)
        picked = self.states(window_indices(centres_T, self.count))
        silent_T = centres_T - BEFORE >= self.count
        if silent_T.any():
            picked[silent_T] = self.silence
        return picked.reshape(len(picked), -1, picked.shape[-1])
