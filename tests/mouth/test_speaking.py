"""Two mouths that move, one of them with the sound."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from omnisync_core import audio, mouth
from omnisync_core.mouth import tracking
from omnisync_core.mouth.detect import Face
from omnisync_core.mouth.speaking import who_speaks

FPS, FRAMES, SIZE = 25, 75, (320, 160)
TIMES = np.arange(FRAMES) / FPS
SMALL, LARGE = Face(80, 90, 30, 0, 0.9, "finder"), Face(230, 90, 40, 0, 0.9, "finder")


def phrases(seed):
    """How far a mouth is open: words of some tenths of a second with pauses between them."""
    rng = np.random.default_rng(seed)
    speaks = np.repeat(rng.permutation([0, 1, 1, 0, 1] * 3), 5)[:FRAMES]
    return speaks * (0.55 + 0.45 * np.sin(6.28 * 4.3 * TIMES + seed))


def wave(opening):
    """A sound that is as loud as a mouth is open."""
    times = np.arange(FRAMES * 640) / 16000
    level = np.interp(times, TIMES, opening)
    return audio.ArrayWave(np.float32(0.4 * level * np.random.default_rng(0).normal(size=len(times))))


def pictures(small, large):
    """Two faces whose mouths are open as given."""
    rng = np.random.default_rng(5)
    still = cv2.resize(rng.integers(90, 170, (20, 40, 3)).astype(np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
    for one, other in zip(small, large, strict=True):
        picture = still.copy()
        for face, opening in ((SMALL, one), (LARGE, other)):
            height = 1 + round(0.35 * face.width * opening)
            cv2.ellipse(picture, (face.x, face.y), (round(0.4 * face.width), height), 0, 0, 360, (40, 15, 15), -1)
        yield picture


def track(monkeypatch, small, large, hear):
    monkeypatch.setattr(tracking, "find_mouths", lambda _: [SMALL, LARGE])
    frames = zip(TIMES, pictures(small, large), strict=True)
    return mouth.track(frames, "auto", hear=hear)


@pytest.mark.parametrize("speaker", [SMALL, LARGE])
def test_who_goes_with_the_sound_is_the_speaker(monkeypatch, speaker):
    mine, other = phrases(1), phrases(2)
    small, large = (mine, other) if speaker is SMALL else (other, mine)
    heard = wave(mine)
    found = track(monkeypatch, small, large, lambda times: audio.loudness(heard, times))
    assert np.allclose(found.center_N2[5] * SIZE, (speaker.x, speaker.y), atol=2)


@pytest.mark.parametrize("hear", [None, lambda times: np.full(len(times), -30.0)])
def test_without_a_sound_that_tells_the_larger_of_two_lively_mouths_is_taken(monkeypatch, hear):
    found = track(monkeypatch, phrases(1), phrases(2), hear)
    assert np.allclose(found.center_N2[5] * SIZE, (LARGE.x, LARGE.y), atol=2)


def test_a_sound_that_goes_with_nobody_decides_nothing(monkeypatch):
    heard = wave(phrases(9))
    found = track(monkeypatch, phrases(1), phrases(2), lambda times: audio.loudness(heard, times))
    assert np.allclose(found.center_N2[5] * SIZE, (LARGE.x, LARGE.y), atol=2)


def test_one_mouth_needs_no_sound():
    only = SimpleNamespace(faces={0: SMALL}, width=30)
    assert who_speaks([only], [], lambda _: pytest.fail("it was listened to")) is only


def test_loudness_is_the_levels_around_each_moment():
    tone = np.float32(np.sin(np.arange(16000) * 0.3))
    tone[:8000] *= 0.01
    level = audio.loudness(audio.ArrayWave(tone), np.array([0.25, 0.75, 5.0]))
    assert np.allclose(level, (-43.0, -3.0, -100), atol=0.3)
