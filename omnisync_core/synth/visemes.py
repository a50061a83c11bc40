"""Phonemes (IPA) to mouth parameters over time, with coarticulation by dominance."""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import ndimage

Mouth = tuple[float, float, float, float, float]
"""A number for each of `MOUTH_PARAMS`."""
Event = tuple[float, str | None]
"""When it begins, seconds, and its IPA; empty or None is silence."""
Segment = tuple[float, float, str | None]
"""Start, stop, letter; None is silence."""

MOUTH_PARAMS = ("opening", "width", "rounding", "teeth", "tongue")  # each 0..1; width .5 is neutral
REST = (0.0, 0.5, 0.0, 0.0, 0.0)
CURVE_RATE = 100

_WORK_RATE = 400
_KERNEL_SIGMA = 0.028  # about 66 ms at half height
_CLOSURE_SIGMA = 0.014
_LOUDNESS_WINDOW = 0.06
_LONGEST_CLOSURE = 0.12
_SHORTEST_CLOSURE = 0.035

_VOWELS = {  # opening, width, rounding, teeth, tongue
    "a": (0.95, 0.60, 0.00, 0.45, 0.10), "ɐ": (0.78, 0.55, 0.00, 0.40, 0.10), "æ": (0.90, 0.75, 0.00, 0.50, 0.10),
    "ɑ": (1.00, 0.45, 0.05, 0.40, 0.05), "ɒ": (0.85, 0.35, 0.35, 0.25, 0.05), "ʌ": (0.72, 0.50, 0.00, 0.35, 0.10),
    "ɛ": (0.65, 0.70, 0.00, 0.45, 0.15), "e": (0.48, 0.78, 0.00, 0.45, 0.20), "ɪ": (0.32, 0.75, 0.00, 0.45, 0.20),
    "i": (0.24, 0.95, 0.00, 0.50, 0.20), "ɨ": (0.27, 0.70, 0.00, 0.40, 0.20), "ɯ": (0.27, 0.60, 0.10, 0.30, 0.10),
    "y": (0.22, 0.12, 0.90, 0.10, 0.15), "ʏ": (0.30, 0.20, 0.80, 0.10, 0.15), "ø": (0.38, 0.20, 0.80, 0.10, 0.15),
    "œ": (0.52, 0.27, 0.70, 0.15, 0.15), "u": (0.20, 0.05, 1.00, 0.00, 0.05), "ʊ": (0.28, 0.20, 0.80, 0.05, 0.05),
    "ɵ": (0.36, 0.25, 0.70, 0.10, 0.10), "ʉ": (0.24, 0.12, 0.90, 0.05, 0.10), "o": (0.46, 0.12, 0.90, 0.05, 0.05),
    "ɔ": (0.66, 0.22, 0.70, 0.15, 0.05), "ɤ": (0.46, 0.45, 0.10, 0.30, 0.10), "ə": (0.40, 0.50, 0.05, 0.30, 0.10),
    "ɜ": (0.52, 0.50, 0.05, 0.30, 0.10), "ɘ": (0.42, 0.50, 0.05, 0.30, 0.10), "ɚ": (0.42, 0.42, 0.25, 0.25, 0.20),
    "ɝ": (0.48, 0.42, 0.25, 0.25, 0.20), "ᵻ": (0.30, 0.65, 0.00, 0.40, 0.20),
}  # fmt: skip
_CONSONANTS = {  # letters: target, dominance of (opening, width, rounding, teeth, tongue) against a vowel's 1
    "mpbɓ": ((0.00, 0.48, 0.10, 0.00, 0.00), (8.0, 0.5, 0.4, 5.0, 2.0)),
    "fvⱱ": ((0.10, 0.55, 0.05, 0.85, 0.00), (5.0, 0.8, 0.8, 4.0, 1.5)),
    "βɸʋ": ((0.12, 0.50, 0.15, 0.15, 0.00), (4.0, 0.5, 0.5, 1.5, 1.0)),
    "wʍɥ": ((0.14, 0.08, 0.95, 0.00, 0.00), (2.0, 2.0, 2.5, 1.5, 1.0)),
    "szʦʣ": ((0.14, 0.68, 0.00, 0.90, 0.15), (2.0, 0.8, 0.7, 2.5, 1.0)),
    "ʃʒɕʑʂʐ": ((0.18, 0.28, 0.60, 0.75, 0.10), (2.0, 1.3, 1.5, 2.0, 1.0)),
    "θð": ((0.20, 0.55, 0.00, 0.60, 0.95), (1.5, 0.5, 0.5, 1.5, 3.0)),
    "tdʈɖ": ((0.20, 0.55, 0.00, 0.55, 0.60), (1.2, 0.4, 0.3, 1.2, 1.5)),
    "nɳ": ((0.22, 0.55, 0.00, 0.45, 0.65), (1.2, 0.4, 0.3, 1.0, 1.5)),
    "lɫɭɬ": ((0.30, 0.52, 0.00, 0.40, 0.85), (0.9, 0.4, 0.3, 0.8, 2.0)),
    "rɾɽ": ((0.30, 0.50, 0.05, 0.40, 0.55), (0.8, 0.4, 0.3, 0.7, 1.2)),
    "ɹɻ": ((0.26, 0.35, 0.45, 0.25, 0.30), (1.0, 0.8, 0.9, 0.7, 0.8)),
    "jʝçʎɲcɟ": ((0.24, 0.80, 0.00, 0.45, 0.30), (1.0, 0.8, 0.6, 0.7, 0.7)),
    "kɡgxɣŋqɢχʁʀɴɰ": ((0.30, 0.50, 0.00, 0.25, 0.10), (0.6, 0.25, 0.2, 0.4, 0.6)),
    "hɦʔħʕ": ((0.35, 0.50, 0.00, 0.20, 0.05), (0.2, 0.15, 0.15, 0.2, 0.3)),
}
_VOWEL_DOMINANCE = (1.0, 1.0, 1.0, 1.0, 1.0)
_SILENCE_DOMINANCE = (1.5, 0.8, 1.0, 1.0, 1.0)
_DEFAULT = ((0.30, 0.50, 0.05, 0.30, 0.20), (0.5, 0.3, 0.3, 0.4, 0.5))
_PLOSIVES = frozenset("pbtdkɡgqɢcɟʈɖɓ")
_LIPS_CLOSED = frozenset("mpbɓ")
_MARKS = frozenset("ˈˌː-ʰʲʷˠᵝ'ˑ^~")
_CONSONANT_SHARE = 0.6


