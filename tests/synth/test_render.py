"""The drawn characters: repeatable, driven by the mouth's numbers, the same through every view."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from omnisync_core.synth.character import FAMILIES, random_character
from omnisync_core.synth.film import Film
from omnisync_core.synth.mouths import GAP, mouth_curves
from omnisync_core.synth.scene import Scene
from omnisync_core.synth.warp import HeadWarp

REST = np.array([[0.0, 0.5, 0.0, 0.0, 0.0]], np.float32)
WIDE = np.array([[1.4, 0.9, 0.0, 1.0, 1.0]], np.float32)
ROUND = np.array([[0.9, 0.0, 1.0, 0.3, 0.2]], np.float32)


@pytest.fixture(scope="module")
def families():
    """One unoccluded scene of every family of both splits, before film and codec; both looks are among them."""
    found = {}
    for split, names in FAMILIES.items():
        seed = 0
        while not all((split, name) in found for name in names):
            family = random_character(seed, split).family
            if (split, family) not in found:
                scene = Scene.random(seed, split)
                if scene.occluder is None:
                    found[split, family] = replace(scene, film=Film())
            seed += 1
    assert {scene.character.look for scene in found.values()} >= {"photo", "drawn"}
    return found


def test_same_seed_gives_the_same_pixels_and_others_differ():
    times = np.arange(3) / 25
    mouth = np.repeat(WIDE, 3, 0)
    first = Scene.random(5, "train").render(mouth, times, size=64)
    assert first.dtype == np.uint8
    assert first.shape == (3, 64, 64, 3)
    assert np.array_equal(first, Scene.random(5, "train").render(mouth, times, size=64))
    assert not np.array_equal(first, Scene.random(6, "train").render(mouth, times, size=64))
    assert not np.array_equal(first, Scene.random(5, "test").render(mouth, times, size=64))


def test_frames_do_not_depend_on_their_neighbours():
    scene, times = Scene.random(2, "train"), np.arange(5) / 25
    mouth = np.repeat(ROUND, 5, 0)
    together = scene.render(mouth, times, size=48)
    alone = np.concatenate([scene.render(mouth[i : i + 1], times[i : i + 1], size=48) for i in range(5)])
    assert np.array_equal(together, alone)


def test_pose_seed_moves_the_head_and_keeps_the_character():
    a, b = Scene.random(9, "train", pose_seed=1), Scene.random(9, "train", pose_seed=2)
    assert a.character == b.character
    assert a.mouth_width == b.mouth_width
    assert np.array_equal(a.background.picture, b.background.picture)
    times = np.linspace(0, 3, 30)
    assert np.abs(a.mouth_center(times) - b.mouth_center(times)).max() > 0.003


def test_splits_share_no_family():
    assert not set(FAMILIES["train"]) & set(FAMILIES["test"])
    for split in FAMILIES:
        assert all(random_character(seed, split).family in FAMILIES[split] for seed in range(40))
    with pytest.raises(ValueError, match="split"):
        Scene.random(0, "valid")


def test_gap_is_proportional_to_opening(families):
    mouth = np.repeat(REST, 8, 0)
    mouth[:, 0] = np.linspace(0, 1.4, 8)
    for scene in families.values():
        style = scene.character.mouth
        for width, rounding in ((0.5, 0), (0, 1), (1, 0.3)):
            mouth[:, 1], mouth[:, 2] = width, rounding
            curves = mouth_curves(style, mouth)
            gap = (curves.lower_inner - curves.upper_inner)[..., 1].max(1)
            np.testing.assert_allclose(gap, mouth[:, 0] * GAP * style.size, atol=1e-6)
            assert np.all(np.diff(curves.lower_outer[:, 16, 1]) > 0)


def test_drawn_inside_grows_with_opening(families):
    mouth = np.repeat(REST, 6, 0)
    mouth[:, 0] = np.linspace(0, 1.25, 6)
    for name, scene in families.items():
        times = np.full(6, 0.4)
        view = np.column_stack([scene.mouth_center(times), np.full(6, 2.4 * scene.mouth_width)])
        frames = scene.render(mouth, times, size=96, view=view).astype(int)
        inside = np.abs(frames - np.array(scene.character.mouth.inside)).max(-1) < 24
        middle = inside[:, :, 40:56].sum((1, 2))
        assert np.all(np.diff(middle) > 0), (name, middle)


def test_width_and_rounding_change_the_mouth(families):
    for scene in families.values():

        def wide(mouth, style=scene.character.mouth):
            return np.ptp(mouth_curves(style, np.array([mouth], np.float32)).lower_inner[..., 0])

        neutral = wide((0.3, 0.5, 0, 0, 0))
        assert wide((0.3, 1, 0, 0, 0)) == pytest.approx(1.2 * neutral, rel=1e-5)
        assert wide((0.3, 0, 0, 0, 0)) == pytest.approx(0.8 * neutral, rel=1e-5)
        assert wide((0.3, 0.5, 1, 0, 0)) < 0.7 * neutral


def test_teeth_and_tongue_are_drawn_only_when_asked(families):
    times = np.array([0.4])
    for name, scene in families.items():
        plain, teeth, tongue = (
            scene.render(np.array([[0.9, 0.5, 0, *shown]], np.float32), times, size=128).astype(int)
            for shown in ((0, 0), (1, 0), (0, 1))
        )
        assert np.abs(teeth - plain).max() > 40, name
        assert np.abs(tongue - plain).max() > 25, name


def test_box_holds_every_pixel_that_the_mouth_changes(families):
    size = 150
    for name, scene in families.items():
        times = np.array([1.3])
        frames = [scene.render(m, times, size=size)[0].astype(int) for m in (REST, WIDE, ROUND)]
        boxes = np.array([scene.mouth_box(m, times)[0] for m in (REST, WIDE, ROUND)]) * size
        for i, j in ((0, 1), (0, 2), (1, 2)):
            y, x = np.nonzero(np.abs(frames[i] - frames[j]).max(-1) > 2)
            low, high = np.minimum(boxes[i], boxes[j])[:2], np.maximum(boxes[i], boxes[j])[2:]
            assert x.min() >= np.floor(low[0]) - 2, name
            assert x.max() <= high[0] + 2, name
            assert y.min() >= np.floor(low[1]) - 2, name
            assert y.max() <= high[1] + 2, name
        assert np.all(boxes[:, 2] - boxes[:, 0] < 2.3 * scene.mouth_width * size), name


def test_film_and_codec_leave_what_the_mouth_leaves():
    """Two clips that differ in the mouth alone share grain, blur and blocks beyond it."""
    size, times = 128, np.array([1.3])
    films = (Film(grain=8, color_grain=0.4, seed=3), Film(blur=0.004, gain=0.5), Film(quality=25, grain=4))
    for film in films:
        for seed in (0, 2, 3):
            scene = replace(Scene.random(seed, "train"), occluder=None, film=film)
            frames = [scene.render(m, times, size=size)[0].astype(int) for m in (REST, WIDE)]
            boxes = np.array([scene.mouth_box(m, times)[0] for m in (REST, WIDE)]) * size
            apart = np.abs(frames[0] - frames[1]).max(-1)
            x0, y0 = np.floor(boxes[:, :2].min(0)).astype(int) - 2
            x1, y1 = np.ceil(boxes[:, 2:].max(0)).astype(int) + 2
            assert apart[y0:y1, x0:x1].max() > 40
            apart[y0:y1, x0:x1] = 0
            assert apart.max() <= 2, film
            plain = replace(scene, film=Film()).render(WIDE, times, size=size)[0]
            assert np.abs(plain - frames[1]).mean() > 0.3, film


def scene_of(look, split="train"):
    """The first scene of a look, with nothing before the mouth."""
    seed = next(seed for seed in range(2000) if random_character(seed, split).look == look)
    return replace(Scene.random(seed, split), occluder=None)


@pytest.mark.parametrize("look", ["photo", "render", "clay", "anime", "flat", "pencil", "pixel"])
def test_every_look_keeps_twins_apart_in_the_box_alone(look):
    """With the look's own film, the shutter open, and the mouth in movement."""
    scene, size, times = scene_of(look), 96, 0.9 + np.arange(3) / 25
    scene = replace(scene, film=replace(scene.film, shutter=0.8, grain=2.0 if look == "photo" else 0.0))
    mouths = [np.repeat(REST, 3, 0), np.repeat(WIDE, 3, 0) * np.array([[0.5], [1.0], [0.8]], np.float32)]
    frames = [scene.render(m, times, size=size).astype(int) for m in mouths]
    boxes = np.stack([scene.mouth_box(m, times) for m in mouths]) * size
    apart = np.abs(frames[0] - frames[1]).max(-1)
    for frame, low, high in zip(apart, boxes[..., :2].min(0), boxes[..., 2:].max(0), strict=True):
        (x0, y0), (x1, y1) = np.floor(low).astype(int) - 2, np.ceil(high).astype(int) + 2
        assert frame[y0:y1, x0:x1].max() > 40
        frame[max(y0, 0) : y1, max(x0, 0) : x1] = 0
        assert frame.max() <= 2


