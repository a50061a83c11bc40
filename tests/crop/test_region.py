import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisync_core.crop import region
from omnisync_core.mouth import MouthTrack
from omnisync_core.spec import VideoSpec

FRAME = (160, 120)
places = st.floats(-150, 250, allow_nan=False)
boxes = st.builds(region.Box, places, places, st.floats(8, 300))
inner_boxes = st.builds(region.Box, st.floats(5, 60), st.floats(5, 40), st.floats(30, 70))
settings.register_profile("region", max_examples=40, deadline=None)
settings.load_profile("region")


def provider(frame):
    """Like `Frame.rgb`, and strict about the box."""

    def rgb(box):
        x0, y0, x1, y1 = box
        assert all(isinstance(v, int) for v in box)
        assert 0 <= x0 < x1 <= frame.shape[1]
        assert 0 <= y0 < y1 <= frame.shape[0]
        return frame[y0:y1, x0:x1]

    return rgb


def cut(frame, box, size=48):
    return region.crop(provider(frame), (frame.shape[1], frame.shape[0]), box, size)


def wavy(phase=0.0):
    """A smooth picture whose value is known at every continuous x, y."""
    y, x = np.mgrid[: FRAME[1], : FRAME[0]] + 0.5
    return picture_at(x, y, phase)


def picture_at(x, y, phase=0.0):
    waves = [np.sin(x / 17 + phase) * np.cos(y / 23), np.cos(x / 29 + y / 19), np.sin(y / 15 - phase)]
    return np.float32(0.5 + 0.4 * np.stack(waves, axis=-1))


def part(frame, cover):
    return frame[cover[1] : cover[3], cover[0] : cover[2]]


def central_mask(size=48):
    return region.edit_mask(size, [[0.5, 0.5, 1 / 2.4]])[0]


@given(inner_boxes, st.sampled_from([24, 48, 96]))
def test_a_crop_is_exact_to_the_sub_pixel(box, size):
    at = (np.arange(size) + 0.5) * box.side / size
    x, y = np.meshgrid(box.x0 + at, box.y0 + at)
    assert np.abs(cut(wavy(), box, size) - picture_at(x, y)).max() < 0.015


@given(boxes)
def test_any_box_gives_a_crop_and_a_zero_edit_changes_nothing(box):
    frame = np.random.default_rng(0).random((FRAME[1], FRAME[0], 3), np.float32)
    crop = cut(frame, box)
    assert crop.shape == (48, 48, 3)
    assert crop.dtype == np.float32
    assert np.isfinite(crop).all()
    assert np.allclose(cut(np.full_like(frame, 0.3), box), 0.3, atol=1e-5)
    cover = region.cover(box, FRAME)
    if cover is None:
        assert box.x0 >= 160 or box.y0 >= 120 or box.x0 + box.side <= 0 or box.y0 + box.side <= 0
        return
    change = region.delta(part(frame, cover), cover, box, crop, crop, central_mask())
    assert change.shape == part(frame, cover).shape
    assert change.dtype == np.float32
    assert not change.any()


@given(boxes, st.floats(-0.3, 1.3), st.floats(-0.3, 1.3), st.floats(0.01, 1.5))
def test_no_edit_leaves_its_mask_or_its_crop(box, x, y, width):
    cover = region.cover(box, FRAME)
    if cover is None:
        return
    rng = np.random.default_rng(0)
    frame, edited = rng.random((FRAME[1], FRAME[0], 3), np.float32), rng.random((48, 48, 3), np.float32)
    mask = region.edit_mask(48, [[x, y, width]])[0]
    change = region.delta(part(frame, cover), cover, box, edited, cut(frame, box), mask)
    on_source = region.source_mask(mask, box, cover)
    assert np.isfinite(change).all()
    assert not change[on_source == 0].any()
    # The outer 4 % of the crop is the source's: the edit cannot show the crop's border.
    rows, columns = np.mgrid[cover[1] : cover[3], cover[0] : cover[2]] + 0.5
    inside = np.minimum(columns - box.x0, rows - box.y0)
    inside = np.minimum(inside, np.minimum(box.x0 + box.side - columns, box.y0 + box.side - rows))
    assert not change[inside < 0.04 * box.side - max(1, box.side / 48)].any()


