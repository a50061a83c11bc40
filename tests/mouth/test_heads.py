"""Brows and nose: seen by landmarks and detectors, carried by the track into the crop and to LatentSync's alignment."""

from pathlib import Path

import numpy as np
import pytest

from omnisync_core import mouth
from omnisync_core.crop.region import head_spread, plan_crops
from omnisync_core.engines.latentsync import align
from omnisync_core.engines.latentsync.engine import Settings
from omnisync_core.mouth import observations
from omnisync_core.mouth.detect import BROWS_468, NOSE_468, Face, head_of_eyes
from tests.engines.latentsync import small

GOLD = Path(__file__).parents[1] / "golden" / "ls_affine_256.npz"
SIZE = 160, 120
HEAD = (60.0, 40.0), (100.0, 42.0), (80.0, 60.0)


def seen(head=HEAD):
    """Of a frame, over its sides."""
    head = None if head is None else tuple((x / SIZE[0], y / SIZE[1]) for x, y in head)
    return (Face(80 / SIZE[0], 80 / SIZE[1], 30 / SIZE[0], 0.0, 1.0, "landmarks", head),)


def tracked(faces_N):
    """The head in pixels."""
    frames = ((k / 25, np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)) for k in range(len(faces_N)))
    return mouth.track(frames, mouth.Seen(tuple(faces_N), "faces"))


def test_68_points_tell_brows_and_nose():
    points = np.tile([50.0, 70.0, 1.0], (68, 1))
    points[17:22, :2], points[22:27, :2], points[[29, 30, 31, 35], :2] = HEAD
    points[48, :2], points[54, :2] = (65, 80), (95, 80)
    person = {"face_keypoints_2d": points.ravel().tolist()}
    found = observations.from_keypoints([{"canvas_width": 160, "canvas_height": 120, "people": [person]}])
    assert np.allclose(found.at(0, SIZE[::-1])[0].head, HEAD)
    points[17:21, 2] = 0
    person["face_keypoints_2d"] = points.ravel().tolist()
    found = observations.from_keypoints([{"canvas_width": 160, "canvas_height": 120, "people": [person]}])
    assert found.at(0, SIZE[::-1])[0].head is None


def test_the_mesh_tells_brows_and_nose():
    points = np.tile([80.0, 80.0], (478, 1))
    for places, at in zip((*BROWS_468, NOSE_468), HEAD, strict=True):
        points[list(places)] = at
    points[61], points[291] = (65, 80), (95, 80)
    found = observations.from_landmarks({"frames": [[{"landmarks_xy": points}]], "image_size": (120, 160)})
    assert np.allclose(found.at(0, SIZE[::-1])[0].head, HEAD)


@pytest.mark.parametrize("turn", [0.0, 0.4])
def test_brows_lie_above_the_eyes_however_the_head_is_turned(turn):
    """The mean face of the 68 points: its eyes give its brows."""
    c, s = np.cos(turn), np.sin(turn)
    eyes, brows = np.array([[0.2255, 0.216], [0.7548, 0.216]]), np.array([[0.188, 0.055], [0.792, 0.055]])
    turned = np.array([[c, -s], [s, c]])
    left, right, _ = head_of_eyes(*(eyes @ turned.T), (0, 0))
    assert np.allclose((left, right), brows @ turned.T, atol=0.01)


def test_the_track_holds_the_head_and_bridges_short_gaps():
    faces = [seen()] * 10 + [seen(None)] * 5 + [seen()] * 10 + [seen(None)] * 25
    track = tracked(faces)
    assert np.allclose(track.head_N32[:25] * SIZE, HEAD, atol=1e-6)
    assert np.isnan(track.head_N32[25:]).all()
    assert (track.confidence_N > 0).all()
    assert tracked([seen(None)] * 5).head_N32.shape == (0, 3, 2)


def test_the_crop_is_as_large_as_the_head_where_an_engine_asks_for_it():
    spec = Settings().spec
    (known,) = plan_crops(tracked([seen()] * 5), spec)
    (unknown,) = plan_crops(tracked([seen(None)] * 5), spec)
    assert known.side == pytest.approx(spec.head_scale * head_spread(np.array([HEAD]))[0])
    assert unknown.side == pytest.approx(spec.crop_scale * 30)
    assert np.isnan(unknown.head_T32).all()


def test_through_track_and_crop_a_face_is_aligned_as_officially():
    """Landmarks of the official program; from the frame to its aligned face by our track, crop and engine."""
    gold = np.load(GOLD)
    points_N32, size = gold["landmarks3"].astype(np.float64), np.array([640, 360])
    count = len(points_N32)
    track = mouth.MouthTrack(
        np.arange(count) / 25, (points_N32[:, 2] + (0, 40)) / size, np.full(count, 60 / 640), np.ones(count),
        np.full(count, "landmarks"), np.zeros(count, int), (640, 360), head_N32=(points_N32 + 0.5) / size,
    )  # fmt: skip
    engine = small.engine()
    (shot,) = plan_crops(track, engine.spec)
    for frame, (points, official) in enumerate(zip(points_N32, gold["M_nosmooth"], strict=True)):
        given = np.concatenate([shot.mouth_T3[frame], [0.3], shot.head_T32[frame].ravel()])
        affine, box = engine._affine(np.float32(given), shot.crop_size), shot.box(frame)
        in_crop = (points + 0.5 - (box.x0, box.y0)) * shot.crop_size / box.side - 0.5
        found, wanted = (np.c_[at, np.ones(3)] @ matrix.T for at, matrix in ((in_crop, affine), (points, official)))
        assert np.allclose(found, wanted, atol=0.02)
        assert not np.allclose(wanted, align.template(256), atol=0.5)
