"""What a frame hears: at 25 frames a second as officially, at every rate at its own time, however long the film."""

import numpy as np
import pytest
import torch

from omnisync_core.audio import ArrayWave
from omnisync_core.engines.xdub import audio_windows
from omnisync_core.engines.xdub.engine import Settings
from omnisync_core.engines.xdub.hearing import WavStates, XDubSpeech, by_latent_frame
from omnisync_core.models.whole_sound import WholeSound, last_state, layer_states
from tests.engines.xdub import small

WINDOW, STEP = 77, 72


class Numbered:
    """States that are their own number, without an end."""

    def __init__(self, count):
        self.count = count

    def states(self, indices):
        return indices[..., None].astype(np.float32)


def numbered(seconds: float) -> XDubSpeech:
    speech = XDubSpeech(None, None, small.wave(np.zeros(16)))
    speech._end = 50 * seconds
    speech._streams = Numbered(round(50 * seconds)), Numbered(round(50 * seconds) - 1)
    return speech


def real(seconds: float) -> tuple[XDubSpeech, ArrayWave]:
    wave = small.noisy_wave(seconds)
    return XDubSpeech(WholeSound(small.whisper(), wave, last_only=True), small.wav2vec, wave), wave


@pytest.mark.parametrize("start", [0, 2, 50])
def test_at_25_frames_a_second_it_is_the_official_window(start):
    speech, wave = real(4.0)
    whisper = speech._streams[0].states(np.arange(200))
    wav2vec = WavStates(small.wav2vec, wave).states(np.arange(199))
    times = np.arange(start, start + 17) / 25
    found = by_latent_frame(torch.from_numpy(speech.at(times)))
    expected = audio_windows(torch.from_numpy(whisper), torch.from_numpy(wav2vec), start, 5)
    assert found.shape == (5, 8, small.HEARS + small.WAV)
    assert torch.allclose(found, expected, atol=1e-5)


def test_windows_clamp_each_stream_by_its_own_length():
    whisper, wav2vec = torch.arange(10.0)[:, None], torch.arange(8.0)[:, None]
    found = audio_windows(whisper, wav2vec, 0, 2)
    assert found[0, :, 0].tolist() == [0] * 7 + [1]
    assert found[1, :, 0].tolist() == list(range(2, 10))
    assert found[1, :, 1].tolist() == [2, 3, 4, 5, 6, 7, 7, 7]
    assert audio_windows(whisper, wav2vec, 3, 1)[0, :, 0].tolist() == list(range(8))


@pytest.mark.parametrize("rate", [12.5, 23.976, 24, 25, 30000 / 1001, 30, 50, 60000 / 1001, 60])
def test_the_sound_does_not_drift_from_the_pictures_in_ten_minutes(rate):
    """Each frame of every window hears what is said while it is shown: within a hundredth of a frame."""
    fps = rate / Settings().spec.frame_stride(rate)
    speech, frames = numbered(620.0), round(600 * fps)
    worst = 0.0
    for start in range(0, frames - WINDOW, STEP):
        times = (start + np.arange(WINDOW)) / fps
        heard = speech.at(times)[3:, :, 0] / 50
        wanted = times[:, None] + np.array([0, 0.5 / fps])
        worst = max(worst, float(np.abs(heard - wanted).max()))
    assert worst < 0.01 / fps


def test_a_rate_that_wavers_is_followed():
    times = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.06, WINDOW))
    heard = numbered(60).at(times)[3:, 0, 0] / 50
    assert np.abs(heard - times).max() < 1e-4


def test_a_padded_window_repeats_its_last_frame():
    times = np.minimum(np.arange(9), 6) / 30
    heard = numbered(60).at(times)
    assert np.array_equal(heard[-1], heard[-3])
    assert np.allclose(heard[3:10, 0, 0], 50 * np.arange(7) / 30, atol=1e-4)


def test_beyond_the_end_there_is_silence():
    speech, _ = real(3.0)
    heard = speech.at(np.array([2.98, 3.0, 3.4, 100.0]))[3:, 0]
    assert np.array_equal(heard[1], heard[3])
    assert np.array_equal(heard[2], heard[3])
    assert not np.allclose(heard[0], heard[3])


def test_whisper_s_last_state_is_that_before_the_final_norm():
    whisper, mel = small.whisper(), torch.randn(1, 80, 3000)
    with torch.inference_mode():
        assert torch.equal(last_state(whisper, mel)[:, :, 0], layer_states(whisper, mel)[:, :, -1])
        normed = whisper.encoder.layer_norm(last_state(whisper, mel)[:, :, 0])
        assert torch.allclose(normed, whisper(mel), atol=1e-5)


def test_wav2vec_hears_a_whole_sound_normalised_once():
    given = []
    wave = small.noisy_wave(2.0)
    states = WavStates(lambda heard: given.append(heard) or small.wav2vec(heard), wave)
    assert states.count == 99
    whole = states.states(np.arange(99))
    assert np.array_equal(states.states(np.array([[5, 7]])), whole[[[5, 7]]])
    assert len(given) == 1
    assert len(given[0]) == 32000
    assert abs(given[0].mean()) < 1e-4
    assert abs(given[0].std() - 1) < 1e-3


def test_a_long_sound_is_heard_in_windows_that_meet():
    """With an encoder that sees 400 samples, windows change nothing; the sound is normalised as a whole."""
    wave = small.noisy_wave(10.0)
    whole, parts = WavStates(small.wav2vec, wave), WavStates(small.wav2vec, wave, seconds=2)
    longest = []
    parts._encode = lambda heard: longest.append(len(heard)) or small.wav2vec(heard)
    for start in (0, 90, 60, 400, whole.count - 5):
        wanted = np.arange(start, min(start + 60, whole.count))
        assert np.allclose(parts.states(wanted), whole.states(wanted), atol=1e-4)
    assert max(longest) <= 10 * 16000
    assert sum(size > 2.1 * 16000 for size in longest) == 1


@pytest.mark.parametrize("samples", [1, 100, 399, 400, 1700])
def test_the_shortest_sounds(samples):
    wave = small.wave(np.full(samples, 0.1))
    speech = XDubSpeech(WholeSound(small.whisper(), wave, last_only=True), small.wav2vec, wave)
    assert np.isfinite(speech.at(np.array([0.0, 0.04, 2.0]))).all()


def test_silence_is_heard_as_one_thing():
    wave = small.wave(np.zeros(16000))
    heard = XDubSpeech(WholeSound(small.whisper(), wave, last_only=True), small.wav2vec, wave).at(np.arange(5) / 25)
    assert np.isfinite(heard).all()
