"""Crops of pictures in memory and their edits back, against the pipeline and against nothing happening."""

from dataclasses import replace

import numpy as np
import pytest

from omnisync_core.audio import SpeechWave
from omnisync_core.crop import pictures as crops
from omnisync_core.errors import InputError
from omnisync_core.job.options import SyncOptions
from omnisync_core.mouth import MouthTrack, track
from omnisync_core.pipeline import sync_video
from omnisync_core.windows.chunks import window_seed
from tests.fake import FakeEngine, edit_alone, pictures, write_sound, write_video

SIZE = (64, 48)


def centred(frames, confidence=None, size=SIZE, shot=None):
    confidence = np.ones(frames) if confidence is None else np.array(confidence, np.float64)
    return MouthTrack(
        np.arange(frames) / 25, np.tile([0.5, 0.62], (frames, 1)), np.full(frames, 0.15), confidence,
        np.array(["user"] * frames), np.zeros(frames, int) if shot is None else np.array(shot), size,
    )  # fmt: skip


def noise(frames=1, size=SIZE, channels=3):
    return np.random.default_rng(0).random((frames, size[1], size[0], channels)).astype(np.float32)


def test_a_crop_that_comes_back_as_it_was_changes_nothing():
    picture, cut = noise()[0], crops.plan_region(centred(1), SIZE, 1, 32)
    change = cut.change(picture, 0, cut.cut(picture, 0))
    x0, y0, x1, y1 = change.box
    assert np.array_equal(change.pixels, picture[y0:y1, x0:x1])
    assert change.mask.max() > 0.9


@pytest.mark.parametrize("size", [16, 32, 96])
def test_outside_the_mask_the_pixels_are_the_sources(size):
    picture, cut = noise(channels=4)[0], crops.plan_region(centred(1), SIZE, 1, 32)
    change = cut.change(picture, 0, np.ones((size, size, 3), np.float32))
    x0, y0, x1, y1 = change.box
    source, outside = picture[y0:y1, x0:x1, :3], change.mask == 0
    assert np.array_equal(change.pixels[outside], source[outside])
    assert outside.any()
    assert np.abs(change.pixels - source).max() > 0.3
    assert change.pixels.max() <= 1
    assert np.array_equal(cut.mask(0)[1] > 0, crops.plan_region(centred(1), SIZE, 1, 32).mask(0)[1] > 0)


def test_where_no_mouth_is_known_nothing_changes():
    cut = crops.plan_region(centred(20, [1] * 8 + [0] * 12), SIZE, 20, 32)
    assert cut.mask(19) is None
    assert cut.change(noise()[0], 19, np.ones((32, 32, 3), np.float32)) is None
    assert cut.mask(7)[1].max() < cut.mask(0)[1].max()


def test_the_mouths_track_is_that_of_the_padded_crops():
    cut = crops.plan_region(centred(10, shot=[0] * 4 + [1] * 6), SIZE, 10, 32)
    mouths = cut.mouths()
    assert cut.padded == len(mouths.pts_N) == 13
    assert mouths.frame_size == (32, 32)
    assert np.allclose(mouths.center_N2, 0.5, atol=0.1)
    assert np.allclose(mouths.width_N, 1 / 2.4, atol=0.01)
    assert np.allclose(np.diff(mouths.pts_N), 0.04)
    assert mouths.shot_N[-1] == 1
    assert not len(mouths.roll_N)
    turned = replace(centred(10), roll_N=np.arange(10) / 10)
    assert crops.plan_region(turned, SIZE, 10, 32).mouths().roll_N.tolist()[-4:] == [0.9] * 4
    assert crops.plan_region(centred(1), SIZE, 1, 32).padded == 9


def test_a_scaled_copy_is_cut_at_the_same_place():
    cut = crops.plan_region(centred(1, size=(640, 480)), SIZE, 1, 32)
    assert cut.regions[0].side == pytest.approx(2.4 * 0.15 * 64)


@pytest.mark.parametrize(
    ("frames", "size", "message"),
    [(3, SIZE, "track has 2 frames, the images are 3"), (2, (64, 64), "track is of 64x48 pictures")],
)
def test_a_track_of_other_images_is_told(frames, size, message):
    with pytest.raises(InputError, match=message):
        crops.plan_region(centred(2), size, frames, 32)


def test_one_pixel_is_enough():
    picture, cut = noise(size=(1, 1))[0], crops.plan_region(centred(1, size=(1, 1)), (1, 1), 1, 16)
    assert cut.cut(picture, 0).shape == (16, 16, 3)
    assert np.isfinite(cut.change(picture, 0, np.ones((16, 16, 3))).pixels).all()


def test_a_window_through_the_parts_is_the_pipelines(tmp_path):
    """On RGB planes without loss; the pipeline keeps a window with 8 bits and writes 8 bits: two levels of 255."""
    video = write_video(tmp_path / "source.mkv", frames=9, codec="ffv1", pix_fmt="bgr0")
    sound = write_sound(tmp_path / "sound.wav", seconds=0.36)
    options = SyncOptions(seed=4, mouth=(32.0, 30.0, 10.0), lossless=True)
    engine = FakeEngine()
    sync_video(video, sound, tmp_path / "result.mkv", engine, options)
    source = np.stack(pictures(video)) / np.float32(255)
    found = track(((k / 25, frame) for k, frame in enumerate(source)), options.mouth)
    cut = crops.plan_region(found, SIZE, 9, engine.spec.crop_size)
    given = np.stack([cut.cut(frame, k) for k, frame in enumerate(source)])
    speech = engine.speech(SpeechWave(sound)).at(np.arange(9) / 25)
    mouth_T3 = np.concatenate([cut.mouths().center_N2, cut.mouths().width_N[:, None]], 1).astype(np.float32)
    seed = window_seed(options.seed, 0)
    edit = edit_alone(engine, given, speech, mouth_T3, anchor=None, seed=seed, on_step=lambda done, total: None)
    worst = 0.0
    for k, expected in enumerate(pictures(tmp_path / "result.mkv")):
        result = source[k].copy()
        change = cut.change(source[k], k, edit.edited_THWC[k], edit.reference_THWC[k])
        x0, y0, x1, y1 = change.box
        result[y0:y1, x0:x1] = change.pixels
        worst = max(worst, np.abs(result * 255 - expected).max())
        assert np.abs(expected - source[k] * 255).max() > 20
    assert worst <= 2
