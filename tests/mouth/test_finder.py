"""The finder's network, how its answer is read, and how it and the features guide each other."""

import cv2
import numpy as np
import pytest
import torch

from omnisync_core import mouth
from omnisync_core.errors import CheckpointError, InputError
from omnisync_core.mouth import finder, guided, search, tracking
from omnisync_core.mouth.detect import Face
from omnisync_core.mouth.pose import Pose

SIZE = 240, 160


def seen(x, y, width=24.0, confidence=0.9, roll=0.0):
    return Face(x, y, width, roll, confidence, "finder")


def textured(seed=0):
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(30, 220, (40, 60, 3)).astype(np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)


def timed(frames):
    return ((k / 25, frame) for k, frame in enumerate(frames))


def finding(monkeypatch, faces_of):
    """Every look of the finder gives `faces_of(picture)`."""
    for module in (tracking, finder):
        monkeypatch.setattr(module, "find_mouths", lambda rgb, *_: faces_of(rgb))


class Answer(torch.nn.Module):
    """Sees a mouth wherever the picture is red: 40 pixels wide, turned by 0.2."""

    def forward(self, x):
        red = torch.nn.functional.avg_pool2d((x[:, :1] > 0.5).float(), finder.CELL)
        out = torch.zeros(len(x), 7, *red.shape[2:])
        out[:, 0] = 20 * red[:, 0] - 10
        out[:, 3] = float(np.log(40 / finder.USUAL))
        out[:, 4] = 0.2
        return out


# -- the network's file


def test_the_bundled_finder_is_small_and_strict(tmp_path):
    assert finder.ASSET.stat().st_size < 2 * 2**20
    net = finder.load_finder()
    assert not net.training
    other = tmp_path / "finder.safetensors"
    finder.save_finder(other, net)
    again = finder.load_finder(other)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "missing or damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "missing or damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-8] + b"12345678"), "digest"),
    ],
)
def test_a_spoiled_file_is_told_in_one_line(tmp_path, spoil, message):
    path = tmp_path / "finder.safetensors"
    path.write_bytes(finder.ASSET.read_bytes())
    spoil(path)
    with pytest.raises(CheckpointError, match=message) as caught:
        finder.load_finder(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(64, 64), (96, 160)])
