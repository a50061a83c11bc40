"""The frozen reader on characters, voices and poses that it never met."""

import cv2
import numpy as np
import pytest

from omnisync_core.evaluation.figures import correlation, fisher_mean
from omnisync_core.sheets.reader import CROP_SIZE, WEIGHTS, mouth_crop, read_opening
from omnisync_core.synth.scene import Scene

FRAMES, SIZE = 20, 160


@pytest.fixture(scope="module")
def renders():
    """Frames, places and true openings of unseen families that say made-up syllables."""
    clips = []
    for seed in range(40, 58):
        scene = Scene.random(seed, "test")
        if scene.occluder is not None:
            continue
        rng, times = np.random.default_rng(seed), np.linspace(0, 2, FRAMES)
        mouth = rng.uniform((0, 0, 0, 0, 0), (1.2, 1, 1, 1, 1), (FRAMES, 5)).astype(np.float32)
        mouth[:4, 0] = 0
        center, width = scene.mouth_center(times) * SIZE, scene.mouth_width * SIZE
        clips.append((scene.render(mouth, times, size=SIZE), center, width, mouth[:, 0]))
    return clips


def test_weights_are_small():
    assert WEIGHTS.stat().st_size < 2_000_000


def test_reads_unseen_renders(renders):
    read = [read_opening(frames, center, width) for frames, center, width, _ in renders]
    true = [opening for *_, opening in renders]
    assert correlation(np.concatenate(read), np.concatenate(true)) > 0.95
    assert fisher_mean(np.array([correlation(a, b) for a, b in zip(read, true, strict=True)])) > 0.95


def test_reads_soft_and_noisy_pictures(renders):
    rng = np.random.default_rng(0)
    read, true = [], []
    for frames, center, width, opening in renders:
        small = [cv2.resize(frame, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA) for frame in frames]
        soft = np.stack([cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) for frame in small])
        noisy = np.clip(soft + rng.normal(0, 4, soft.shape), 0, 255).astype(np.uint8)
        read.append(read_opening(noisy, center, width))
        true.append(opening)
    assert correlation(np.concatenate(read), np.concatenate(true)) > 0.93


def test_the_crop_is_where_it_should_be():
    frame = np.zeros((100, 120, 3), np.uint8)
    frame[60:64, 50:54] = 255
    crop = mouth_crop(frame, 52, 62, 24)
    assert crop.shape == (CROP_SIZE, CROP_SIZE, 3)
    ys, xs = np.nonzero(crop[..., 0] > 128)
    assert xs.mean() == pytest.approx(23.5, abs=0.6)
    assert ys.mean() == pytest.approx(23.5 - 0.2 * 24, abs=0.6)
