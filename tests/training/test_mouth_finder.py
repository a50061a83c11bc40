"""What the finder learns from: cut-outs whose mouths are known, and collages of them."""

import cv2
import numpy as np
import pytest
import torch

from omnisync_core.mouth import finder
from omnisync_core.synth.solids import solid_heads
from omnisync_core.training import collage, cutouts
from omnisync_core.training import mouth_finder as training


@pytest.fixture(scope="module")
def pool():
    return cutouts.draw_pool(5, 0)


def test_a_solids_mouth_lies_on_it_below_its_eyes():
    for seed in range(6):
        (cutout,) = solid_heads(np.random.default_rng(seed))
        x, y, width, _ = cutout.mouth
        if cutout.share < 0.3:
            continue
        assert cutout.rgba_HW4[round(y), round(x), 3] > 200
        assert y > cutout.eyes[1]
        assert 15 < width < 80
        assert cutout.rgba_HW4[..., 3].mean() > 40


def test_a_drawn_cutout_shows_the_character_without_its_backdrop():
    cutout = cutouts.drawn_head(7, np.random.default_rng(0))
    mask = cutout.rgba_HW4[..., 3]
    x, y, *_ = cutout.mouth
    assert mask[2, 2] == 0
    assert mask[round(y), round(x)] == 255
    assert cutout.eyes[1] < y


def test_the_truth_marks_the_pasted_mouth(pool):
    """On an empty canvas the pasted head's mouth is where the truth has its one peak."""
    for seed in range(5):
        mouths = []
        canvas = np.zeros((128, 128, 3), np.uint8)
        collage._paste(canvas, pool, np.random.default_rng(seed), mouths)
        (x, y, width, roll, *_, shown), truth = mouths[0], collage._truth(mouths, 128)
        if not shown:
            assert truth[0].max() < 1
            continue
        row, column = np.unravel_index(truth[0].argmax(), truth[0].shape)
        dx, dy, wide, turned = truth[3:7, row, column]
        assert np.allclose(((column + 0.5 + dx) * finder.CELL, (row + 0.5 + dy) * finder.CELL), (x, y), atol=1e-3)
        assert np.isclose(finder.USUAL * np.exp(wide), width, rtol=1e-4)
        assert np.isclose(turned, roll, atol=1e-5)


def test_a_covered_mouth_counts_neither_way():
    mouth = np.array([60.0, 60, 24, 0, 60, 40, 1])
    mask = np.zeros((128, 128), np.uint8)
    assert collage._hidden(mouth, mask)[6] == 1
    cv2.circle(mask, (60, 60), 20, 255, -1)
    truth = collage._truth([collage._hidden(mouth, mask)], 128)
    row = column = 60 // finder.CELL
    assert truth[1, row, column] == 0
    assert truth[2].sum() == 0
    assert truth[0].max() == 0


def test_mirrored_twice_is_the_same(pool):
    picture, truth = collage.collage(pool, np.random.default_rng(2))
    assert picture.shape == (collage.SIDE, collage.SIDE, 3)
    assert picture.dtype == np.uint8
    once = collage.mirrored(picture, truth)
    twice = collage.mirrored(*once)
    assert np.array_equal(twice[0], picture)
    assert np.array_equal(twice[1], truth)
    assert not np.array_equal(once[0], picture)


def test_the_loss_is_least_for_the_truth_itself(pool):
    _, truth = collage.collage(pool, np.random.default_rng(1))
    truth = torch.from_numpy(truth)[None]
    perfect = torch.cat([torch.where(truth[:, :1] > 0.999, 12.0, -12.0), truth[:, 3:]], 1)
    best, _ = training._loss(perfect, truth)
    worse, _ = training._loss(perfect + 0.3, truth)
    assert best < 0.05
    assert worse > best


def test_a_bent_heads_mouth_moves_with_it(pool):
    """A dot where the mouth is lies where the bent cut-out's mouth is said to be."""
    for seed in range(8):
        one = seed % len(pool.rgba)
        marked, (x, y) = np.zeros_like(pool.rgba[one]), pool.mouth[one, :2]
        cv2.circle(marked, (round(float(x)), round(float(y))), 4, (255, 255, 255, 255), -1)
        bent, field = collage._bent(marked, np.random.default_rng(seed))
        found = collage._moved(field, pool.mouth[one], pool.eyes[one])
        rows, columns = np.nonzero(bent[..., 3] > 127)
        assert np.hypot(columns.mean() - found[0], rows.mean() - found[1]) < 1.0


def test_pools_hold_photographic_people_and_come_back_whole(pool, tmp_path):
    kinds = [cutouts.random_character(number, "train").look for number in cutouts._characters(5, 0, "train", None)]
    assert kinds[:3] == ["photo"] * 3
    cutouts.save_pool(tmp_path / "pool.npz", pool)
    again = cutouts.load_pool(tmp_path / "pool.npz")
    assert all(np.array_equal(value, vars(again)[name]) for name, value in vars(pool).items())


class Knowing(torch.nn.Module):
    """Answers with a truth, moved by some pixels."""

    def __init__(self, truth, off=0.0):
        super().__init__()
        self.out = np.concatenate([np.where(truth[:1] > 0.999, 9.0, -9.0), truth[3:]])
        self.out[1] += off / finder.CELL

    def forward(self, x):
        return torch.from_numpy(self.out)[None]


def test_right_and_wrong_answers_are_counted(pool):
    tests = [collage.collage(pool, np.random.default_rng(seed)) for seed in range(40)]
    tests = [one for one in tests if (one[1][0] > 0.999).sum() == 1 and one[1][1].min() == 1][:3]
    for picture, truth in tests:
        assert training.measured(Knowing(truth), [(picture, truth)]) == (1.0, 0.0)
        assert training.measured(Knowing(truth, 400.0), [(picture, truth)])[0] == 0.0


def test_a_run_is_taken_up_again_and_writes_a_finder_that_loads(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "TESTS", 2)
    path, record = tmp_path / "finder.safetensors", tmp_path / "record.pt"
    torch.manual_seed(0)
    training.train(pool, pool, training.Course(1e-9, 1e-3), record, path)
    assert path.stat().st_size < 2 * 2**20
    assert not finder.load_finder(path).training
    first = torch.load(record, weights_only=True)
    training.train(pool, pool, training.Course(1.01 * first["spent"]), record, path)
    again = torch.load(record, weights_only=True)
    assert first["steps"] == 1
    assert again["steps"] > 1
    assert again["spent"] > first["spent"]