def test_the_answer_has_an_eighth_of_the_pictures_sides(shape):
    out = finder.MouthFinder()(torch.zeros(2, 3, *shape))
    assert out.shape == (2, 7, shape[0] // finder.CELL, shape[1] // finder.CELL)


# -- what is read from it


@pytest.mark.parametrize("size", [(256, 256), (512, 300), (333, 700), (90, 70)])
def test_a_peak_is_a_mouth_in_pixels_of_the_picture(monkeypatch, size):
    monkeypatch.setattr(finder, "_finder", Answer)
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    x, y = round(0.6 * size[0]), round(0.4 * size[1])
    scale = min(size) / finder.SHORT_SIDE
    half = max(1, round(finder.CELL * scale))
    picture[y - half : y + half, x - half : x + half, 0] = 255
    faces = finder.find_mouths(picture)
    assert len(faces) == 1
    assert np.hypot(faces[0].x - x, faces[0].y - y) < finder.CELL * scale
    assert faces[0].width == pytest.approx(40 * scale, rel=0.05)
    assert faces[0].roll == pytest.approx(0.2)
    assert faces[0].source == "finder"
    assert finder.find_mouths(np.zeros_like(picture)) == []


def test_of_two_near_peaks_the_surer_counts():
    out = np.full((7, 12, 12), -9.0, np.float32)
    out[1:], out[3] = 0, np.log(2)
    out[0, 4, 4], out[0, 4, 6], out[0, 9, 9] = 2.0, 1.0, 0.5
    peaks = list(finder._peaks(out, 0.3))
    assert [tuple(np.round(one[:2])) for one in peaks] == [(36, 36), (76, 76)]
    assert peaks[0][4] > peaks[1][4]


def test_the_mouth_at_a_point_is_the_sure_one_within_reach(monkeypatch):
    faces = [seen(100, 80, 24, 0.4), seen(118, 80, 24, 0.9), seen(30, 30, 24, 0.9)]
    finding(monkeypatch, lambda rgb: faces if rgb.shape[0] == SIZE[1] else [])
    for (x, y), face in (((98, 81), faces[0]), ((116, 81), faces[1]), ((200, 120), None)):
        assert finder.mouth_at(finder.mouths_around(textured(), x, y), x, y, 0.5) == face


# -- features and finder together


def follow(monkeypatch, faces_of, frames, how=(120, 80, 24)):
    finding(monkeypatch, faces_of)
    return mouth.track(timed(frames), how)


def test_a_click_is_believed_and_takes_its_width_from_the_finder(monkeypatch):
    picture = textured()
    track = follow(
        monkeypatch, lambda rgb: [seen(112, 84, 30)] if rgb.shape[0] == SIZE[1] else [], [picture] * 9, (120, 80)
    )
    away = np.hypot(*(track.center_N2 * SIZE - (120, 80)).T)
    assert (away <= 0.5 * 30).all()
    assert np.allclose(track.width_N * SIZE[0], 30, rtol=0.05)
    elsewhere = follow(monkeypatch, lambda rgb: [seen(190, 40, 60, 0.5)], [picture] * 30, (120, 80))
    width = elsewhere.width_N * SIZE[0]
    assert (np.hypot(*(elsewhere.center_N2 * SIZE - (120, 80)).T) <= 0.5 * width).all()


def test_a_mouth_that_the_finder_no_longer_sees_is_lost_and_taken_up_again(monkeypatch):
    """The picture stands still: features alone would go on for ever."""
    frames = [textured() // 2 * 2 + np.uint8(k < 40 or k >= 70) for k in range(100)]

    def faces_of(rgb):
        return [seen(120, 80)] if rgb[0, 0, 0] % 2 else []

    track = follow(monkeypatch, faces_of, frames)
    known = track.confidence_N > 0
    assert known[:40].all()
    assert not known[52:70].any()
    assert known[76:].all()


def test_who_was_never_seen_is_followed_by_features_alone(monkeypatch):
    track = follow(monkeypatch, lambda rgb: [], [textured()] * 60)
    assert (track.confidence_N > 0).all()
    assert np.allclose(track.center_N2 * SIZE, (120, 80), atol=0.5)


def test_a_users_width_stays(monkeypatch):
    track = follow(monkeypatch, lambda rgb: [seen(125, 84, 34)], [textured()] * 40)
    assert np.allclose(track.center_N2 * SIZE, (120, 80), atol=0.5)
    assert np.allclose(track.width_N * SIZE[0], 24, rtol=0.03)


def test_another_mouth_is_not_taken_up():
    look = type("Look", (), {"gray": cv2.cvtColor(textured(), cv2.COLOR_RGB2GRAY), "rgb": textured(), "cut": False})
    one = guided.Guided(look, Pose(120, 80, 24), lambda rgb: [seen(230, 20, 24)], source="user")
    blank = type("Look", (), {"gray": np.zeros((160, 240), np.uint8), "rgb": textured(3), "cut": False})
    answers = [one.feed(blank) for _ in range(12)]
    assert not any(confidence for _, confidence, _ in answers)


# -- without a click


def test_the_largest_mouth_is_taken_unless_another_talks(monkeypatch):
    still, talking = seen(60, 80, 30), seen(180, 80, 24)
    pictures = [textured() for _ in range(40)]
    finding(monkeypatch, lambda rgb: [still, talking])
    track = mouth.track(timed(pictures), "auto")
    assert np.allclose(track.center_N2[5] * SIZE, (60, 80), atol=1)
    assert set(track.source_N) == {"finder"}
    for k, picture in enumerate(pictures):
        cv2.ellipse(picture, (180, 80), (9, 1 + 6 * (k // 4 % 2)), 0, 0, 360, (0, 0, 0), -1)
    track = mouth.track(timed(pictures), "auto")
    assert np.allclose(track.center_N2[5] * SIZE, (180, 80), atol=2)


def test_the_nth_mouth_is_counted_from_the_left(monkeypatch):
    finding(monkeypatch, lambda rgb: [seen(180, 80), seen(60, 80)])
    second = mouth.track(timed([textured()] * 12), "auto", choice=mouth.Choice("index", 1))
    assert np.allclose(second.center_N2 * SIZE, (180, 80), atol=1)
    with pytest.raises(InputError, match="at most 2 mouths are seen"):
        mouth.track(timed([textured()] * 12), "auto", choice=mouth.Choice("index", 2))


def test_what_is_seen_once_is_no_mouth(monkeypatch):
    count = [0]

    def flicker(rgb):
        count[0] += 1
        return [seen(60, 80)] if count[0] == 2 else []

    finding(monkeypatch, flicker)
    track = mouth.track(timed([textured()] * search.WAIT), "auto")
    assert not track.confidence_N.any()
    assert "--mouth X,Y" in track.warnings[0]


def test_a_new_shot_has_a_speaker_of_its_own(monkeypatch):
    first, other = textured(1) // 3, 255 - textured(2) // 3
    finding(monkeypatch, lambda rgb: [seen(60, 80)] if rgb.mean() < 128 else [seen(180, 60)])
    track = mouth.track(timed([first] * 14 + [other] * 14), "auto")
    assert track.shot_N.tolist() == [0] * 14 + [1] * 14
    assert np.allclose(track.center_N2[3] * SIZE, (60, 80), atol=1)
    assert np.allclose(track.center_N2[20] * SIZE, (180, 60), atol=1)