def test_the_looks_are_spread_over_both_splits():
    for split in FAMILIES:
        made = [random_character(seed, split) for seed in range(600)]
        people = [ch.look for ch in made if ch.kind == "person"]
        assert people.count("photo") > len(people) / 3
        assert {ch.look for ch in made} == {"photo", "drawn", "render", "clay", "anime", "flat", "pencil", "pixel"}
        for family in FAMILIES[split]:
            assert len({ch.look for ch in made if ch.family == family}) >= 2, family
    assert "clay" not in {
        random_character(s, "train").look for s in range(600) if random_character(s, "train").kind == "robot"
    }


def test_an_open_shutter_blurs_what_moves():
    scene, times = scene_of("photo"), np.arange(3) / 25
    mouth = np.repeat(REST, 3, 0)
    mouth[:, 0] = (0.2, 0.6, 1.0)
    sharp, soft = (
        replace(scene, film=Film(shutter=shutter)).render(mouth, times, size=128).astype(np.float32)
        for shutter in (0, 1)
    )
    middle = sharp[1], soft[1]
    (x0, y0, x1, y1) = (scene.mouth_box(mouth, times)[1] * 128).astype(int)
    edges = [np.abs(np.diff(frame[y0:y1, x0:x1], axis=0)).sum() for frame in middle]
    assert edges[1] < 0.97 * edges[0]
    assert np.abs(middle[0] - middle[1]).mean() < 6


