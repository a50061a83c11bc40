"""Resampling, streamed sound, Whisper's log-mel and the speech gate, each against a truth of its own."""

import tracemalloc
import wave as wav

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal
from scipy.io import wavfile

from omnisync_core import audio
from omnisync_core.errors import InputError

RATE = audio.SAMPLE_RATE


def _tone(hertz, rate, seconds, phase=0.3):
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate + phase)


def _decibel(samples):
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    return 20 * np.log10(np.sqrt(2 * np.mean(np.square(middle, dtype=np.float64))) + 1e-15)


def _write_wav(path, wave_CS, rate):
    with wav.open(str(path), "wb") as file:
        file.setnchannels(len(wave_CS))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(wave_CS.T * 32767).astype("<i2").tobytes())
    return path


def _write_float_wav(path, wave_S, rate):
    wavfile.write(path, rate, wave_S.astype(np.float32))
    return path


@pytest.mark.parametrize("rate", [44100, 48000, 22050, 96000])
@pytest.mark.parametrize("hertz", [1000, 3000, 7000])
def test_the_passband_is_kept(rate, hertz):
    found = audio.resample(_tone(hertz, rate, 1), rate)
    assert _decibel(found - _tone(hertz, RATE, 1)[: len(found)]) < -100


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
@pytest.mark.parametrize("hertz", [8500, 9000, 12000])
def test_aliases_are_below_100_db(rate, hertz):
    assert _decibel(audio.resample(_tone(hertz, rate, 1), rate)) < -100


def test_upsampling_8_khz_makes_no_images():
    found = audio.resample(_tone(1000, 8000, 1), 8000)
    assert len(found) == RATE
    assert _decibel(found - _tone(1000, RATE, 1)) < -100


def test_channels_are_resampled_alike_and_the_same_rate_is_untouched():
    both = np.stack([_tone(440, 44100, 0.5), _tone(880, 44100, 0.5)])
    found = audio.resample(both, 44100)
    assert found.dtype == np.float32
    assert found.shape == (2, 8000)
    np.testing.assert_array_equal(found[1], audio.resample(both[1], 44100))
    same = both.astype(np.float32)
    np.testing.assert_array_equal(audio.resample(same, RATE), same)
    with pytest.raises(InputError, match="rate"):
        audio.resample(same, 0)


@pytest.fixture(scope="module")
def stereo(tmp_path_factory):
    rng = np.random.default_rng(1)
    wave_CS = 0.2 * signal.lfilter([1], [1, -0.9], rng.standard_normal((2, int(83.21 * 44100))), axis=-1)
    path = tmp_path_factory.mktemp("sound") / "stereo.wav"
    return _write_wav(path, np.clip(wave_CS, -1, 1), 44100), np.clip(wave_CS, -1, 1)


def test_streamed_is_whole_and_mono_is_the_mean(stereo):
    path, wave_CS = stereo
    wave = audio.SpeechWave(path)
    whole_S = audio.resample(np.rint(wave_CS * 32767).mean(0) / 32768, 44100)
    assert wave.duration == len(whole_S) / RATE
    np.testing.assert_allclose(wave.read(0, wave.duration), whole_S, atol=1e-6)


def test_the_samples_do_not_depend_on_the_reads(stereo):
    path, _ = stereo
    whole_S = audio.SpeechWave(path).read(0, 84)
    assert not whole_S[int(83.22 * RATE) :].any()
    wave = audio.SpeechWave(path)
    rng = np.random.default_rng(0)
    for start, length in [(82, 3), (0, 1), (75, 0.01), (9.9, 30.2), *rng.uniform((0, 0), (80, 3), (6, 2))]:
        window_S = wave.read(start, start + length)
        first = round(start * RATE)
        expected_S = whole_S[first : first + len(window_S)]
        assert len(window_S) == round((start + length - start) * RATE)
        np.testing.assert_array_equal(window_S[: len(expected_S)], expected_S)
        assert not window_S[len(expected_S) :].any()


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 32000, 48000, 44101])
def test_every_rate_streams_as_the_whole(tmp_path, rate):
    wave_CS = 0.5 * np.random.default_rng(rate).uniform(-1, 1, (6, int(10.7 * rate)))
    wave = audio.SpeechWave(_write_wav(tmp_path / "w.wav", wave_CS, rate))
    whole_S = audio.resample(np.rint(wave_CS * 32767).mean(0) / 32768, rate)
    np.testing.assert_allclose(wave.read(0, wave.duration), whole_S, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.floats(-3, 8), st.floats(0, 5))
