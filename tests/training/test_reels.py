"""Training clips: the same shard whenever and wherever it is drawn, and cropped as at inference."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from omnisync_core.errors import InputError
from omnisync_core.spec import VideoSpec
from omnisync_core.training import reels
from omnisync_core.training.reels import CLIPS, POSE_A, STYLES, ReelOptions, draw_reel, write_reels
from tests.training.stub import utterances

OPTIONS = ReelOptions(corpus="", out="", crop_size=16, frames=5, seed=3)


class FakeScene:
    """A mouth that moves on a line; its pictures hold the opening and where they were looked at."""

    mouth_width = 0.2
    drawn: tuple = ()

    def __init__(self, seed, pose_seed):
        self.seed, self.pose_seed = seed, pose_seed

    @classmethod
    def random(cls, seed, split, *, pose_seed, duration):
        return cls(seed, pose_seed)

    def mouth_center(self, times_T):
        return np.stack([0.5 + 0.01 * times_T, np.full(len(times_T), 0.4 + 0.001 * (self.pose_seed % 7))], 1)

    def render(self, mouth_T5, times_T, *, size, view):
        value = np.clip(255 * mouth_T5[:, 0], 0, 255).astype(np.uint8)
        return np.broadcast_to(value[:, None, None, None], (len(times_T), size, size, 3)).copy()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(reels, "Scene", FakeScene)
    monkeypatch.setattr(reels, "SHARD_REELS", 3)
    monkeypatch.setattr(reels, "_corpus", lambda path: utterances())
    monkeypatch.setattr(reels, "ProcessPoolExecutor", ThreadPoolExecutor)


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


def test_what_a_reel_holds():
    reel = draw_reel(OPTIONS, utterances(), 0)
    assert reel["frames"].shape == (CLIPS, 5, 16, 16, 3)
    assert reel["frames"].dtype == np.uint8
    assert reel["mouth"].shape == (CLIPS, 5, 3)
    assert reel["params"].shape == (CLIPS, 5, 5)
    assert 24 <= reel["fps"] <= 30
    assert set(reel["style"]) <= set(range(len(STYLES)))
    assert set(reel["utterance"]) <= {0, 1, 2}


def test_pseudo_pairs_share_their_view_and_the_other_pose_does_not():
    for index in range(5):
        mouth = draw_reel(OPTIONS, utterances(), index)["mouth"]
        assert all(np.array_equal(mouth[0], mouth[clip]) for clip in range(POSE_A))
        assert not np.array_equal(mouth[0], mouth[POSE_A])


def test_the_crop_is_as_at_inference_but_shaken():
    """The mouth is near the crop's middle, and the crop some 2.4 mouths wide."""
    mouths = np.concatenate([draw_reel(OPTIONS, utterances(), index)["mouth"] for index in range(40)])
    widths, nominal = mouths[..., 2], 1 / VideoSpec().crop_scale
    assert nominal * np.exp(-0.3) <= widths.min() + 1e-6
    assert widths.max() <= nominal * np.exp(0.3) + 1e-6
    assert np.median(widths) == pytest.approx(nominal, rel=0.1)
    assert np.abs(mouths[..., :2] - 0.5).max() < 0.25
    assert np.abs(mouths[..., :2].mean((0, 1)) - 0.5).max() < 0.05


def test_pictures_show_what_is_said_as_loudly_as_the_style_says():
    corpus = utterances()
    reel = draw_reel(OPTIONS, corpus, 1)
    times = np.arange(5) / reel["fps"]
    for clip in range(CLIPS):
        amplitude = reels.AMPLITUDE[STYLES[reel["style"][clip]]]
        mouth = corpus[reel["utterance"][clip]].mouth_at(reel["start"][clip] + times, amplitude)
        np.testing.assert_allclose(reel["params"][clip], mouth, atol=1e-6)
        np.testing.assert_allclose(reel["frames"][clip, :, 0, 0, 0], np.clip(255 * mouth[:, 0], 0, 255), atol=1)


def test_a_reel_depends_on_its_seed_and_number_alone():
    first = draw_reel(OPTIONS, utterances(), 4)
    np.random.seed(1)
    draw_reel(OPTIONS, utterances(), 9)
    assert same(first, draw_reel(OPTIONS, utterances(), 4))
    assert not same(first, draw_reel(OPTIONS, utterances(), 5))
    assert not same(first, draw_reel(SimpleNamespace(**{**vars(OPTIONS), "seed": 4}), utterances(), 4))


def shards(folder, count=7, workers=1) -> list[dict]:
    paths = write_reels(ReelOptions(corpus="", out=str(folder), crop_size=16, frames=5), count, workers)
    assert all(path.parent == folder for path in paths)
    return [{key: value for key, value in np.load(path).items() if key != "options"} for path in paths]


def test_shards_are_the_same_however_they_are_made(tmp_path):
    one, two = shards(tmp_path / "one"), shards(tmp_path / "two", workers=2)
    assert len(one) == 3
    assert all(same(a, b) for a, b in zip(one, two, strict=True))
    assert [shard["scene"].tolist() for shard in one] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_only_missing_shards_are_drawn(tmp_path):
    first = shards(tmp_path / "a")
    kept = (tmp_path / "a" / "reels_0001.npz").stat().st_mtime_ns
    (tmp_path / "a" / "reels_0002.npz").unlink()
    assert all(same(a, b) for a, b in zip(first, shards(tmp_path / "a"), strict=True))
    assert (tmp_path / "a" / "reels_0001.npz").stat().st_mtime_ns == kept
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [f"reels_{k:04d}.npz" for k in range(3)]


def test_shards_drawn_otherwise_are_refused(tmp_path):
    write_reels(replace(OPTIONS, out=str(tmp_path)), 1, 1)
    with pytest.raises(InputError, match="side_jitter"):
        write_reels(replace(OPTIONS, out=str(tmp_path), side_jitter=0.1), 1, 1)
