"""Speech features: as the encoder gives them inside a window, without a seam between windows, in bounded memory."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisync_core.audio import SAMPLE_RATE, ArrayWave, log_mel
from omnisync_core.models import whisper
from omnisync_core.models.whisper import SpeechFeatures, WhisperEncoder
from tests.tiny import WHISPER, stirred

HOP, LENGTH = 40, 60
"""Of the tiny encoder: 1.2 s windows every 0.8 s, in states of 1/50 s."""


@pytest.fixture(scope="module")
def encoder() -> WhisperEncoder:
    torch.manual_seed(0)
    return stirred(WhisperEncoder(WHISPER)).eval()


@pytest.fixture(scope="module")
def wave() -> ArrayWave:
    """8 s of noise whose loudness swings."""
    time = np.arange(8 * SAMPLE_RATE) / SAMPLE_RATE
    noise = np.random.default_rng(0).normal(0, 0.1, len(time))
    return ArrayWave((noise * (1 + np.sin(7 * time))).astype(np.float32))


def encoded(encoder: WhisperEncoder, wave_S: np.ndarray) -> np.ndarray:
    """States of one whole window."""
    mel = log_mel(wave_S, encoder.config["num_mel_bins"])
    with torch.inference_mode():
        return encoder(torch.as_tensor(mel)[None])[0].numpy()


def read_off(states_LD: np.ndarray, times: np.ndarray) -> np.ndarray:
    """States between their centres (k + 1/2) / 50 s."""
    centres = (np.arange(len(states_LD)) + 0.5) / 50
    return np.stack([np.interp(times, centres, states_LD[:, d]) for d in range(states_LD.shape[1])], -1)


def test_inside_one_window_it_is_the_encoder_itself(encoder, wave):
    features = SpeechFeatures(encoder, wave, tokens=1)
    times = np.linspace(0.02, HOP / 50 - 0.03, 33)
    expected = read_off(encoded(encoder, wave.read(0, LENGTH / 50)), times)
    np.testing.assert_allclose(features.at(times)[:, 0], expected, atol=1e-4)


def test_in_the_middle_window_too(encoder, wave):
    features = SpeechFeatures(encoder, wave, tokens=1)
    start = 3 * HOP / 50
    times = np.linspace(start + (LENGTH - HOP) / 50 + 0.02, start + HOP / 50 - 0.03, 9)
    expected = read_off(encoded(encoder, wave.read(start, start + LENGTH / 50)), times - start)
    np.testing.assert_allclose(features.at(times)[:, 0], expected, atol=1e-4)


def test_tokens_lie_around_the_frames_time(encoder, wave):
    one, four = (SpeechFeatures(encoder, wave, tokens=count) for count in (1, 4))
    times = np.arange(12, 30) / 25
    offsets = (-0.03, -0.01, 0.01, 0.03)
    expected = np.stack([one.at(times + offset)[:, 0] for offset in offsets], 1)
    found = four.at(times)
    assert found.shape == (18, 4, 16)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_times_decide_not_indices(encoder, wave):
    """The same moments at 24, 25 and 30 frames a second have the same features."""
    features = SpeechFeatures(encoder, wave, tokens=2)
    by_rate = [features.at(np.arange(round(6 * fps)) / fps)[::fps] for fps in (24, 25, 30)]
    np.testing.assert_allclose(by_rate[0], by_rate[1], atol=1e-5)
    np.testing.assert_allclose(by_rate[0], by_rate[2], atol=1e-5)


@settings(deadline=None, max_examples=10)
@given(st.lists(st.floats(0, 9), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_order_and_size_of_requests_do_not_matter(encoder, wave, times, random):
    together = SpeechFeatures(encoder, wave, tokens=2).at(np.array(times))
    one_by_one = SpeechFeatures(encoder, wave, tokens=2, kept_windows=2)
    order = list(range(len(times)))
    random.shuffle(order)
    for index in order:
        np.testing.assert_array_equal(one_by_one.at(np.array([times[index]]))[0], together[index])


class Constant(torch.nn.Module):
    """An encoder that answers the n-th window with n + 1 everywhere."""

    def __init__(self, config):
        super().__init__()
        self.config, self.width, self.count = config, 1, 0
        self.encoder = torch.nn.Module()
        self.encoder.conv1 = torch.nn.Conv1d(1, 1, 1)

    def forward(self, mel):
        self.count += 1
        return torch.full((1, self.config["max_source_positions"], 1), float(self.count))


@pytest.mark.parametrize("config", [WHISPER, whisper.MINI], ids=["tiny", "mini"])
def test_windows_blend_by_a_partition_of_unity(config):
    silence = ArrayWave(np.zeros(30 * SAMPLE_RATE, np.float32))
    features = SpeechFeatures(Constant(config), silence, tokens=1)
    length = config["max_source_positions"]
    hop, overlap = length * 2 // 3, length - length * 2 // 3
    curve = features.at((np.arange(3 * hop) + 0.5) / 50)[:, 0, 0]
    # Window 1 alone, a straight line over the overlap to window 2, window 2 alone, and so on.
    for index in range(1, 3):
        rise = (np.arange(overlap) + 0.5) / overlap
        np.testing.assert_allclose(curve[index * hop : index * hop + overlap], index + rise, atol=1e-5)
        alone = curve[index * hop + overlap : (index + 1) * hop]
        assert len(alone)
        assert np.abs(alone - (index + 1)).max() < 1e-5
    assert np.abs(np.diff(curve)).max() < 1.01 / overlap


def test_no_feature_jumps_at_a_windows_edge(encoder, wave):
    features = SpeechFeatures(encoder, wave, tokens=1)
    steps = np.linalg.norm(np.diff(features.at(np.arange(2, 350) / 50 + 0.01)[:, 0], axis=0), axis=1)
    edges = [index * HOP + part for index in range(1, 8) for part in (0, LENGTH - HOP)]
    at_edges = np.array([steps[edge - 4 : edge].max() for edge in edges])
    assert at_edges.max() < 1.5 * steps.max()
    assert at_edges.mean() < 2 * steps.mean()


class Watched(ArrayWave):
    longest = 0.0

    def read(self, start_s, stop_s):
        self.longest = max(self.longest, stop_s - start_s)
        return super().read(start_s, stop_s)


def test_memory_is_bounded_and_each_window_is_encoded_once():
    wave = Watched(np.zeros(60 * SAMPLE_RATE, np.float32))
    constant = Constant(WHISPER)
    features = SpeechFeatures(constant, wave, tokens=2)
    for start in np.arange(0, 60, 0.5):
        features.at(start + np.arange(17) / 25)
        assert len(features._windows) <= 4
    assert constant.count <= np.ceil(61.5 / (HOP / 50)) + 1
    assert wave.longest <= LENGTH / 50 + 1e-6


def test_before_and_after_the_sound(encoder, wave):
    features = SpeechFeatures(encoder, wave, tokens=2)
    found = features.at(np.array([-1.0, -0.1, 0.0, 7.99, 8.5, 30.0]))
    assert np.isfinite(found).all()
    silence = SpeechFeatures(encoder, ArrayWave(np.zeros(100, np.float32)), tokens=2)
    np.testing.assert_allclose(features.at(np.array([30.4])), silence.at(np.array([30.4])), atol=1e-5)


def test_an_encoder_is_made_resident_for_every_window(encoder, wave):
    """A host moves weights there and away again, each time anew."""
    log = []

    @contextmanager
    def resident(module):
        log.append(module)
        yield
        log.append(None)

    SpeechFeatures(encoder, wave, tokens=1, resident=resident).at(np.array([0.1, 3.0]))
    assert len(log) >= 4
    assert log[::2] == [encoder] * (len(log) // 2)
    assert set(log[1::2]) == {None}


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        (whisper.MINI, 4.0),
        ({"d_model": 384, "encoder_layers": 1, "encoder_attention_heads": 6, "encoder_ffn_dim": 64}, 30.0),
        ({"d_model": 64, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 64,
          "num_mel_bins": 128}, 30.0),
    ],
    ids=["mini", "tiny", "bins of large-v3"],
)  # fmt: skip
def test_published_windows(config, seconds):
    """The windows, widths and mel bins of published encoders, with fewer and narrower layers."""
    config = {"num_mel_bins": 80, "max_source_positions": 1500, **config}
    torch.manual_seed(0)
    encoder = WhisperEncoder(config).eval()
    assert encoder.window_seconds == seconds
    assert encoder.width == config["d_model"]
    noise = ArrayWave(np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32))
    found = SpeechFeatures(encoder, noise, tokens=4).at(np.array([0.2, 0.5]))
    assert found.shape == (2, 4, config["d_model"])
    assert np.isfinite(found).all()
    expected = read_off(encoded(encoder, noise.read(0, seconds)), np.array([0.2, 0.5]) - 0.03)
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-3)
