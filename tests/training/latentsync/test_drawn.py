"""Pairs of drawn reels: the mouth lies in the lower half, a false pair sounds of another opening."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from omnisync_core.errors import InputError
from omnisync_core.synth.speech import CURVE_RATE, Utterance
from omnisync_core.training.latentsync import drawn
from omnisync_core.training.latentsync.contrastive import crossed_loss
from omnisync_core.training.latentsync.drawn import DrawnReels, is_drawn
from omnisync_core.training.latentsync.syncnet import LAYOUTS, SMALL, StableSyncNet
from tests.training.stub import shard

FRAMES, SIZE, SIDE = 17, 64, 48


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
    monkeypatch.setattr(drawn, "Corpus", lambda path: [said] * 3)
    return folder


def test_pairs(reels):
    assert is_drawn(reels)
    assert not is_drawn(reels.parent)
    pairs = DrawnReels(reels, SMALL, SIDE).pairs(40, np.random.default_rng(1))
    assert pairs.faces_BFCHW.shape == (40, 12, 3, SIDE, SIDE)
    assert pairs.mel_B1MF.shape == (40, 1, 80, SMALL.mel_frames)
    assert pairs.mel_B1MF.dtype == torch.float32
    assert 8 < pairs.matched_B.sum() < 32
    assert (pairs.faces_BFCHW[..., : SIDE // 2, :] == 0).all()
    light = (pairs.faces_BFCHW[0, 5, 0, SIDE // 2 :].numpy() + 1) / 2
    y, x = (np.average(axis, weights=light) for axis in np.mgrid[: SIDE // 2, :SIDE])
    assert abs(x - SIDE / 2) < 1
    assert abs(y - SIDE / 4) < 1


def test_faces_are_cut_once(reels, monkeypatch):
    one = DrawnReels(reels, SMALL, SIDE).pairs(6, np.random.default_rng(1))
    monkeypatch.setattr(drawn, "_halves", None)
    again = DrawnReels(reels, SMALL, SIDE).pairs(6, np.random.default_rng(1))
    assert torch.equal(one.faces_BFCHW, again.faces_BFCHW)
    assert torch.equal(one.mel_B1MF, again.mel_B1MF)


def test_a_false_pair_sounds_of_another_opening(reels):
    """The sound grows as the mouth opens, so that a false pair's differs in level from a true one's."""
    known, rng = DrawnReels(reels, SMALL, SIDE), np.random.default_rng(2)
    opening_F = known.voices.opening(0, 1.0)
    for _ in range(20):
        other = known._other(drawn.Shown(np.empty(0), opening_F, 0, 1.0, 1.0), rng)
        assert other is not None
        assert abs(other - 1.0) > 0.07 * 3.0


def test_every_face_is_asked_about_every_sound(reels):
    """What is shown opens by numbers of its own (the stub's), so that nothing looks like another by chance."""
    crossed = DrawnReels(reels, SMALL, SIDE).crossed(6, np.random.default_rng(0))
    matched_BM = crossed.matched_BM.numpy()
    assert matched_BM.shape == (6, 12)
    assert crossed.mel_M1MF.shape == (12, 1, 80, SMALL.mel_frames)
    true = np.zeros((6, 12), bool)
    true[np.arange(6), 2 * np.arange(6)] = True
    assert (matched_BM[true] == 1).all()
    assert (matched_BM[~true] != 1).all()
    assert (matched_BM == 0).sum() > 30


def test_a_sound_is_said_by_another_throat(monkeypatch):
    """A tone of one band moves by the drawn stretch and is louder by what was drawn for its band."""
    mels = torch.full((3, 1, 80, 5), -4.0)
    mels[:, :, 40] = 0.0
    said = drawn._said_by_others(mels, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    throat_B, level_B, tilt_B = (rng.normal(0, by, 3) for by in (drawn.THROAT, drawn.LOUDNESS, drawn.TILT))
    for one, throat, level, tilt in zip(said[:, 0, :, 2], throat_B, level_B, tilt_B, strict=True):
        band = int(one.argmax())
        assert abs(band - 40 / np.exp(throat)) <= 1
        off = min(1.0, abs(band * np.exp(throat) - 40))  # the tone is a triangle, one band to each side
        assert one[band] == pytest.approx(-4 * off + level + tilt * (band / 79 - 0.5), abs=1e-4)

    for name in ("THROAT", "LOUDNESS", "TILT"):
        monkeypatch.setattr(drawn, name, 0.0)
    assert torch.equal(drawn._said_by_others(mels, np.random.default_rng(5)), mels)


def test_the_small_network_takes_them(reels):
    crossed = DrawnReels(reels, SMALL, SIDE).crossed(3, np.random.default_rng(0))
    torch.manual_seed(0)
    network = StableSyncNet(LAYOUTS["small"])
    seen, heard = network(network.watch(crossed.faces_BFCHW), crossed.mel_M1MF[:3])
    assert seen.shape == heard.shape == (3, 192)
    assert 0 < crossed_loss(network, crossed)["loss"] < 9


@pytest.mark.parametrize("name", ["reels_0000.npz", "reels_0000_halves_48.npy"])
def test_a_shard_that_is_cut_off(reels, name):
    DrawnReels(reels, SMALL, SIDE)
    whole = (reels / name).read_bytes()
    (reels / name).write_bytes(whole[: len(whole) // 2])
    os.utime(reels / name, (2e9, 2e9))
    with pytest.raises(InputError, match=f"{name} is cut off or damaged .* remove it") as error:
        DrawnReels(reels, SMALL, SIDE)
    assert "\n" not in str(error.value)


def test_reels_without_their_voices(reels):
    (reels.parent / "corpus_train.npz").unlink()
    with pytest.raises(InputError, match="needs the voices that it was drawn to"):
        DrawnReels(reels, SMALL, SIDE)
