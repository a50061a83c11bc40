"""Test clips: exact twins, written without loss, the same for the same seed."""

import json

import numpy as np
import pytest
from scipy.io import wavfile

from omnisync_core import media
from omnisync_core.errors import OutputError
from omnisync_core.synth.clips import make_clip, read_clip, write_clips
from omnisync_core.synth.speech import TEST_VOICES

SIZE, SECONDS = 96, 0.6


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"), clips=2, seed=3, size=SIZE, seconds=SECONDS)


def test_files_are_as_described(written):
    assert [folder.name for folder in written] == ["clip_0000", "clip_0001"]
    for folder in written:
        for name in ("source.mkv", "truth.mkv"):
            info = media.probe_video(folder / name)
            assert (info.width, info.height, info.frame_count) == (SIZE, SIZE, 15)
            assert info.average_fps == pytest.approx(25, rel=1e-3)
        for name in ("source.wav", "target.wav"):
            rate, wave = wavfile.read(folder / name)
            assert rate == 16000
            assert wave.dtype == np.int16
            assert len(wave) == round(SECONDS * 16000)
            assert np.abs(wave).max() > 500
        about = json.loads((folder / "mouth.json").read_text(encoding="utf-8"))
        assert len(about["mouth_box_xyxy"]) == 15
        assert {"opening", "width", "rounding", "teeth"} <= about["source"].keys() == about["truth"].keys()
        assert all(len(values) == 15 for who in ("source", "truth") for values in about[who].values())
        assert about["caption"]
        assert about["target_voice"].split("+")[1] in TEST_VOICES


def test_reading_gives_back_what_was_made(written):
    clip, again = make_clip(3_000_000, size=SIZE, seconds=SECONDS), read_clip(written[0])
    assert np.array_equal(again.source_frames, clip.source_frames)
    assert np.array_equal(again.truth_frames, clip.truth_frames)
    np.testing.assert_allclose(again.target_wave, clip.target_wave, atol=1e-6)
    np.testing.assert_allclose(again.truth_mouth_T5, clip.truth_mouth_T5, atol=1e-5)
    assert np.array_equal(again.box_T4, clip.box_T4)
    assert again.caption == clip.caption


def test_twins_differ_in_the_box_alone(written):
    for clip in map(read_clip, written):
        outside = np.abs(clip.source_frames.astype(int) - clip.truth_frames).max(-1)
        for frame, (x0, y0, x1, y1) in enumerate(clip.box_T4):
            outside[frame, max(y0 - 2, 0) : y1 + 2, max(x0 - 2, 0) : x1 + 2] = 0
        assert outside.max() <= 2
        assert np.abs(clip.source_mouth_T5 - clip.truth_mouth_T5).max() > 0.1
        x, y = clip.point
        assert abs(x - clip.center_T2[0, 0]) <= 0.5
        assert abs(y - clip.center_T2[0, 1]) <= 0.5


def test_style_changes_only_how_far_the_mouth_opens():
    loud, mumble = (make_clip(4, size=32, seconds=SECONDS, style=style) for style in ("loud", "mumble"))
    assert np.array_equal(loud.source_frames, mumble.source_frames)
    assert np.array_equal(loud.target_wave, mumble.target_wave)
    ratio = loud.truth_mouth_T5[:, 0].mean() / mumble.truth_mouth_T5[:, 0].mean()
    assert ratio == pytest.approx(1.3 / 0.55, rel=1e-4)
    assert loud.caption != mumble.caption


def test_seeds_and_splits_are_apart():
    one, other = make_clip(5, size=32, seconds=0.2), make_clip(6, size=32, seconds=0.2)
    train = make_clip(5, "train", size=32, seconds=0.2)
    assert not np.array_equal(one.source_frames, other.source_frames)
    assert not np.array_equal(one.source_frames, train.source_frames)
    assert one.target_text != train.target_text
    assert one.family != train.family


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "clip_0000").write_text("")
    with pytest.raises(OutputError, match="clip_0000"):
        write_clips(tmp_path, clips=1, seed=0, size=32, seconds=0.2)
