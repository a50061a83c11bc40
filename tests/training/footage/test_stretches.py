"""Which frames of a track make a clip, and which of them is on the screen when."""

from dataclasses import replace

import numpy as np
import pytest

from omnisync_core.engines.latentsync import align
from omnisync_core.mouth import MouthTrack
from omnisync_core.training.footage.stretches import affines, find_stretches, shown_frames


def track(count: int = 120, fps: float = 30.0, **changed) -> MouthTrack:
    """A mouth that walks to the right."""
    whole = MouthTrack(
        pts_N=0.5 + np.arange(count) / fps,
        center_N2=np.column_stack([np.linspace(0.3, 0.6, count), np.full(count, 0.5)]),
        width_N=np.full(count, 0.1),
        confidence_N=np.ones(count),
        source_N=np.full(count, "finder"),
        shot_N=np.zeros(count, int),
        frame_size=(200, 100),
    )
    return replace(whole, **changed)


def test_a_stretch_ends_with_the_shot_and_where_the_mouth_is_lost():
    sure = np.ones(120)
    sure[30] = 0
    sure[100:] = 0.4
    found = find_stretches(track(confidence_N=sure, shot_N=np.arange(120) // 60), 0.3, 20)
    assert [(one.start, one.stop) for one in found] == [(0, 30), (31, 60), (60, 120)]
    assert [one.confidence for one in found] == [1, 1, 0.4]
    assert [one.frames for one in found] == [25, 24, 50]
    assert [(one.start, one.stop) for one in find_stretches(track(confidence_N=sure), 0.5, 30)] == [(31, 100)]
    assert find_stretches(track(confidence_N=np.zeros(120)), 0.0, 1) == []


def test_each_moment_shows_the_frame_that_is_on_the_screen_then():
    (stretch,) = find_stretches(track(), 0.3, 20)
    assert (stretch.begin, stretch.frames) == (0.5, 100)
    assert stretch.end == pytest.approx(4.5)
    shown_F = shown_frames(stretch, track().pts_N)
    assert shown_F[:7].tolist() == [0, 1, 2, 3, 4, 6, 7], "25 of 30: every sixth is left out"
    assert len(shown_F) == 100
    assert shown_F[-1] == 118
    slow = track(count=30, fps=10)
    assert shown_frames(find_stretches(slow, 0.3, 20)[0], slow.pts_N)[:6].tolist() == [0, 0, 0, 1, 1, 2]


def test_long_ones_are_cut_evenly():
    (stretch,) = find_stretches(track(), 0.3, 20)
    parts = stretch.split(track().pts_N, 3)
    assert [(one.start, one.stop) for one in parts] == [(0, 40), (40, 80), (80, 120)]
    assert parts[0].begin == stretch.begin
    assert parts[-1].end == stretch.end
    assert parts[0].end == parts[1].begin == track().pts_N[40]
    assert stretch.split(track().pts_N, 1) == [stretch]


@pytest.mark.parametrize("roll", [0.0, 0.5])
def test_the_mouth_lies_where_the_template_has_it(roll):
    walking = track(roll_N=np.full(120, roll))
    (stretch,) = find_stretches(walking, 0.3, 20)
    to_face = affines(walking, stretch, 256)
    place_N2 = walking.center_N2 * [200, 100] - 0.5
    found = np.einsum("nij,nj->ni", to_face[:, :, :2], place_N2) + to_face[:, :, 2]
    assert np.abs(found - align.MOUTH * align.RATIO).max() < 0.05
    along = np.array([np.cos(roll), np.sin(roll)]) * 20
    width = np.einsum("nij,j->ni", to_face[:, :, :2], along)
    assert np.abs(width - [align.MOUTH_WIDTH * align.RATIO, 0]).max() < 0.05, "20 pixels wide, and level"


def test_brows_and_nose_count_where_all_frames_tell_them():
    points_N32 = np.stack([align.TEMPLATE / 200 + [0.1 + 0.001 * number, 0.2] for number in range(120)])
    turned = track(head_N32=points_N32)
    (stretch,) = find_stretches(turned, 0.3, 20)
    to_face = affines(turned, stretch, 256)
    found = np.einsum("nij,nkj->nki", to_face[:, :, :2], points_N32 * [200, 100] - 0.5) + to_face[:, None, :, 2]
    assert np.abs(found.mean(1) - align.template(256).mean(0)).max() < 0.05
    unsure = points_N32.copy()
    unsure[50] = np.nan
    some = track(head_N32=unsure)
    assert np.array_equal(affines(some, stretch, 256), affines(track(), stretch, 256))
