"""SSIM, GMSD and edge energy against values known by construction."""

import numpy as np
import pytest

from omnisync_core.evaluation import structure

RNG = np.random.default_rng(0)
SMOOTH = np.cumsum(np.cumsum(RNG.normal(size=(48, 64)), 0), 1).astype(np.float32)
PICTURE = (SMOOTH - SMOOTH.min()) / np.ptp(SMOOTH)


def test_equal_pictures():
    assert structure.ssim(PICTURE, PICTURE) == pytest.approx(1)
    assert structure.gmsd(PICTURE, PICTURE) == 0


def test_ssim_of_flat_pictures_is_that_of_their_light():
    a, b = np.full((2, 20, 20), 0, np.float32) + np.float32([[[0.3]], [[0.6]]])
    assert structure.ssim(a, b) == pytest.approx((2 * 0.18 + 1e-4) / (0.09 + 0.36 + 1e-4), abs=1e-5)


def test_more_noise_is_further_away():
    noise = RNG.normal(size=PICTURE.shape).astype(np.float32)
    noisy = [PICTURE + level * noise for level in (0.01, 0.03, 0.1, 0.3)]
    near, apart = ([measure(one, PICTURE) for one in noisy] for measure in (structure.ssim, structure.gmsd))
    assert near == sorted(near, reverse=True)
    assert apart == sorted(apart)


def test_gmsd_does_not_see_light():
    assert structure.gmsd(PICTURE + np.float32(0.1), PICTURE) < 1e-6


def test_edge_energy_of_a_step():
    step = np.zeros((10, 12), np.float32)
    step[:, 5:] = 0.5
    assert structure.edge_energy(step) == pytest.approx(10 * 0.25)


def test_a_blur_has_less_edges_and_boxes_may_be_tiny_or_at_the_border():
    truth = np.repeat((PICTURE * 255).astype(np.uint8)[None, ..., None], 3, 3).repeat(2, 0)
    truth[:, 10:20, 10:20] = 255
    blurred = truth.copy()
    blurred[:, 1:-1, 1:-1] = (truth[:, 1:-1, :-2].astype(int) + truth[:, 1:-1, 1:-1] + truth[:, 1:-1, 2:]) // 3
    found = structure.compare(blurred, truth, np.array([[4, 4, 40, 40], [61, 45, 64, 48]]))
    assert found.edge_energy < 0.8 * found.edge_energy_true
    assert 0 < found.ssim < 1
    assert found.gmsd > 0
