"""Gates by hand."""

import numpy as np
import pytest

from omnisync_core import audio
from omnisync_core.timing.silence import GatedWave, Voice


@pytest.fixture
def wave():
    time = np.arange(32000) / 16000
    sound = 0.3 * np.random.default_rng(0).normal(0, 1, 32000)
    return audio.ArrayWave(np.where((time > 0.5) & (time < 1.2), sound, 1e-3 * sound))


def test_a_voice_is_heard_where_it_is(wave):
    voice = Voice(wave, 9)
    assert voice.at(np.array([-1, 0.2, 0.7, 1.0, 1.8, 2.0, 5])).tolist() == [0, 0, 1, 1, 0, 0, 0]
    assert not voice.is_silent
    times = np.linspace(0, 1.99, 333)
    np.testing.assert_allclose(voice.at(times), audio.speech_activity(wave, times), atol=0.13)


def test_only_as_much_as_is_asked_for(wave):
    np.testing.assert_array_equal(Voice(wave, 1).at(np.array([0.2, 0.7, 1.0])), [0, 1, 1])
    assert Voice(wave, 0.3).is_silent
    assert Voice(audio.ArrayWave(np.zeros(100)), 1).is_silent


def test_the_gate_leaves_speech_and_mutes_the_rest(wave):
    gated = GatedWave(Voice(wave, 2))
    np.testing.assert_array_equal(gated.read(0.6, 1.1), wave.read(0.6, 1.1))
    assert not gated.read(0, 0.4).any()
    assert not gated.read(1.5, 3).any()
    assert gated.duration == 2
    np.testing.assert_array_equal(gated.read(0.3, 1.6)[1600:4800], gated.read(0.4, 0.6))


def test_the_sources_pixels_stay_where_nobody_speaks(wave):
    voice, times = Voice(wave, 9), np.array([0.2, 0.7, 1.8, 2.06, 2.5])
    np.testing.assert_allclose(voice.kept(times, rest_after=False), [0, 1, 0, 0, 0])
    np.testing.assert_allclose(voice.kept(times, rest_after=True), [0, 1, 0, 0.5, 1], atol=1e-6)