@pytest.mark.parametrize("side", [30.0, 61.7, 150.0])
def test_an_edit_lands_where_it_was_drawn(side):
    rng = np.random.default_rng(1)
    frame = wavy()
    for _ in range(8):
        box = region.Box(80 - side / 2 + rng.random(), 60 - side / 2 + rng.random(), side)
        spot = rng.uniform(0.42, 0.58, 2)
        at = (np.arange(48) + 0.5) / 48
        blob = np.exp(-((at[None, :] - spot[0]) ** 2 + (at[:, None] - spot[1]) ** 2) / (2 * 0.06**2))[..., None]
        reference = cut(frame, box)
        cover = region.cover(box, FRAME)
        change = region.delta(part(frame, cover), cover, box, reference + 0.02 * blob, reference, central_mask())
        weight = change.sum(axis=2)
        rows, columns = np.mgrid[cover[1] : cover[3], cover[0] : cover[2]] + 0.5
        center = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
        assert np.abs(center - (box.x0 + spot[0] * side, box.y0 + spot[1] * side)).max() < 0.1


def test_a_strong_edit_replaces_the_pixels_and_keeps_the_sources_colour():
    frame, box = wavy(), region.Box(40.3, 20.6, 80)
    reference = cut(frame, box) + np.float32([0.06, -0.04, 0.05])  # the codec's colour error
    target = cut(wavy(phase=2.0), box)
    cover = region.cover(box, FRAME)
    change = region.delta(
        part(frame, cover), cover, box, target + np.float32([0.06, -0.04, 0.05]), reference, central_mask()
    )
    result = part(frame, cover) + change
    core = region.source_mask(central_mask(), box, cover) == 1
    differs = np.abs(part(wavy(phase=2.0), cover) - part(frame, cover)).max(axis=2) > 0.15
    assert (core & differs).sum() > 100
    assert np.abs(result - part(wavy(phase=2.0), cover))[core & differs].max() < 0.04


def test_where_the_engine_changed_nothing_the_sources_texture_stays():
    rng = np.random.default_rng(2)
    frame, box = rng.random((FRAME[1], FRAME[0], 3), np.float32), region.Box(40, 20, 80)
    reference = np.full((48, 48, 3), 0.5, np.float32)
    edited = reference + rng.normal(0, 0.3 / 255, reference.shape).astype(np.float32)
    cover = region.cover(box, FRAME)
    assert np.abs(region.delta(part(frame, cover), cover, box, edited, reference, central_mask())).max() < 0.5 / 255


def test_shrinking_is_free_of_aliasing():
    stripes = np.zeros((120, 160, 3), np.float32)
    stripes[:, ::2] = 1
    assert np.abs(cut(stripes, region.Box(20.3, 10.1, 96), 24) - 0.5).max() < 0.02


def test_the_source_must_be_that_of_the_cover():
    with pytest.raises(ValueError, match="needs"):
        region.delta(
            np.zeros((5, 5, 3)), (0, 0, 9, 9), region.Box(0, 0, 9), *np.zeros((2, 24, 24, 3)), central_mask(24)
        )


@given(
    st.lists(st.tuples(*[st.floats(-2, 3)] * 2, st.floats(-1, 4)), min_size=1, max_size=4),
    st.sampled_from([16, 48, 96, 256]),
)
def test_masks_end_smoothly_before_the_border_whatever_the_mouth(mouths, size):
    masks = region.edit_mask(size, np.array(mouths))
    assert masks.shape == (len(mouths), size, size)
    assert masks.dtype == np.float32
    assert (masks >= 0).all()
    assert (masks <= 1).all()
    outer = max(1, int(0.04 * size))
    for edge in (masks[:, :outer], masks[:, -outer:], masks[:, :, :outer], masks[:, :, -outer:]):
        assert not edge.any()


def test_the_mask_holds_mouth_and_jaw_and_no_steps():
    mask = central_mask(240)
    at = (np.arange(240) + 0.5) / 240
    assert (mask[np.ix_((at > 0.4) & (at < 0.7), (at > 0.26) & (at < 0.74))] == 1).all()
    rows = np.flatnonzero(mask.any(axis=1))
    assert rows[-1] - 120 > 1.15 * (120 - rows[0])
    assert max(np.abs(np.diff(mask, axis=a)).max() for a in (0, 1)) < 0.1


