"""The drawn characters' voices: repeatable, held out properly, and a mouth that moves with the sound."""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("espeakng_loader")

from omnisync_core.errors import InputError
from omnisync_core.synth import sentences, speech, visemes, voices

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def spoken():
    return [speech.utterance(seed, "train", seconds=4) for seed in range(24)]


@pytest.mark.parametrize("seed", [3, 7, 11])
def test_the_same_seed_gives_the_same_utterance_in_another_process(seed):
    code = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1]); from omnisync_core.synth import speech;"
        "u = speech.utterance(int(sys.argv[2]), 'test', seconds=2);"
        "print(hashlib.sha256(u.wave_S.tobytes() + u.curve_M5.tobytes()).hexdigest(), 'torch' in sys.modules)"
    )
    here = speech.utterance(seed, "test", seconds=2)
    time.sleep(1.1)  # espeak-ng seeds its noise by the clock's seconds unless told otherwise
    command = [sys.executable, "-c", code, str(ROOT), str(seed)]
    there = subprocess.run(command, capture_output=True, text=True, check=True)
    digest = hashlib.sha256(here.wave_S.tobytes() + here.curve_M5.tobytes()).hexdigest()
    assert there.stdout.split() == [digest, "False"]


def test_an_utterance_has_the_promised_form(spoken):
    for u in spoken:
        assert u.wave_S.dtype == np.float32
        assert u.duration >= 4
        assert 0.05 < np.abs(u.wave_S).max() <= 1
        assert u.curve_M5.dtype == np.float32
        assert (len(u.curve_M5) - 1) / visemes.CURVE_RATE >= u.duration - 1e-9
        assert np.isfinite(u.curve_M5).all()
        assert u.curve_M5.min() >= 0
        assert u.curve_M5.max() < 1.2
    assert len({u.language for u in spoken}) > 5
    assert len({u.voice for u in spoken}) > 15


def test_opening_follows_the_sound_without_offset(spoken):
    lags = range(-10, 11)
    found = []
    for u in spoken:
        energy_M = visemes._energy(u.wave_S, 16000, len(u.curve_M5) * 4)[::4]
        level_M = np.log(energy_M / energy_M.max() + 0.03)
        opening_M = u.curve_M5[:, 0]
        found.append([np.corrcoef(np.roll(opening_M, lag)[20:-20], level_M[20:-20])[0, 1] for lag in lags])
    mean = np.mean(found, 0)
    assert abs(lags[int(mean.argmax())]) <= 2
    assert mean.max() > 0.4


def test_silence_rests(spoken):
    for u in spoken:
        loud_S = np.flatnonzero(np.abs(u.wave_S) > 1e-4)
        last = int(loud_S[-1] / 160) + 15
        if last < len(u.curve_M5):
            np.testing.assert_allclose(u.curve_M5[last:], np.tile(visemes.REST, (len(u.curve_M5) - last, 1)), atol=0.02)
    np.testing.assert_allclose(spoken[0].mouth_at([-1.0, 1e3]), [visemes.REST] * 2)


def test_bilabials_close_the_lips_between_open_vowels():
    sound_S = np.ones(16000, np.float32)
    events = [(0.1, "ˈɑː"), (0.4, "m"), (0.48, "a"), (0.7, None)]
    curve_M5 = visemes.mouth_curve(events, sound_S, 16000)
    assert curve_M5[44, 0] < 0.03
    assert curve_M5[25, 0] > 0.8
    assert curve_M5[58, 0] > 0.7


def test_the_closure_before_a_burst_is_closed():
    sound_S = np.ones(16000, np.float32)
    sound_S[int(0.33 * 16000) : int(0.4 * 16000)] = 0
    curve_M5 = visemes.mouth_curve([(0.1, "a"), (0.4, "p"), (0.42, "a"), (0.7, "")], sound_S, 16000)
    assert curve_M5[34:41, 0].min() < 0.03
    assert curve_M5[37, 0] < 0.05


@pytest.mark.parametrize(("name", "param", "low", "high"), [("u", 1, 0.0, 0.2), ("i", 1, 0.8, 1.0), ("f", 3, 0.7, 1.0)])
def test_shapes(name, param, low, high):
    curve_M5 = visemes.mouth_curve([(0.2, name), (0.5, None)], np.ones(16000, np.float32), 16000)
    assert low <= curve_M5[35, param] <= high


