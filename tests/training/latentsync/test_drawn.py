"""Pairs of drawn reels: the mouth lies in the lower half, a false pair is another moment of the same utterance."""

from pathlib import Path

import numpy as np
import pytest

from omnisync_core.errors import InputError
from omnisync_core.synth.speech import CURVE_RATE, Utterance
from omnisync_core.training.latentsync import drawn
from omnisync_core.training.latentsync.drawn import DrawnReels, is_drawn
from omnisync_core.training.latentsync.syncnet import LAYOUTS, SMALL, StableSyncNet
from tests.training.stub import shard

FRAMES, SIZE = 17, 64


@pytest.fixture
def reels(tmp_path, monkeypatch) -> Path:
    """Two reels whose mouth is a white square; voices whose opening and loudness rise together."""
    folder = tmp_path / "reels_train"
    folder.mkdir()
    reel = shard(frames=FRAMES, size=SIZE)
    reel["frames"][:] = 0
    reel["mouth"][:] = (26 / SIZE, 38 / SIZE, 0.3)
    x, y, reach = 26, 38, 3
    reel["frames"][..., y - reach : y + reach, x - reach : x + reach, :] = 255
    np.savez(folder / "reels_0000.npz", options=np.array("{}"), **reel)
    (tmp_path / "corpus_train.npz").write_bytes(b"")
    seconds = 3.0
    opening = np.linspace(0, 1, int(seconds * CURVE_RATE), dtype=np.float32)
    wave_S = (np.random.default_rng(0).normal(0, 0.3, int(seconds * 16000)) * np.linspace(0, 1, 48000)).astype("f")
    said = Utterance(wave_S, np.repeat(opening[:, None], 5, 1), "words", "en", "en+m1")
    monkeypatch.setattr(drawn, "load_corpus", lambda path: [said] * 3)
    return folder


def test_pairs(reels):
    assert is_drawn(reels) and not is_drawn(reels.parent)
    pairs = DrawnReels(reels, SMALL, 64).pairs(40, np.random.default_rng(1))
    assert pairs.faces_BFCHW.shape == (40, 12, 3, 64, 64) and pairs.mel_B1MF.shape == (40, 1, 80, SMALL.mel_frames)
    assert 8 < pairs.matched_B.sum() < 32
    light = (pairs.faces_BFCHW[0, 5, 0].numpy() + 1) / 2
    y, x = (np.average(axis, weights=light) for axis in np.mgrid[:64, :64])
    assert abs(x - 32) < 1 and abs(y - 48) < 1


def test_a_false_pair_sounds_of_another_opening(reels):
    """The sound grows as the mouth opens, so that a false pair's differs in level from a true one's."""
    known, rng = DrawnReels(reels, SMALL, 64), np.random.default_rng(2)
    for _ in range(20):
        other = known._other(0, 1.0, 1.0, rng)
        assert other is not None and abs(other - 1.0) > 0.07 * 3.0


def test_the_small_network_takes_them(reels):
    pairs = DrawnReels(reels, SMALL, 64).pairs(2, np.random.default_rng(0))
    network = StableSyncNet(LAYOUTS["small"])
    seen, heard = network(network.watch(pairs.faces_BFCHW), pairs.mel_B1MF)
    assert seen.shape == heard.shape == (2, 192)


def test_reels_without_their_voices(reels):
    (reels.parent / "corpus_train.npz").unlink()
    with pytest.raises(InputError, match="needs the voices that it was drawn to"):
        DrawnReels(reels, SMALL, 64)