def test_an_array_wave_reads_zeros_outside(start, length):
    samples_S = np.arange(1, 4 * RATE + 1, dtype=np.float32)
    window_S = audio.ArrayWave(samples_S).read(start, start + length)
    padded_S = np.concatenate([np.zeros(4 * RATE), samples_S, np.zeros(16 * RATE)])
    first = round(start * RATE) + 4 * RATE
    np.testing.assert_array_equal(window_S, padded_S[first : first + len(window_S)])


def _peak_bytes(work):
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_long_sound_costs_no_more_memory_than_short(tmp_path):
    minute = np.random.default_rng(0).integers(-9000, 9000, 60 * 22050, np.int16).tobytes()
    read_peaks, gate_peaks = [], []
    for name, minutes in (("short.wav", 2), ("long.wav", 12)):
        with wav.open(str(tmp_path / name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(22050)
            for _ in range(minutes):
                file.writeframes(minute)
        wave = audio.SpeechWave(tmp_path / name)
        starts = range(0, 60 * minutes, 20)
        read_peaks.append(_peak_bytes(lambda w=wave, s=starts: [audio.log_mel(w.read(t, t + 30)).mean() for t in s]))
        gate_peaks.append(_peak_bytes(lambda w=wave: audio.speech_activity(w, np.arange(9))))
    assert read_peaks[1] < 1.05 * read_peaks[0]
    assert gate_peaks[1] - gate_peaks[0] < 600 * 100 * 50  # 50 bytes for each 10 ms


def test_nan_and_no_sound_are_refused(tmp_path):
    samples_S = np.zeros(RATE)
    samples_S[7000] = np.nan
    with pytest.raises(InputError, match=r"n\.wav holds samples that are no numbers"):
        audio.SpeechWave(_write_float_wav(tmp_path / "n.wav", samples_S, RATE))
    with pytest.raises(InputError, match="no numbers"):
        audio.ArrayWave(samples_S)
    with pytest.raises(InputError, match="empty"):
        audio.ArrayWave(np.zeros(0))
    with pytest.raises(InputError):
        audio.SpeechWave(tmp_path / "absent.wav")
    with pytest.raises(InputError):
        audio.SpeechWave(_write_wav(tmp_path / "empty.wav", np.zeros((1, 0)), RATE))


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("seconds", [30, 2.5, 0.05])
def test_log_mel_equals_whispers_extractor(n_mels, seconds):
    extractor_of = pytest.importorskip("transformers").WhisperFeatureExtractor
    rng = np.random.default_rng(3)
    count = int(seconds * RATE)
    wave_S = (0.1 * rng.standard_normal(count) * np.linspace(0, 1, count)).astype(np.float32)
    extractor = extractor_of(feature_size=n_mels)
    expected_MF = extractor(wave_S, sampling_rate=RATE, padding="longest", truncation=False)["input_features"][0]
    found_MF = audio.log_mel(wave_S, n_mels)
    assert found_MF.shape == (n_mels, len(wave_S) // 160)
    assert found_MF.dtype == np.float32
    np.testing.assert_allclose(found_MF, expected_MF, atol=1e-4)


def test_log_mel_takes_batches_and_refuses_odd_lengths():
    waves_BS = np.random.default_rng(0).standard_normal((3, 1600))
    np.testing.assert_allclose(audio.log_mel(waves_BS)[1], audio.log_mel(waves_BS[1]), atol=1e-6)
    assert np.isfinite(audio.log_mel(np.zeros(1600))).all()
    with pytest.raises(InputError, match="multiple of 160"):
        audio.log_mel(np.zeros(1000))


def _tone_silence_tone(noise, gain=0.3):
    """Tone in 0.5..1.5 and 2.5..3.5 of 4 s."""
    wave_S = noise * np.random.default_rng(0).standard_normal(4 * RATE)
    for start in (0.5, 2.5):
        span = slice(int(start * RATE), int((start + 1) * RATE))
        wave_S[span] += gain * _tone(300, RATE, 1)
    return wave_S


@pytest.mark.parametrize(("noise", "gain"), [(0, 0.3), (0, 0.01), (0.003, 0.3), (0.05, 0.3)])
def test_activity_finds_the_tones(noise, gain):
    times_N = np.arange(0, 4, 0.01)
    activity_N = audio.speech_activity(audio.ArrayWave(_tone_silence_tone(noise, gain)), times_N)
    assert activity_N.dtype == np.float32
    assert activity_N.min() == 0
    assert activity_N.max() == 1
    for start in (0.5, 2.5):
        assert (activity_N[(times_N > start + 0.02) & (times_N < start + 1.1)] == 1).all()
        crossing = np.flatnonzero(np.abs(activity_N - 0.5) <= 0.3) * 0.01
        assert np.abs(crossing - (start - 0.03)).min() < 0.03
        assert np.abs(crossing - (start + 1.15)).min() < 0.03
    assert (activity_N[(times_N > 1.75) & (times_N < 2.4)] == 0).all()
    assert np.abs(np.diff(activity_N)).max() < 0.3


def test_short_pauses_and_clicks_do_not_flicker():
    wave_S = np.concatenate([np.zeros(RATE), _tone(300, RATE, 1), np.zeros(RATE // 10), _tone(300, RATE, 1)])
    wave_S = np.concatenate([wave_S, np.zeros(2 * RATE)])
    wave_S[4 * RATE : 4 * RATE + 16] = 0.9
    activity_N = audio.speech_activity(audio.ArrayWave(wave_S), np.arange(0, 5, 0.02))
    assert (activity_N[53:150] == 1).all()
    assert (activity_N[175:] == 0).all()


def test_silence_is_inactive_and_a_steady_sound_active():
    times_N = np.arange(-1, 3, 0.05)
    assert not audio.speech_activity(audio.ArrayWave(np.zeros(2 * RATE)), times_N).any()
    steady_N = audio.speech_activity(audio.ArrayWave(0.2 * _tone(200, RATE, 2)), times_N)
    inside_N = (times_N >= 0) & (times_N < 2)
    assert (steady_N[inside_N] == 1).all()
    assert not steady_N[~inside_N].any()


def test_a_loud_bang_does_not_hide_the_speech():
    wave_S = _tone_silence_tone(1e-4, gain=0.03)
    wave_S[int(1.9 * RATE) : int(2.2 * RATE)] = 0.99
    activity_N = audio.speech_activity(audio.ArrayWave(wave_S), np.array([1.0, 3.0]))
    assert (activity_N == 1).all()


def test_streamed_activity_is_that_of_the_array(stereo):
    path, _ = stereo
    wave = audio.SpeechWave(path)
    times_N = np.linspace(-1, 90, 777)
    whole = audio.ArrayWave(wave.read(0, wave.duration))
    np.testing.assert_array_equal(audio.speech_activity(wave, times_N), audio.speech_activity(whole, times_N))


def test_gate_agrees_with_known_speech():
    pytest.importorskip("espeakng_loader")
    from omnisync_core.synth import speech

    shares = []
    for seed in range(6):
        u = speech.utterance(seed, "train", seconds=4)
        times_N = np.arange(0, u.duration, 0.04)
        activity_N = audio.speech_activity(audio.ArrayWave(u.wave_S), times_N)
        open_N = u.mouth_at(times_N)[:, 0] > 0.3
        shares.append(activity_N[open_N].mean())
    assert min(shares) > 0.95


def test_no_more_of_a_sound_is_decoded_than_is_asked_for(tmp_path):
    """What is there is as in the whole sound; the rest is silence, and it says that there is more."""
    from tests.fake import write_sound

    write_sound(tmp_path / "a.wav", seconds=3.0, rate=44100)
    whole, part = audio.SpeechWave(tmp_path / "a.wav"), audio.SpeechWave(tmp_path / "a.wav", 1.25)
    assert (part.duration, part.goes_on) == (1.25, True)
    assert not whole.goes_on
    assert np.array_equal(part.read(0, 1.25), whole.read(0, 1.25))
    assert not part.read(1.25, 2).any()
    assert audio.SpeechWave(tmp_path / "a.wav", 3.0).goes_on is False
