import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisync_core import mouth
from omnisync_core.errors import InputError
from omnisync_core.mouth import detect, pose, smoothing, tracking
from omnisync_core.mouth.shots import ShotFinder


def test_smoothing_keeps_straight_lines_even_at_uneven_times():
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.09, 80))
    line = np.stack([3 + 5 * times, -times], axis=1)
    assert np.allclose(smoothing.smooth(times, line, 0.2), line, atol=1e-9)


def test_smoothing_has_no_lag_and_quietens_noise():
    times = np.arange(100) / 25
    wave = np.sin(2 * np.pi * 0.5 * times)
    noisy = wave + np.random.default_rng(0).normal(0, 0.1, 100)
    calm = smoothing.smooth(times, noisy, 0.12)
    assert np.abs(calm - wave)[5:-5].std() < 0.4 * np.abs(noisy - wave).std() + 0.02
    lags = [np.corrcoef(calm[10:-10], np.roll(wave, k)[10:-10])[0, 1] for k in (-2, -1, 0, 1, 2)]
    assert int(np.argmax(lags)) == 2


def test_frames_without_weight_have_no_say():
    times = np.arange(40) / 25
    values, weights = np.where(np.arange(40) == 20, 99.0, 1.0), np.where(np.arange(40) == 20, 0.0, 1.0)
    assert np.allclose(smoothing.smooth(times, values, 0.1, weights), 1)


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.sampled_from([0.0, 0.2, 0.5]))
def test_only_short_inner_gaps_are_filled(known, longest):
    times = np.arange(len(known)) / 10
    truth = 2 * times
    values, filled = smoothing.fill_gaps(times, np.where(known, truth, -7), known, longest)
    assert not (filled & np.array(known)).any()
    assert np.allclose(values[filled | np.array(known)], truth[filled | np.array(known)])
    for start, stop in smoothing.gaps(known):
        inner = start > 0 and stop < len(known)
        assert filled[start:stop].all() == (inner and times[stop] - times[start - 1] <= longest) or stop == start


def picture(seed, hue=0.5):
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.random((9, 16, 3)).astype(np.float32), (160, 90)) * rng.uniform(0.2, 1, 3)
    return np.uint8(255 * image)


def test_cuts_are_found_and_pans_flashes_of_noise_and_fades_are_not():
    rng = np.random.default_rng(0)
    wide = np.concatenate([picture(1), picture(1)[:, ::-1]], axis=1)
    pan = [wide[:, 3 * k : 3 * k + 160] for k in range(30)]
    other = [
        np.clip(picture(7).astype(int) + rng.normal(0, 4, (90, 160, 3)), 0, 255).astype(np.uint8) for _ in range(5)
    ]
    fade = [cv2.addWeighted(other[-1], 1 - k / 40, picture(9), k / 40, 0) for k in range(41)]
    finder = ShotFinder()
    cuts = [finder.is_cut(frame) for frame in pan + other + fade]
    assert np.flatnonzero(cuts).tolist() == [30]


def test_a_patch_shows_the_same_face_whatever_its_size():
    small = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (200, 240), np.uint8), (0, 0), 4)
    large = cv2.resize(small, (960, 800), interpolation=cv2.INTER_CUBIC)
    one = pose.patch(small, pose.Pose(120, 110, 30))
    four = pose.patch(large, pose.Pose(480, 440, 120))
    assert np.abs(one.astype(int) - four)[4:-4, 4:-4].mean() < 1


def test_a_pose_moved_inside_the_patch_moves_in_the_frame():
    start = pose.Pose(50, 60, 20, 0.3)
    turned = start.moved(cv2.getRotationMatrix2D((pose.MIDDLE, pose.MIDDLE), -np.degrees(0.2), 1.5))
    assert np.allclose([turned.x, turned.y, turned.width, turned.roll], [50, 60, 30, 0.5])
    right = start.moved(np.array([[1, 0, pose.UNIT], [0, 1, 0.0]]))
    assert np.allclose([right.x, right.y], [50 + 20 * np.cos(0.3), 60 + 20 * np.sin(0.3)])


class FakeDetector:
    """Says what a list of faces per frame holds."""

    def __init__(self, faces):
        self.faces = iter(faces)

    def find(self, rgb):
        return next(self.faces)


def face(x, y, width=20.0, confidence=0.9):
    return detect.Face(x, y, width, 0.0, confidence, "detector")


def run_auto(monkeypatch, faces, frames=None):
    frames = frames if frames is not None else [picture(3)] * len(faces)
    monkeypatch.setattr(tracking, "open_detector", lambda folder: FakeDetector(faces))
    return mouth.track(((k / 25, frame) for k, frame in enumerate(frames)), "auto")


def test_the_largest_face_is_kept_though_another_grows(monkeypatch):
    faces = [[face(40, 40, 22), face(120, 50, 18)]] + [[face(120, 50, 26), face(40, 40, 22)]] * 20
    track = run_auto(monkeypatch, faces)
    assert np.allclose(track.center_N2[:, 0] * 160, 40, atol=1)
    assert set(track.source_N) == {"detector"}