def test_painted_lips_follow_the_curves():
    """What is painted at the resting lips' curves is seen at the moved ones; far away nothing moves."""
    character = scene_of("photo").character
    mouths = np.concatenate([WIDE, ROUND, REST])
    warp = HeadWarp(character, mouths)
    now, rest = mouth_curves(character.mouth, mouths), mouth_curves(character.mouth, REST)
    x = now.upper_outer[:, 6:-6, 0].astype(np.float32)
    for name, side in (("upper_outer", 0), ("upper_inner", 0), ("lower_inner", 1), ("lower_outer", 1)):
        moved, still = (
            np.array([np.interp(xs, c[:, 0], c[:, 1]) for xs, c in zip(at, curves, strict=True)])
            for at, curves in (
                (x, getattr(now, name)),
                (x / x[:, -1:] * rest.upper_outer[0, -7, 0], np.repeat(getattr(rest, name), 3, 0)),
            )
        )
        source = warp.sources(x, moved.astype(np.float32))[side]
        np.testing.assert_allclose(source[..., 1], still, atol=0.012, err_msg=name)
        np.testing.assert_allclose(source[..., 0], x / x[:, -1:] * rest.upper_outer[0, -7, 0], atol=0.012)
    above = np.array([[-1.0, 0.5, 0.0, 0.0]] * 3, np.float32), np.array([[0.6, -0.4, 0.1, -1.0]] * 3, np.float32)
    beside = np.array([[-1.0, 1.0, -1.1]] * 3, np.float32), np.array([[0.6, 0.9, 1.4]] * 3, np.float32)
    for points, source in ((above, warp.sources(*above)[0]), (beside, warp.sources(*beside)[1])):
        np.testing.assert_allclose(source, np.stack(points, -1), atol=1e-5)


def test_grain_changes_from_frame_to_frame_and_not_from_call_to_call():
    scene = replace(Scene.random(1, "train"), film=Film(grain=6, seed=9))
    at = np.array([0.5, 0.54])
    first = scene.render(np.repeat(REST, 2, 0), at, size=64)
    assert np.array_equal(first, scene.render(np.repeat(REST, 2, 0), at, size=64))
    same = replace(scene, film=Film()).render(np.repeat(REST, 2, 0), at, size=64).astype(int)
    grain = first - same
    assert 2 < grain.std() < 9
    assert abs(np.corrcoef(grain[0].ravel(), grain[1].ravel())[0, 1]) < 0.2


def test_a_view_equals_the_crop_of_the_whole_frame(families):
    for name, scene in families.items():
        times = np.array([0.7])
        whole = scene.render(WIDE, times, size=320)[0]
        left, top, side = 0.25, 0.4, 0.4
        view = np.array([[left + side / 2, top + side / 2, side]])
        crop = whole[int(top * 320) : int((top + side) * 320), int(left * 320) : int((left + side) * 320)]
        small = cv2.resize(crop, (64, 64), interpolation=cv2.INTER_AREA).astype(int)
        seen = scene.render(WIDE, times, size=64, view=view)[0].astype(int)
        assert np.abs(seen - small).mean() < 3.5, name
        assert np.percentile(np.abs(seen - small), 90) < 14, name


def test_mouth_rests_in_the_frame_and_moves_smoothly():
    times = np.arange(0, 40, 0.04)
    for seed in range(24):
        scene = Scene.random(seed, "train" if seed % 2 else "test", duration=40)
        assert 0.149 < scene.mouth_width < 0.271
        center = scene.mouth_center(times)
        assert np.all(center > 0.24)
        assert np.all(center[:, 0] < 0.76)
        assert np.all(center[:, 1] < 0.86)
        assert np.abs(np.diff(center, axis=0)).max() < 0.012
        box = scene.mouth_box(np.repeat(REST, len(times), 0), times)
        assert np.all(box[:, :2] < center)
        assert np.all(box[:, 2:] > center)


def test_wrong_mouth_shape_says_so():
    with pytest.raises(ValueError, match=r"expected \(2, 5\)"):
        Scene.random(0, "train").render(REST, [0.0, 0.1], size=32)
