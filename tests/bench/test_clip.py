"""A clip seen moment by moment, and the way back to its own sound."""

import numpy as np
import pytest

from omnisync_core.bench import registry
from omnisync_core.bench.clip import Clip, face_crop
from omnisync_core.bench.run import take
from omnisync_core.errors import InputError
from omnisync_core.manifest import read_manifest
from omnisync_core.synth.clips import read_video, write_video
from tests.bench.benches import Brightness


def test_a_face_s_crop_is_where_it_should_be():
    """A ramp: every pixel of the crop says which pixel of the picture it shows."""
    y, x = np.mgrid[:200, :240].astype(np.float32)
    ramp = np.stack([x, y, x], -1)
    crop = face_crop(ramp, (100.0, 80.0, 56.0), 112)
    expected = 72 + (np.arange(112) + 0.5) / 2 - 0.5
    assert np.abs(crop[50, :, 0] - expected).max() < 0.05
    small = face_crop(ramp, (120.0, 100.0, 160.0), 32)  # five pixels in one
    assert np.abs(small[:, 16, 1] - (20 + (np.arange(32) + 0.5) * 5 - 0.5)).max() < 0.6


def test_moments_are_runs_of_frames_that_belong_together_by_time(clips):
    row = read_manifest(clips / "list.csv")[0]
    frames = np.repeat(np.arange(80, dtype=np.uint8)[:, None, None, None], 48, 1).repeat(64, 2).repeat(3, 3)
    write_video(clips / "fast.mkv", frames, 100)  # four times the source's rate
    clip = Clip(row, clips / "fast.mkv", frames=32, needs_face=False)
    moments = list(clip.moments())
    source = read_video(row.video)
    assert [moment.run for moment in moments] == [0] * 16 + [1] * 16
    assert moments[0].index == 0
    assert moments[-1].index == 79
    for moment in moments:
        nearest = min(range(20), key=lambda at: abs(at / 25 - moment.index / 100))
        assert moment.result[0, 0, 0] == moment.index
        assert (moment.source == source[nearest]).all() or abs(moment.index / 4 % 1 - 0.5) < 1e-6


def test_a_result_that_begins_when_the_source_is_over_is_told(clips):
    row = read_manifest(clips / "list.csv")[0]
    clip = Clip(row, clips / "v0.mkv", needs_face=False)
    clip.__dict__["result"] = type("Late", (), {"times_N": np.array([9.0]), "frame_count": 1})()
    with pytest.raises(InputError, match="another video"):
        take(clip, {"lmd": Brightness([])})


@pytest.mark.parametrize("bring", [1.0, 0.5, 0.0])
def test_the_cycle_s_share_is_what_came_back(clips, bring):
    row = read_manifest(clips / "list.csv")[0]
    source = read_video(row.video).astype(int)
    result = source.copy()
    result[:, 30:40, 24:40] += 40
    back = (source + (1 - bring) * (result - source)).astype(np.uint8)
    write_video(clips / "result.mkv", result.astype(np.uint8), 25)
    write_video(clips / "back.mkv", back, 25)
    clip = Clip(row, clips / "result.mkv", back_path=clips / "back.mkv")
    taken = take(clip, {"cycle": registry.METRICS["cycle"].build(None, "cpu")})["cycle"]
    assert abs(taken.values["cycle"] - (1 - (1 - bring) ** 2)) < 0.02
    assert taken.values["changed"] > 1
