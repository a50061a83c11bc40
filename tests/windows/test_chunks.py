"""Windows: cover every frame once in order, share what they should, never cross a cut, meet without a step."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisync_core.spec import VideoSpec
from omnisync_core.windows import chunks

SPEC = VideoSpec(window_frames=25, overlap_frames=9)


def test_a_long_run_by_hand():
    windows = chunks.plan_windows([(0, 60)], window=25, overlap=9)
    assert [(w.start, w.stop, w.lead) for w in windows] == [(0, 25, 0), (16, 41, 9), (32, 57, 9), (35, 60, 22)]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 120), min_size=1, max_size=5), st.integers(1, 8), st.data())
def test_windows_cover_every_run(lengths, latents, data):
    window = 1 + 4 * latents
    overlap = data.draw(st.integers(0, window - 1))
    stops = np.cumsum(lengths)
    runs = list(zip(stops - lengths, stops, strict=True))
    windows = chunks.plan_windows(runs, window, overlap)
    assert [w.index for w in windows] == list(range(len(windows)))
    for start, stop in runs:
        mine = [w for w in windows if start <= w.start < stop]
        assert mine[0].start == start
        assert mine[0].lead == 0
        assert mine[-1].stop == stop
        for before, after in itertools.pairwise(mine):
            assert after.stop > before.stop
            assert before.stop - after.start == after.lead >= overlap
        assert all(len(w) == window for w in mine) or (len(mine) == 1 and len(mine[0]) == stop - start < window)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=80), st.integers(1, 4))
def test_edited_frames_hold_both_ends_of_each_run(cuts, stride):
    fresh = np.array(cuts)
    fresh[0] = True
    positions, runs = chunks.edited_frames(fresh, stride)
    assert (np.diff(positions) > 0).all()
    assert [int(positions[start]) for start, _ in runs] == np.flatnonzero(fresh).tolist()
    assert [int(positions[stop - 1]) + 1 for _, stop in runs] == [*np.flatnonzero(fresh)[1:].tolist(), len(fresh)]
    for start, stop in runs:
        assert (np.diff(positions[start:stop]) <= stride).all()


@pytest.mark.parametrize(("frames", "fed"), [(1, 9), (9, 9), (10, 13), (13, 13), (24, 25), (25, 25)])
def test_engines_are_fed_whole_latent_frames(frames, fed):
    assert chunks.fed_length(frames, SPEC) == fed


def test_a_tiny_window_is_never_exceeded():
    assert chunks.fed_length(3, VideoSpec(window_frames=5, overlap_frames=1)) == 5


@pytest.mark.parametrize(("lead", "anchor"), [(0, 0), (1, 1), (4, 1), (5, 5), (9, 9), (24, 21)])
def test_anchors_fill_latent_frames(lead, anchor):
    assert chunks.anchor_length(lead, SPEC) == anchor


def test_blend_is_a_straight_ramp():
    before = np.full((3, 2, 2, 3), 40, np.uint8)
    after = np.full((5, 2, 2, 3), 80, np.uint8)
    assert chunks.blend(before, after)[:, 0, 0, 0].tolist() == [50, 60, 70, 80, 80]
    assert chunks.blend(before[:0], after) is not after
    np.testing.assert_array_equal(chunks.blend(before[:0], after), after)


def test_quantise_clips_and_rounds():
    assert chunks.quantise(np.array([-1, 0, 0.5, 1, 2], np.float32)).tolist() == [0, 0, 128, 255, 255]


def test_seeds_of_windows_are_apart_and_fixed():
    seeds = {chunks.window_seed(seed, index) for seed in range(20) for index in range(50)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert chunks.window_seed(7, 3) == chunks.window_seed(7, 3) == 2530781778362038830