@pytest.mark.parametrize(
    ("name", "letters"),
    [("ˈaɪ", ("a", "ɪ")), ("ç", ("ç",)), ("ɑ̃", ("ɑ",)), ("bʰ", ("b",)), ("", ()), ("ɔːɹ", ("ɔ", "ɹ"))],
)
def test_parts_of_a_phoneme(name, letters):
    assert visemes.parts(name) == letters
    assert all(visemes.known(letter) for letter in letters)


def test_held_out_lists_are_disjoint():
    assert not set(speech.TRAIN_VOICES) & set(speech.TEST_VOICES)
    assert not set(sentences.TEMPLATES["train"]) & set(sentences.TEMPLATES["test"])
    for language in sentences.languages():
        train, test = (sentences.words_of(language, split) for split in ("train", "test"))
        assert len(train) >= 44
        assert len(test) >= 11
        assert not train & test


def test_amplitude_scales_the_opening_and_keeps_rest(spoken):
    times_T = np.arange(0, 4, 0.04)
    loud, mumble = (spoken[1].mouth_at(times_T, speech.AMPLITUDE[style]) for style in ("loud", "mumble"))
    assert loud.shape == (100, 5)
    assert loud.dtype == np.float32
    assert loud[:, 0].sum() / mumble[:, 0].sum() >= 2
    assert mumble[:, 1].std() < loud[:, 1].std()


def test_captions_name_the_character():
    rng = np.random.default_rng(0)
    for style in speech.AMPLITUDE:
        assert "robot" in speech.caption(style, rng, "robot")
        assert not any("A owl" in speech.caption(style, rng, "owl") for _ in range(30))


def test_a_corpus_comes_back_sample_for_sample(tmp_path):
    speech.build_corpus(3, "test", 5, 1.0, 2, tmp_path / "c.npz")
    corpus = speech.load_corpus(tmp_path / "c.npz")
    assert len(corpus) == 3
    for index, u in enumerate(corpus):
        direct = speech.utterance(5 + index, "test", seconds=1.0)
        np.testing.assert_array_equal(u.wave_S, direct.wave_S)
        np.testing.assert_array_equal(u.curve_M5, direct.curve_M5)
        assert (u.text, u.language, u.voice) == (direct.text, direct.language, direct.voice)


def test_every_drawn_voice_is_another_throat_saying_the_same(tmp_path):
    """The words, and so the mouth's shapes, are the seed's; their sound is the voice's."""
    speech.build_corpus(3, "train", 40, 1.5, 2, tmp_path / "drawn.npz", drawn=True)
    drawn = speech.Corpus(tmp_path / "drawn.npz")
    assert [u.voice.partition("+")[2] for u in drawn] == ["drawn40", "drawn41", "drawn42"]
    for index, u in enumerate(drawn):
        usual = speech.utterance(40 + index, "train", seconds=1.5)
        assert u.language == usual.language
        assert u.text.startswith(usual.text) or usual.text.startswith(u.text)
        assert len(u.wave_S) != len(usual.wave_S) or np.abs(u.wave_S - usual.wave_S).max() > 0.05
    assert voices.variant(40) == voices.variant(40) != voices.variant(41)


def test_a_corpus_of_two_files_is_one_after_the_other(tmp_path):
    for name, seed in (("a.npz", 5), ("b.npz", 9)):
        speech.build_corpus(2, "test", seed, 1.0, 2, tmp_path / name)
    corpus = speech.Corpus(tmp_path / "a.npz", tmp_path / "b.npz")
    assert len(corpus) == 4
    np.testing.assert_array_equal(corpus[3].wave_S, speech.utterance(10, "test", seconds=1.0).wave_S)


def test_without_espeak_one_line_says_how_to_get_it(monkeypatch):
    speech._espeak_paths.cache_clear()
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(InputError, match="pip install espeakng-loader"):
        speech.utterance(0, "train", seconds=1)


def test_an_unknown_voice_is_named():
    with pytest.raises(InputError, match="no voice xx"):
        speech._speak({"voice": "xx", "rate": 160, "pitch": 50, "range": 50, "sentences": [["a", 0]], "seconds": 1})
