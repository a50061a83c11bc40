"""Sound as the model hears it: mono, 16 kHz, in windows of time."""

from functools import lru_cache
from math import gcd

import numpy as np
from scipy import signal

from omnisync_core.errors import InputError

SAMPLE_RATE = 16000

_KAISER_BETA = 14.769656459379492
_ZERO_CROSSINGS = 64
_ROLLOFF = 0.9475937167399596


def resample(wave_CS: np.ndarray, source_rate: int, target_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Band-limited resampling along the last axis to `ceil(S * target / source)` samples; aliases below -100 dB."""
    if source_rate <= 0 or target_rate <= 0:
        raise InputError(f"a sample rate must be positive, got {source_rate} and {target_rate}")
    if source_rate == target_rate:
        return wave_CS
    up, down = _ratio(source_rate, target_rate)
    return signal.resample_poly(wave_CS, up, down, axis=-1, window=_filter(up, down)).astype(np.float32)


def _ratio(source_rate, target_rate):
    common = gcd(source_rate, target_rate)
    return target_rate // common, source_rate // common


@lru_cache(maxsize=8)
def _filter(up, down):
    """The windowed sinc on the grid `up` times finer than the source, 64 zero crossings to each side."""
    widest = max(up, down)
    length = 2 * int(_ZERO_CROSSINGS * widest / _ROLLOFF) + 1
    return signal.firwin(length, _ROLLOFF / widest, window=("kaiser", _KAISER_BETA))
