"""What others saw of faces becomes mouths per frame; which of the faces speaks."""

import numpy as np
import pytest

from omnisync_core import mouth
from omnisync_core.errors import InputError
from omnisync_core.mouth import Choice, Point
from omnisync_core.mouth.observations import LIPS, from_boxes, from_keypoints, from_landmarks

SIZE = (160, 90)
A, B = (40.0, 45.0, 20.0), (120.0, 50.0, 16.0)
"""Mouths: x, y, width in pixels."""


def picture(seed, size=SIZE):
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 255, (9, 16, 3)), np.ones((10, 10, 1))).astype(np.uint8)[: size[1], : size[0]]


def box(x, y, width, **more):
    """The box of a face whose mouth is there."""
    side = width / 0.36
    return {"x": x - side / 2, "y": y - 0.8 * side, "width": side, "height": side, **more}


def mesh(x, y, width, roll=0.0, score=0.9):
    points = np.full((478, 2), 5.0, np.float32)
    across = np.array([np.cos(roll), np.sin(roll)]) * width / 2
    middle = np.array([x, y])
    points[list(LIPS)] = middle - across, middle + across, middle, middle
    return {"landmarks_xy": points, "score": score, "bbox_xyxy": np.zeros(4)}


def person(x, y, width, score=0.8, size=None):
    points = np.full((70, 3), (3.0, 3.0, score))
    angle = np.arange(12) / 12 * 2 * np.pi
    points[48:60, :2] = np.stack([x - width / 2 * np.cos(angle), y - width / 4 * np.sin(angle)], 1)
    points[60:68, :2] = (x, y)
    points[:, :2] /= size or 1
    return {"face_keypoints_2d": points.ravel().tolist(), "pose_keypoints_2d": [0.0] * 54}


def canvas(*people):
    return {"canvas_width": SIZE[0], "canvas_height": SIZE[1], "people": list(people)}


def seen_at(seen, frame=0):
    return [(f.x, f.y, f.width) for f in seen.at(frame, SIZE[::-1])]


def follow(how, count=4, pictures=None, **options):
    pictures = pictures or [picture(3)] * count
    return mouth.track(((k / 25, frame) for k, frame in enumerate(pictures)), how, **options)


@pytest.mark.parametrize("boxes", [box(*A), [box(*A)], [[box(*A)]]])
def test_boxes_come_in_three_shapes(boxes):
    seen = from_boxes(boxes, SIZE)
    assert len(seen) == 1
    assert seen.guessed
    assert np.allclose(seen_at(seen), [A])


def test_boxes_per_frame_may_be_none_or_several():
    seen = from_boxes([[box(*A), box(*B)], [], None, [box(*B)]], SIZE)
    assert [len(seen.at(k, SIZE[::-1])) for k in range(5)] == [2, 0, 0, 1, 0]


def test_a_box_of_a_mouth_is_the_mouth_and_one_of_a_person_is_refused():
    seen = from_boxes({"x": 10, "y": 20, "width": 30, "height": 12, "label": "mouth"}, SIZE)
    assert np.allclose(seen_at(seen), [(25, 26, 30)])
    assert not seen.guessed
    with pytest.raises(InputError, match="whole persons"):
        from_boxes([[box(*A, label="person")]], SIZE)
    assert from_boxes([[{"x": 1, "y": 1, "width": 0, "height": 4}, box(*A)]], SIZE).faces_N[0][0].width > 0


def test_landmarks_give_the_mouths_place_width_and_roll():
    seen = from_landmarks({"frames": [[mesh(*A, roll=0.3)], []], "image_size": SIZE[::-1]})
    (face,) = seen.at(0, (45, 80))
    assert np.allclose((face.x, face.y, face.width, face.roll), (20, 22.5, 10, 0.3), atol=1e-3)
    assert face.source == "landmarks"
    assert face.confidence == pytest.approx(0.9)
    assert seen.at(1, (45, 80)) == []


@pytest.mark.parametrize("size", [None, SIZE])
def test_keypoints_are_pixels_or_shares(size):
    seen = from_keypoints([canvas(person(*A, size=size), {"face_keypoints_2d": None}), canvas()])
    assert np.allclose(seen_at(seen), [A], atol=0.1)
    assert seen.at(1, SIZE[::-1]) == []


