"""Sound as the model hears it: mono, 16 kHz, in windows of time; its log-mel picture; when somebody speaks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from math import ceil, gcd
from os import PathLike
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy import fft, ndimage, signal

from .errors import InputError, NoSoundError
from .media import open_audio, read_audio, write_samples

SAMPLE_RATE = 16000
MEL_WINDOW, MEL_HOP = 400, 160

_KAISER_BETA = 14.769656459379492
_ZERO_CROSSINGS = 64
_ROLLOFF = 0.9475937167399596
_LARGEST_RATIO = 100_000  # the filter between rates grows with it
_BLOCK_SECONDS = 10  # whole seconds, so that a block is a whole number of samples at every rate
_BLOCKS_KEPT = 6

_MEL_DYNAMIC_RANGE = 8.0  # decades below the window's loudest point

_GATE_HOP = SAMPLE_RATE // 100
_GATE_FLOOR_DB = -65.0
_GATE_OPENS, _GATE_CLOSES = 0.45, 0.30  # of the way from the noise's level to the speech's
_GATE_DEPTH_DB = 30.0  # never further below the speech's level than this
_STEADY_DB = 6.0  # a sound that varies by less has no pauses
_LOUDEST_FRAMES = 20
_SHORTEST_FRAMES = 4
_LEAD_FRAMES, _HANGOVER_FRAMES = 3, 15
_EDGE_FRAMES = 4

_LOUDNESS_SECONDS = 0.08


class Wave(Protocol):
    """Mono sound at `SAMPLE_RATE`, read by time."""

    @property
    def duration(self) -> float: ...

    def read(self, start_s: float, stop_s: float) -> np.ndarray: ...


class ArrayWave:
    """A `Wave` over samples in memory (S,) at 16 kHz."""

    def __init__(self, wave_S: np.ndarray) -> None:
        wave_S = np.asarray(wave_S, np.float32)
        if wave_S.ndim != 1 or not len(wave_S):
            raise InputError(f"sound must be mono samples (S,) and not empty, got shape {wave_S.shape}")
        _refuse_nan(wave_S, "the sound")
        self._wave_S = wave_S

    @property
    def duration(self) -> float:
        return len(self._wave_S) / SAMPLE_RATE

    def read(self, start_s: float, stop_s: float) -> np.ndarray:
        """`round((stop - start) * 16000)` samples from `start_s`; zeros outside the sound."""
        first, count = _span(start_s, stop_s)
        window_S = np.zeros(count, np.float32)
        inner = slice(max(first, 0), max(min(first + count, len(self._wave_S)), max(first, 0)))
        window_S[inner.start - first : inner.stop - first] = self._wave_S[inner]
        return window_S


class SpeechWave:
    """A `Wave` over a sound file, streamed: memory does not grow with its length. Channels are averaged.

    Samples are the same whatever is read in whatever order. Reading on, or up to 50 s back, is quick; further back the
    file is decoded again from its start. Of a file that is longer than `until` seconds only those are there: nobody
    waits for ten hours of sound under a minute of video. InputError: no such file, no sound, empty, NaN.
    """

    def __init__(self, path: str | PathLike, until: float | None = None) -> None:
        self._path = Path(path)
        info = open_audio(self._path, until)
        self.goes_on = info.goes_on
        self._rate = info.rate
        self._count = ceil(round(info.duration * info.rate) * SAMPLE_RATE / info.rate)
        if info.codec.startswith("pcm_f"):  # the one kind that can hold NaN: found now, not after an hour's work
            for block_CS in read_audio(self._path):
                _refuse_nan(block_CS, str(path))
        self._rewind()

    @property
    def duration(self) -> float:
        return self._count / SAMPLE_RATE

    def read(self, start_s: float, stop_s: float) -> np.ndarray:
        """`round((stop - start) * 16000)` samples from `start_s`; zeros outside the sound."""
        first, count = _span(start_s, stop_s)
        window_S = np.zeros(count, np.float32)
        size = _BLOCK_SECONDS * SAMPLE_RATE
        start, stop = max(first, 0), min(first + count, self._count)
        while start < stop:
            number, offset = divmod(start, size)
            part_S = self._block(number)[offset : offset + stop - start]
            window_S[start - first : start - first + len(part_S)] = part_S
            start += len(part_S)
        return window_S

    def _rewind(self) -> None:
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._next = 0
        self._source = _MonoSource(self._path, self._rate)

    def _block(self, number: int) -> np.ndarray:
        if number not in self._kept and number < self._next:
            self._rewind()
        while number not in self._kept:
            self._kept[self._next] = self._source.next_block()
            self._next += 1
            if len(self._kept) > _BLOCKS_KEPT:
                self._kept.popitem(last=False)
        return self._kept[number]


def own_sound(path: str | Path) -> SpeechWave | None:
    """The sound of a video; None where it has no track or an empty one: both are silent."""
    try:
        return SpeechWave(path)
    except NoSoundError:
        return None


def loudness(wave: Wave, times_N: np.ndarray) -> np.ndarray:
    """Levels (N,) in dB of full scale around times in seconds; -100 in silence and outside the sound."""
    middle_N = np.asarray(times_N, np.float64)
    reach = _LOUDNESS_SECONDS / 2
    power_N = [float(np.square(wave.read(time - reach, time + reach)).mean()) for time in middle_N]
    return 10 * np.log10(np.array(power_N) + 1e-10)


def mixed(sounds: Sequence[tuple[np.ndarray, int]]) -> tuple[np.ndarray, int]:
    """Sounds (C, S) played together, at the highest of their rates; turned down as a whole where that is too loud."""
    rate = max(rate for _, rate in sounds)
    waves = [resample(wave_CS, own, rate) for wave_CS, own in sounds]
    mix_CS = np.zeros((max(map(len, waves)), max(wave.shape[1] for wave in waves)), np.float32)
    for wave_CS in waves:
        same = len(wave_CS) in (1, len(mix_CS))
        mix_CS[:, : wave_CS.shape[1]] += wave_CS if same else wave_CS.mean(0, keepdims=True)
    return mix_CS / max(1.0, float(np.abs(mix_CS).max())), rate


def mix_files(paths: Sequence[Path], output: Path) -> Path:
    """Write sound files as one, `mixed`; held in memory whole. InputError: one of them has no sound."""
    sounds = [(np.concatenate(list(read_audio(path)), axis=1), open_audio(path).rate) for path in paths]
    mix_CS, rate = mixed(sounds)
    write_samples(output, mix_CS, rate)
    return output


def resample(wave_CS: np.ndarray, source_rate: int, target_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Band-limited resampling along the last axis to `ceil(S * target / source)` samples; aliases below -100 dB."""
    if source_rate <= 0 or target_rate <= 0:
        raise InputError(f"a sample rate must be positive, got {source_rate} and {target_rate}")
    if source_rate == target_rate:
        return np.asarray(wave_CS, np.float32)
    up, down = _ratio(source_rate, target_rate)
    wave_CS = np.asarray(wave_CS, np.float64)
    return signal.resample_poly(wave_CS, up, down, axis=-1, window=_filter(up, down)).astype(np.float32)