def track(x, y, width, confidence=1.0, shot=0):
    n = len(x)
    center = np.stack([x, y], axis=1) / (1000.0, 500.0)
    filled = [np.broadcast_to(v, n) for v in (width, confidence, shot)]
    return MouthTrack(
        np.arange(n) / 25, center, filled[0] / 1000, filled[1], np.repeat("user", n), filled[2], (1000, 500)
    )


def test_one_side_per_shot_from_its_widest_mouth():
    width = np.concatenate([np.linspace(40, 60, 50), np.full(30, 90.0)])
    width[7] = 400
    regions = region.plan_crops(
        track(np.full(80, 500.0), np.full(80, 250.0), width, shot=np.arange(80) >= 50), VideoSpec()
    )
    assert [(r.start, r.stop) for r in regions] == [(0, 50), (50, 80)]
    assert 2.4 * 58 < regions[0].side < 2.4 * 62
    assert regions[1].side == pytest.approx(2.4 * 90)
    assert regions[1].mouth_T3[0] == pytest.approx((0.5, 0.5, 1 / 2.4))
    box = regions[1].box(50)
    assert (box.x0, box.y0) == pytest.approx((500 - 108, 250 - 108))
    with pytest.raises(IndexError, match="outside this shot"):
        regions[0].box(50)


def test_the_crop_is_steady_while_the_head_wobbles_inside():
    t = np.arange(100) / 25
    x = 500 + 60 * np.sin(2 * np.pi * 0.2 * t) + 4 * np.sin(2 * np.pi * 3 * t)
    (here,) = region.plan_crops(track(x, np.full(100, 250.0), 50.0), VideoSpec())
    slow = 500 + 60 * np.sin(2 * np.pi * 0.2 * t)
    assert np.abs(here.center_T2[:, 0] - slow)[8:-8].max() < 3.3  # no lag, little wobble
    assert np.abs(np.diff(here.center_T2[:, 0], 2)).std() < 0.3 * np.abs(np.diff(x, 2)).std()
    at = here.center_T2 + (here.mouth_T3[:, :2] - 0.5) * here.side
    assert np.allclose(at[:, 0], x, atol=1e-3)
    assert np.allclose(at[:, 1], 250)


def test_however_the_head_jumps_the_mouth_stays_in_its_crop():
    x = np.where(np.arange(60) < 30, 200.0, 800.0)
    (here,) = region.plan_crops(track(x, np.full(60, 250.0), 50.0), VideoSpec())
    assert np.abs(here.mouth_T3[:, :2] - 0.5).max() <= region.WANDER + 1e-6


def test_the_edit_comes_and_goes_softly_where_the_mouth_is_lost():
    confidence = np.ones(40)
    confidence[20:30] = 0
    x = np.where(confidence > 0, 500.0, 999.0)
    (here,) = region.plan_crops(track(x, np.full(40, 250.0), 50.0, confidence), VideoSpec())
    assert here.runs() == [(0, 20), (30, 40)]
    assert not here.strength_T[20:30].any()
    assert here.strength_T[0] == here.strength_T[-1] == 1
    assert (np.diff(here.strength_T[14:21]) <= 0).all()
    assert 0 < here.strength_T[19] < 0.5
    assert np.allclose(here.center_T2[:18], (500, 250))
    assert np.allclose(here.center_T2[32:], (500, 250))


@given(
    st.integers(1, 30),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([16, 96, 256]),
)
def test_any_track_gives_finite_crops(count, seed, known, size):
    rng = np.random.default_rng(seed)
    shots = np.sort(rng.integers(0, 4, count))
    wild = track(rng.uniform(-300, 1300, count), rng.uniform(-300, 800, count), rng.uniform(1, 900, count), 1.0, shots)
    confidence = np.float32(rng.random(count) < known)
    wild = MouthTrack(**{**vars(wild), "confidence_N": confidence})
    regions = region.plan_crops(wild, VideoSpec(crop_size=size))
    assert [r.start for r in regions][1:] == [r.stop for r in regions][:-1]
    assert regions[-1].stop == count
    for here in regions:
        assert np.isfinite(here.center_T2).all()
        assert np.isfinite(here.mouth_T3).all()
        assert here.side >= 8
        assert ((here.strength_T > 0) == (confidence[here.start : here.stop] > 0)).all()


def test_no_frames_no_regions():
    assert region.plan_crops(track(np.zeros(0), np.zeros(0), 1.0), VideoSpec()) == []