def test_unsure_keypoints_are_no_mouth():
    assert seen_at(from_keypoints(canvas(person(*A, score=0.1)))) == []
    lost_corner = person(*A)
    lost_corner["face_keypoints_2d"][3 * 48 + 2] = 0.0
    (found,) = seen_at(from_keypoints([canvas(lost_corner)]))
    assert np.allclose(found, A, atol=3)


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda v: from_boxes(v, SIZE), []),
        (lambda v: from_boxes(v, SIZE), [[{"left": 3}]]),
        (lambda v: from_boxes(v, SIZE), "box"),
        (from_landmarks, {"frames": []}),
        (from_landmarks, {"frames": [], "image_size": (9, 9)}),
        (from_landmarks, {"frames": [[{"landmarks_xy": np.zeros((5, 2))}]], "image_size": (9, 9)}),
        (from_keypoints, []),
        (from_keypoints, [{"people": []}]),
    ],
)
def test_other_shapes_are_told(make, value):
    with pytest.raises(InputError, match=r"bboxes|face_landmarks|pose_keypoints"):
        make(value)


def test_a_number_of_frames_that_does_not_fit_is_told():
    with pytest.raises(InputError, match="bboxes holds 3 frames, the video has 4"):
        follow(from_boxes([[box(*A)]] * 3, SIZE))


def test_one_box_is_followed_from_the_first_frame():
    track = follow(from_boxes({**box(*A), "label": "mouth", "width": 20, "height": 10, "x": 30, "y": 40}, SIZE))
    assert track.source_N.tolist() == ["detector", "filled", "filled", "filled"]
    assert np.allclose(track.center_N2 * SIZE, (40, 45), atol=1)


def test_the_speaker_is_the_largest_the_nth_from_the_left_or_the_one_pointed_at():
    seen = from_keypoints([canvas(person(*B), person(*A))] * 4)
    for choice, place in [
        (Choice(), A),
        (Choice("index", index=1), B),
        (Choice("index", index=0), A),
        (Choice("point", point=Point(125, 60)), B),
    ]:
        track = follow(seen, choice=choice)
        assert np.allclose(track.center_N2 * SIZE, place[:2], atol=0.5), choice
        assert set(track.source_N) == {"landmarks"}
        assert track.warnings == ()


def test_an_index_that_nobody_has_is_told():
    with pytest.raises(InputError, match="speaker 2 is not there: at most 2 faces are seen"):
        follow(from_keypoints([canvas(person(*B), person(*A))] * 4), choice=Choice("index", index=2))


def test_another_face_does_not_take_the_speakers_place():
    seen = from_keypoints([canvas(person(*A), person(*B))] * 2 + [canvas(person(*B))] * 3)
    track = follow(seen, 5)
    assert np.allclose(track.center_N2 * SIZE, A[:2], atol=1)
    assert set(track.source_N[2:]) == {"filled"}


def test_after_a_cut_the_one_pointed_at_is_known_again_or_nobody_speaks():
    seen = from_keypoints([canvas(person(*A), person(*B))] * 3 + [canvas(person(*B))] * 3)
    track = follow(seen, pictures=[picture(3)] * 3 + [picture(8)] * 3, choice=Choice("point", point=Point(*A[:2])))
    assert track.shot_N.tolist() == [0, 0, 0, 1, 1, 1]
    assert not track.confidence_N[3:].any()
    assert "not found in 3 of 6 frames" in track.warnings[0]


def test_a_point_where_no_face_is_seen_is_followed_itself():
    track = follow(from_keypoints([canvas(person(*B))] * 4), choice=Choice("point", point=Point(30, 40, 16)))
    assert track.source_N[0] == "user"
    assert np.allclose(track.center_N2[0] * SIZE, (30, 40), atol=1)


def test_nobody_at_all_is_no_mouth_and_says_so():
    track = follow(from_boxes([[]] * 4, SIZE))
    assert not track.confidence_N.any()
    assert "bboxes holds no face" in track.warnings[0]
