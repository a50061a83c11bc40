"""The mel picture that SyncNets of Wav2Lip's family hear: 80 columns a second, -4..4."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import fft, signal
from transformers.audio_utils import mel_filter_bank

from ...audio import SAMPLE_RATE

WINDOW, HOP, BINS = 800, 200, 80
FRAMES_PER_SECOND = SAMPLE_RATE // HOP
LOWEST, HIGHEST = 55.0, 7600.0
PRE_EMPHASIS = 0.97
QUIETEST_DB, REFERENCE_DB = -100.0, 20.0
LARGEST = 4.0


def sync_mel(wave_S: np.ndarray) -> np.ndarray:
    """(80, S // 200 + 1) float32 of mono sound at 16 kHz; beyond its ends there is silence."""
    emphasised_S = signal.lfilter([1, -PRE_EMPHASIS], [1], np.asarray(wave_S, np.float64))
    padded_S = np.pad(emphasised_S, WINDOW // 2)
    frames_FW = np.lib.stride_tricks.sliding_window_view(padded_S, WINDOW)[::HOP]
    size_FK = np.abs(fft.rfft(frames_FW * signal.get_window("hann", WINDOW), axis=-1))
    heard_MF = _bank().T @ size_FK.T
    db_MF = 20 * np.log10(np.maximum(heard_MF, 10 ** (QUIETEST_DB / 20))) - REFERENCE_DB
    scaled_MF = 2 * LARGEST * (db_MF - QUIETEST_DB) / -QUIETEST_DB - LARGEST
    return np.clip(scaled_MF, -LARGEST, LARGEST).astype(np.float32)


def window_of(mel_MF: np.ndarray, first_frame: int, fps: float, count: int) -> np.ndarray:
    """`count` columns from when video frame `first_frame` appears; fewer where the sound ends before."""
    start = int(FRAMES_PER_SECOND * first_frame / fps)
    return mel_MF[:, start : start + count]


@lru_cache(maxsize=1)
def _bank() -> np.ndarray:
    return mel_filter_bank(WINDOW // 2 + 1, BINS, LOWEST, HIGHEST, SAMPLE_RATE, norm="slaney", mel_scale="slaney")