def mouth_curve(events: Sequence[Event], wave_S: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mouth parameters (M, 5) at `CURVE_RATE` over the wave, from [(start s, IPA; empty or None is silence), ...]."""
    duration = len(wave_S) / sample_rate
    count = int(np.ceil(duration * CURVE_RATE)) + 1
    fine = _WORK_RATE // CURVE_RATE
    energy_W = _energy(wave_S, sample_rate, count * fine)
    target_WP, weight_WP, closed_W, vowel_W = _paint(_segments(events, duration, energy_W), count * fine)

    sigma = _KERNEL_SIGMA * _WORK_RATE
    smooth_WP = ndimage.gaussian_filter1d(target_WP * weight_WP, sigma, axis=0, mode="nearest")
    smooth_WP /= ndimage.gaussian_filter1d(weight_WP, sigma, axis=0, mode="nearest")
    vowel_W = ndimage.gaussian_filter1d(vowel_W, sigma, mode="nearest")
    smooth_WP[:, 0] *= 1 + vowel_W * (0.75 + 0.35 * _loudness(energy_W) - 1)
    closed_W = ndimage.gaussian_filter1d(closed_W, _CLOSURE_SIGMA * _WORK_RATE, mode="nearest")
    smooth_WP[:, 0] *= 1 - np.clip(1.3 * closed_W, 0, 1)
    return smooth_WP[::fine].astype(np.float32)


def parts(name: str | None) -> tuple[str, ...]:
    """The letters of a phoneme that decide the mouth: ('a', 'ɪ') for 'ˈaɪ', () for silence."""
    return _parts(name or "")


def known(letter: str) -> bool:
    """Whether a letter has a mouth shape of its own (others get a neutral consonant)."""
    return letter in _VOWELS or letter in _SHAPES


@lru_cache(maxsize=4096)
def _parts(name: str) -> tuple[str, ...]:
    letters = []
    for symbol in name:
        base = symbol if symbol in _SHAPES else unicodedata.normalize("NFD", symbol)[0]
        if base not in _MARKS and not unicodedata.combining(base) and base.isalpha():
            letters.append(base)
    return tuple(letters)


def _segments(events: Sequence[Event], duration: float, energy_W: np.ndarray) -> list[Segment]:
    """[(start, stop, letter or None)] without gaps; a plosive takes its closure from what comes before."""
    starts: list[tuple[float, tuple[str, ...]]] = []
    for index, (start, name) in enumerate(events):
        letters = parts(name)
        before = starts[-1][0] if starts else 0.0
        if letters and letters[0] in _PLOSIVES and index and parts(events[index - 1][1]):
            start = max(start - _closure(energy_W, start, letters[0]), (before + start) / 2)
        starts.append((max(start, before), letters))
    segments: list[Segment] = [(0.0, starts[0][0] if starts else duration, None)]
    for (start, letters), (stop, _) in zip(starts, [*starts[1:], (duration, ())], strict=True):
        segments += _split(start, stop, letters)
    return segments


def _closure(energy_W: np.ndarray, start: float, letter: str) -> float:
    """Seconds of near silence before `start`: espeak-ng reports a plosive at its burst."""
    stop = int(start * _WORK_RATE)
    first = max(stop - int(_LONGEST_CLOSURE * _WORK_RATE), 0)
    window_W = energy_W[first:stop]
    if not len(window_W):
        return 0.0
    loud = np.flatnonzero(window_W > 0.2 * max(energy_W[first : stop + 40].max(), 1e-9))
    quiet = len(window_W) - 1 - (loud[-1] if len(loud) else 0)
    return max(quiet / _WORK_RATE, _SHORTEST_CLOSURE if letter in _LIPS_CLOSED else 0.0)


def _split(start: float, stop: float, letters: Sequence[str]) -> list[Segment]:
    if not letters:
        return [(start, stop, None)]
    shares = np.array([1.0 if letter in _VOWELS else _CONSONANT_SHARE for letter in letters])
    edges = start + (stop - start) * np.concatenate([[0.0], np.cumsum(shares) / shares.sum()])
    return list(zip(edges[:-1], edges[1:], letters, strict=True))


def _paint(segments: list[Segment], count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Targets (W, 5), dominances (W, 5), lips closed (W,) and vowel (W,) on the working grid."""
    target_WP = np.tile(np.array(REST), (count, 1))
    weight_WP = np.tile(np.array(_SILENCE_DOMINANCE), (count, 1))
    closed_W, vowel_W = np.zeros(count), np.zeros(count)
    for start, stop, letter in segments:
        if letter is None:
            continue
        span = slice(round(start * _WORK_RATE), max(round(stop * _WORK_RATE), round(start * _WORK_RATE) + 1))
        target_WP[span], weight_WP[span] = _shape(letter)
        closed_W[span] = letter in _LIPS_CLOSED
        vowel_W[span] = letter in _VOWELS
    return target_WP, weight_WP, closed_W, vowel_W


def _shape(letter: str) -> tuple[Mouth, Mouth]:
    if letter in _VOWELS:
        return _VOWELS[letter], _VOWEL_DOMINANCE
    return _SHAPES.get(letter, _DEFAULT)


def _energy(wave_S: np.ndarray, sample_rate: int, count: int) -> np.ndarray:
    """Root mean square in 10 ms around each point of the working grid."""
    half = sample_rate // 200
    total = np.concatenate([[0.0], np.cumsum(np.square(wave_S, dtype=np.float64))])
    middle_W = (np.arange(count) * sample_rate / _WORK_RATE).astype(int)
    first, last = (np.clip(middle_W + d, 0, len(wave_S)) for d in (-half, half))
    return np.sqrt(np.maximum(total[last] - total[first], 0) / (2 * half))


def _loudness(energy_W: np.ndarray) -> np.ndarray:
    """0..1.1 of the utterance's own loud level."""
    smooth_W = ndimage.gaussian_filter1d(energy_W, _LOUDNESS_WINDOW * _WORK_RATE / 2.35, mode="nearest")
    return np.clip(smooth_W / max(np.quantile(smooth_W, 0.95), 1e-9), 0, 1.1)


_SHAPES = {letter: shape for letters, shape in _CONSONANTS.items() for letter in letters}