def test_between_detections_the_face_is_followed(monkeypatch):
    track = run_auto(monkeypatch, [[face(60, 45)]] * 3 + [[]] * 20 + [[face(60, 45)]] * 3)
    assert (track.confidence_N > 0).all()
    assert set(track.source_N[3:23]) == {"filled"}
    assert np.allclose(track.center_N2 * (160, 90), (60, 45), atol=1)


def test_a_shot_without_a_face_has_no_mouth(monkeypatch):
    track = run_auto(monkeypatch, [[face(60, 45)]] * 3 + [[]] * 4, [picture(3)] * 3 + [picture(8)] * 4)
    assert track.shot_N.tolist() == [0] * 3 + [1] * 4
    assert (track.confidence_N[:3] > 0).all()
    assert not track.confidence_N[3:].any()


def test_no_face_at_all_is_no_mouth_and_says_so(monkeypatch):
    track = run_auto(monkeypatch, [[]] * 5)
    assert not track.confidence_N.any()
    assert "no face" in track.warnings[0]
    assert "--mouth X,Y" in track.warnings[0]


def test_without_files_there_is_no_detector(monkeypatch, tmp_path):
    monkeypatch.delenv(detect.ENVIRONMENT, raising=False)
    monkeypatch.setattr(detect, "_bundled_haar", list)
    assert detect.open_detector() is None
    assert detect.open_detector(tmp_path) is None


def test_a_missing_folder_and_a_broken_file_are_told(monkeypatch, tmp_path):
    monkeypatch.setenv(detect.ENVIRONMENT, str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="folder not found"):
        detect.open_detector()
    (tmp_path / "face_yunet.onnx").write_bytes(b"not a network")
    with pytest.raises(InputError, match="cannot be used as a face detector"):
        detect.open_detector(tmp_path)


def test_yunet_rows_become_mouths(monkeypatch, tmp_path):
    row = np.array([[10, 10, 80, 90, 30, 40, 70, 40, 50, 60, 35, 80, 65, 84, 0.93]], np.float32)
    net = SimpleNamespace(setInputSize=lambda size: None, detect=lambda image: (1, row))
    monkeypatch.setattr(cv2, "FaceDetectorYN", SimpleNamespace(create=lambda *_: net))
    (tmp_path / "face_detection_yunet_2023mar.onnx").touch()
    (found,) = detect.open_detector(tmp_path).find(picture(0))
    assert (found.x, found.y, found.source) == (50, 82, "detector")
    assert found.width == pytest.approx(np.hypot(30, 4))
    assert found.confidence == pytest.approx(0.93)
    net.detect = lambda image: (1, None)
    assert detect.open_detector(tmp_path).find(picture(0)) == []


def test_mediapipe_results_become_mouths(monkeypatch, tmp_path):
    marks = [SimpleNamespace(x=0.0, y=0.0) for _ in range(478)]
    marks[61], marks[291] = SimpleNamespace(x=0.4, y=0.5), SimpleNamespace(x=0.6, y=0.5)
    marks[13], marks[14] = SimpleNamespace(x=0.5, y=0.48), SimpleNamespace(x=0.5, y=0.52)
    points = [SimpleNamespace(x=x, y=y) for x, y in [(0.4, 0.3), (0.6, 0.3), (0.5, 0.4), (0.5, 0.5), (0, 0), (0, 0)]]
    blaze = SimpleNamespace(
        keypoints=points, bounding_box=SimpleNamespace(width=60), categories=[SimpleNamespace(score=0.8)]
    )

    def task(result):
        made = SimpleNamespace(detect=lambda image: result)
        return SimpleNamespace(create_from_options=lambda options: made)

    vision = SimpleNamespace(
        FaceLandmarker=task(SimpleNamespace(face_landmarks=[marks])),
        FaceDetector=task(SimpleNamespace(detections=[blaze])),
        FaceLandmarkerOptions=lambda **options: options,
        FaceDetectorOptions=lambda **options: options,
    )
    fake = SimpleNamespace(ImageFormat=SimpleNamespace(SRGB=1), Image=lambda **options: options)
    monkeypatch.setattr(detect, "_has_mediapipe", lambda: True)
    monkeypatch.setitem(sys.modules, "mediapipe", fake)
    tasks = SimpleNamespace(BaseOptions=lambda **options: options, vision=vision)
    for name in ("mediapipe.tasks", "mediapipe.tasks.python"):
        monkeypatch.setitem(sys.modules, name, tasks)
    (tmp_path / "blaze_face.tflite").touch()
    (found,) = detect.open_detector(tmp_path).find(picture(0))
    assert (found.x, found.y, found.source) == (80, 45, "detector")
    assert 20 < found.width < 40
    (tmp_path / "face_landmarker.task").touch()
    (found,) = detect.open_detector(tmp_path).find(picture(0))
    assert (found.x, found.y, found.width, found.source) == pytest.approx((80, 45, 32, "landmarks"))
