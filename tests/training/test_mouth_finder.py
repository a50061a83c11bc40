"""What the finder learns from: cut-outs whose mouths are known, and collages of them."""

import cv2
import numpy as np
import pytest
import torch

from omnisync_core.mouth import finder
from omnisync_core.synth.solids import solid_heads
from omnisync_core.training import mouth_finder as training


@pytest.fixture(scope="module")
def pool():
    return training.draw_pool(3, 0)


def test_a_solids_mouth_lies_on_it_below_its_eyes():
    for seed in range(6):
        (cutout,) = solid_heads(np.random.default_rng(seed))
        x, y, width, _ = cutout.mouth
        if cutout.share < 0.3:
            continue
        assert cutout.rgba_HW4[round(y), round(x), 3] > 200 and y > cutout.eyes[1]
        assert 15 < width < 80 and cutout.rgba_HW4[..., 3].mean() > 40


def test_a_drawn_cutout_shows_the_character_without_its_backdrop():
    cutout = training.drawn_head(7, np.random.default_rng(0))
    mask = cutout.rgba_HW4[..., 3]
    x, y, *_ = cutout.mouth
    assert mask[2, 2] == 0 and mask[round(y), round(x)] == 255 and cutout.eyes[1] < y


def test_the_truth_marks_the_pasted_mouth(pool):
    """On an empty canvas the pasted head's mouth is where the truth has its one peak."""
    for seed in range(5):
        mouths = []
        canvas = np.zeros((128, 128, 3), np.uint8)
        training._paste(canvas, pool, np.random.default_rng(seed), mouths)
        (x, y, width, roll, *_, shown), truth = mouths[0], training._truth(mouths, 128)
        if not shown:
            assert truth[0].max() < 1
            continue
        row, column = np.unravel_index(truth[0].argmax(), truth[0].shape)
        dx, dy, wide, turned = truth[3:7, row, column]
        assert np.allclose(((column + 0.5 + dx) * finder.CELL, (row + 0.5 + dy) * finder.CELL), (x, y), atol=1e-3)
        assert np.isclose(finder.USUAL * np.exp(wide), width, rtol=1e-4) and np.isclose(turned, roll, atol=1e-5)


def test_a_covered_mouth_counts_neither_way():
    mouth = np.array([60.0, 60, 24, 0, 60, 40, 1])
    mask = np.zeros((128, 128), np.uint8)
    assert training._hidden(mouth, mask)[6] == 1
    cv2.circle(mask, (60, 60), 20, 255, -1)
    truth = training._truth([training._hidden(mouth, mask)], 128)
    row = column = 60 // finder.CELL
    assert truth[1, row, column] == 0 and truth[2].sum() == 0 and truth[0].max() == 0


def test_mirrored_twice_is_the_same(pool):
    picture, truth = training.collage(pool, np.random.default_rng(2))
    assert picture.shape == (training.SIDE, training.SIDE, 3) and picture.dtype == np.uint8
    once = training.mirrored(picture, truth)
    twice = training.mirrored(*once)
    assert np.array_equal(twice[0], picture) and np.array_equal(twice[1], truth)
    assert not np.array_equal(once[0], picture)


def test_the_loss_is_least_for_the_truth_itself(pool):
    _, truth = training.collage(pool, np.random.default_rng(1))
    truth = torch.from_numpy(truth)[None]
    perfect = torch.cat([torch.where(truth[:, :1] > 0.999, 12.0, -12.0), truth[:, 3:]], 1)
    best, _ = training._loss(perfect, truth)
    worse, _ = training._loss(perfect + 0.3, truth)
    assert best < 0.05 and worse > best


def test_a_few_steps_write_a_finder_that_loads(pool, tmp_path):
    path = tmp_path / "finder.safetensors"
    torch.manual_seed(0)
    training.train(finder.MouthFinder(), pool, 1, 1e-3, 0, path)
    assert path.stat().st_size < 2 * 2**20
    assert not finder.load_finder(path).training
