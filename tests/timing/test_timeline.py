"""Length policies against timelines written by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisync_core.errors import InputError
from omnisync_core.timing import timeline

FOUR = np.array([0.0, 0.1, 0.2, 0.3])
VARIABLE = np.array([0.0, 0.1, 0.4, 0.5])


def shown(times, sound, policy, limit=None):
    plan = timeline.plan_timeline(times, sound, policy, limit)
    return plan.source_V.tolist(), plan.time_V.round(6).tolist(), np.flatnonzero(plan.fresh_V).tolist()


@pytest.mark.parametrize("policy", ["source", "silence"])
@pytest.mark.parametrize("sound", [0.05, 0.4, 3.0])
def test_the_source_stays_as_it_is(policy, sound):
    plan = timeline.plan_timeline(VARIABLE, sound, policy)
    np.testing.assert_array_equal(plan.time_V, VARIABLE)
    assert plan.source_V.tolist() == [0, 1, 2, 3]
    assert plan.end == pytest.approx(0.6)


@pytest.mark.parametrize("policy", ["bounce", "loop", "freeze"])
def test_a_shorter_sound_never_shortens_the_video(policy):
    assert shown(FOUR, 0.2, policy) == shown(FOUR, 9, "source")


def test_cut_off_takes_the_shorter():
    assert shown(FOUR, 0.2, "cut_off") == ([0, 1], [0, 0.1], [0])
    assert shown(FOUR, 0.21, "cut_off")[0] == [0, 1, 2]
    assert shown(FOUR, 0.001, "cut_off")[0] == [0]
    assert shown(FOUR, 5, "cut_off")[0] == [0, 1, 2, 3]
    assert timeline.plan_timeline(FOUR, 0.25, "cut_off").end == 0.25


def test_bounce_turns_at_both_ends_without_showing_them_twice():
    order, times, fresh = shown(VARIABLE, 1.45, "bounce")
    assert order == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert times == [0, 0.1, 0.4, 0.5, 0.6, 0.9, 1.0, 1.1, 1.4]
    assert fresh == [0]


def test_loop_starts_again_with_a_cut():
    order, times, fresh = shown(VARIABLE, 1.15, "loop")
    assert order == [0, 1, 2, 3, 0, 1, 2, 3]
    assert times == [0, 0.1, 0.4, 0.5, 0.6, 0.7, 1.0, 1.1]
    assert fresh == [0, 4]


def test_freeze_repeats_the_last_frame():
    assert shown(FOUR, 0.65, "freeze") == ([0, 1, 2, 3, 3, 3, 3], [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0])


def test_remap_keeps_the_rate():
    assert shown(FOUR, 0.8, "remap") == ([0, 0, 1, 1, 2, 2, 3, 3], np.round(np.arange(8) * 0.1, 6).tolist(), [0])
    assert shown(FOUR, 0.2, "remap") == ([0, 2], [0, 0.1], [0])
    assert shown(FOUR, 0.42, "remap") == shown(FOUR, 0.4, "source")


def test_preview_keeps_the_first_seconds():
    assert shown(FOUR, 9, "loop", limit=0.3)[0] == [0, 1, 2]
    assert shown(FOUR, 9, "source", limit=99)[0] == [0, 1, 2, 3]


def test_a_late_first_frame_stays_late():
    late = FOUR + 0.5
    assert shown(late, 0.65, "cut_off")[:2] == ([0, 1], [0.5, 0.6])
    assert shown(late, 1.1, "loop")[:2] == ([0, 1, 2, 3, 0, 1], [0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert shown(late, 1.3, "remap")[:2] == ([0, 0, 1, 1, 2, 2, 3, 3], [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2])
    assert shown(late, 0.1, "cut_off")[:2] == shown(late, 0.1, "remap")[:2] == ([0], [0.5])


def test_one_frame_can_be_continued():
    for policy in ("bounce", "loop", "freeze"):
        order, times, _ = shown(np.array([0.1]), 0.3, policy)
        assert order == [0] * 5
        assert times == [0.1, 0.14, 0.18, 0.22, 0.26]


def test_an_unknown_policy_names_the_known_ones():
    with pytest.raises(InputError, match="cut_off"):
        timeline.plan_timeline(FOUR, 1, "pingpong")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(0.005, 0.2), min_size=0, max_size=30),
    st.floats(0.001, 20),
    st.sampled_from(sorted(timeline.POLICIES)),
    st.none() | st.floats(0.01, 5),
)
def test_any_timeline_is_sound(gaps, sound, policy, limit):
    times = 1 + np.cumsum([0.0, *gaps])
    plan = timeline.plan_timeline(times, sound, policy, limit)
    assert len(plan) == len(plan.time_V) == len(plan.fresh_V) >= 1
    assert plan.fresh_V[0]
    assert plan.time_V[0] == times[0]
    assert (np.diff(plan.time_V) > 0).all()
    assert plan.source_V.min() >= 0
    assert plan.source_V.max() < len(times)
    step = max([*gaps, timeline.STILL_INTERVAL])
    if policy in ("bounce", "loop", "freeze"):
        end = max(sound, timeline.plan_timeline(times, 0.001, "source").end)
        end = max(times[0], end if limit is None else min(end, limit))
        assert end - step - 1e-5 <= plan.time_V[-1] <= end