def log_mel(wave_S: np.ndarray, n_mels: int = 80) -> np.ndarray:
    """Whisper's log-mel picture (..., n_mels, S / 160) of a window (..., S) at 16 kHz.

    As Whisper's own extractor does, values are cut 8 decades below the window's loudest point, so a window's picture
    depends on the whole window.
    """
    wave_S = np.asarray(wave_S, np.float64)
    if not wave_S.shape[-1] or wave_S.shape[-1] % MEL_HOP:
        raise InputError(f"a log-mel window must be a multiple of {MEL_HOP} samples, got {wave_S.shape[-1]}")
    edges = [(0, 0)] * (wave_S.ndim - 1) + [(MEL_WINDOW // 2, MEL_WINDOW // 2)]
    mel_MF = mel_levels(np.pad(wave_S, edges, mode="reflect"), n_mels)[..., :-1]
    return normalised_mel(mel_MF, mel_MF.max((-1, -2), keepdims=True))


def mel_levels(wave_S: np.ndarray, n_mels: int = 80) -> np.ndarray:
    """log10 of mel powers (..., n_mels, F): all windows of 400 samples, 160 apart, that lie wholly in (..., S)."""
    wave_S = np.asarray(wave_S, np.float64)
    frames_FW = np.lib.stride_tricks.sliding_window_view(wave_S, MEL_WINDOW, axis=-1)[..., ::MEL_HOP, :]
    spectrum_FK = fft.rfft(frames_FW * signal.get_window("hann", MEL_WINDOW), axis=-1)
    power_FK = spectrum_FK.real**2 + spectrum_FK.imag**2
    return np.log10(np.maximum(_mel_bank(n_mels) @ np.swapaxes(power_FK, -1, -2), 1e-10))


def normalised_mel(levels_MF: np.ndarray, loudest: float | np.ndarray) -> np.ndarray:
    """Mel levels as Whisper takes them, float32: cut 8 decades below `loudest`."""
    return ((np.maximum(levels_MF, loudest - _MEL_DYNAMIC_RANGE) + 4.0) / 4.0).astype(np.float32)


def speech_activity(wave: Wave, times_N: np.ndarray) -> np.ndarray:
    """How much somebody is speaking (N,), 0..1, at times in seconds: an energy gate over the whole sound.

    Levels are the sound's own: a quiet recording and one over steady noise are both gated. Pauses under 0.15 s stay
    inside speech, edges take 40 ms. A sound without pauses is active throughout; silence and times outside give 0.
    """
    level_F = _levels(wave)
    gate_F = _edges(_gate(level_F))
    middle_F = (np.arange(len(gate_F)) + 0.5) * _GATE_HOP / SAMPLE_RATE
    times_N = np.asarray(times_N, np.float64)
    activity_N = np.interp(times_N, middle_F, gate_F)
    return np.where((times_N >= 0) & (times_N < wave.duration), activity_N, 0).astype(np.float32)


class _MonoSource:
    """Consecutive 10 s blocks at 16 kHz, each resampled with the context its filter needs."""

    def __init__(self, path: str | Path, rate: int) -> None:
        self._path, self._rate = path, rate
        self._parts = read_audio(path)
        self._up, self._down = _ratio(rate, SAMPLE_RATE)
        reach = len(_filter(self._up, self._down)) // 2 // self._up + 1 if rate != SAMPLE_RATE else 0
        self._context = ceil(reach / self._down) * self._down  # so that a block starts on the filter's phase 0
        self._pending = [np.zeros(self._context, np.float32)]

    def next_block(self) -> np.ndarray:
        step = _BLOCK_SECONDS * self._rate
        source_S = self._take(step + 2 * self._context)
        self._pending = [source_S[step:]]
        block_S = resample(source_S, self._rate)
        skip = self._context * self._up // self._down
        return block_S[skip : skip + _BLOCK_SECONDS * SAMPLE_RATE]

    def _take(self, count: int) -> np.ndarray:
        """`count` samples from the pending ones on, with zeros after the end; keeps what was decoded beyond them."""
        held = sum(map(len, self._pending))
        while held < count:
            block_CS = next(self._parts, None)
            if block_CS is None:
                self._pending.append(np.zeros(count - held, np.float32))
                break
            _refuse_nan(block_CS, str(self._path))
            self._pending.append(block_CS.mean(0))
            held += block_CS.shape[1]
        return np.concatenate(self._pending)


def _span(start_s: float, stop_s: float) -> tuple[int, int]:
    return round(start_s * SAMPLE_RATE), max(round((stop_s - start_s) * SAMPLE_RATE), 0)


def _refuse_nan(samples: np.ndarray, name: str) -> None:
    if not np.isfinite(samples).all():
        raise InputError(f"{name} holds samples that are no numbers (NaN or infinite); save it again as 16-bit sound")


def _ratio(source_rate: int, target_rate: int) -> tuple[int, int]:
    common = gcd(source_rate, target_rate)
    up, down = target_rate // common, source_rate // common
    if max(up, down) > _LARGEST_RATIO:
        raise InputError(f"sound of {source_rate} samples a second cannot be heard at {target_rate}; save it at 48000")
    return up, down


@lru_cache(maxsize=8)
def _filter(up: int, down: int) -> np.ndarray:
    """The windowed sinc on the grid `up` times finer than the source, 64 zero crossings to each side."""
    widest = max(up, down)
    length = 2 * int(_ZERO_CROSSINGS * widest / _ROLLOFF) + 1
    return signal.firwin(length, _ROLLOFF / widest, window=("kaiser", _KAISER_BETA))


@lru_cache(maxsize=4)
def _mel_bank(n_mels: int) -> np.ndarray:
    """Whisper's triangular filters (n_mels, 201): Slaney's scale and norm, 0 to 8 kHz."""
    hertz_K = np.linspace(0, SAMPLE_RATE / 2, MEL_WINDOW // 2 + 1)
    corner_M = _mel_to_hertz(np.linspace(0, _hertz_to_mel(SAMPLE_RATE / 2), n_mels + 2))
    width_M = np.diff(corner_M)
    slope_MK = corner_M[:, None] - hertz_K
    rising_MK, falling_MK = -slope_MK[:-2] / width_M[:-1, None], slope_MK[2:] / width_M[1:, None]
    triangle_MK = np.maximum(0, np.minimum(rising_MK, falling_MK))
    return triangle_MK * (2 / (corner_M[2:] - corner_M[:-2]))[:, None]


def _hertz_to_mel(hertz: float | np.ndarray) -> np.ndarray:
    return 15 + np.log(hertz / 1000) * 27 / np.log(6.4)  # above 1 kHz, where the top corner lies


def _mel_to_hertz(mel: float | np.ndarray) -> np.ndarray:
    return np.where(mel < 15, 200 * mel / 3, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))


def _levels(wave: Wave) -> np.ndarray:
    """Level (F,) of every 10 ms in dB of full scale, smoothed against clicks."""
    parts = []
    for start in np.arange(0, wave.duration, _BLOCK_SECONDS):
        frames_FS = wave.read(start, min(start + _BLOCK_SECONDS, wave.duration))
        frames_FS = np.pad(frames_FS, (0, -len(frames_FS) % _GATE_HOP)).reshape(-1, _GATE_HOP)
        parts.append(np.square(frames_FS).mean(1))
    power_F = np.concatenate(parts)
    return 10 * np.log10(ndimage.median_filter(power_F, 3, mode="nearest") + 1e-10)


def _gate(level_F: np.ndarray) -> np.ndarray:
    """Which frames are speech: hysteresis between two levels, bursts dropped, then lead and hangover."""
    opens, closes = _thresholds(level_F)
    above_F, strong_F = level_F > closes, level_F > opens
    run_F, runs = ndimage.label(above_F)
    if not runs:
        return np.zeros(len(level_F), bool)
    numbers = np.arange(1, runs + 1)
    has_strong = ndimage.maximum(strong_F, run_F, numbers).astype(bool)
    length = ndimage.sum_labels(above_F, run_F, numbers)
    gate_F = np.concatenate([[False], has_strong & (length >= _SHORTEST_FRAMES)])[run_F]
    held_F = np.convolve(gate_F, np.ones(_LEAD_FRAMES + 1 + _HANGOVER_FRAMES)) > 0.5
    return held_F[_LEAD_FRAMES : _LEAD_FRAMES + len(level_F)]


def _thresholds(level_F: np.ndarray) -> tuple[float, float]:
    """Levels in dB at which the gate opens and closes, from the sound's own noise and speech."""
    loudest = float(np.sort(level_F)[-min(_LOUDEST_FRAMES, len(level_F))])
    if loudest < _GATE_FLOOR_DB:
        return np.inf, np.inf
    noise = float(np.quantile(level_F, 0.1))
    rough = max(noise + _GATE_CLOSES * (loudest - noise), _GATE_FLOOR_DB)
    speech = float(np.quantile(level_F[level_F >= min(rough, loudest)], 0.75))
    deep = max(speech - _GATE_DEPTH_DB, _GATE_FLOOR_DB)
    if speech - noise < _STEADY_DB:
        return deep, deep - 4
    return max(noise + _GATE_OPENS * (speech - noise), deep), max(noise + _GATE_CLOSES * (speech - noise), deep - 4)


def _edges(gate_F: np.ndarray) -> np.ndarray:
    """The gate with 40 ms ramps."""
    return ndimage.uniform_filter1d(gate_F.astype(np.float64), _EDGE_FRAMES, mode="nearest")
