"""Drawn talking heads whose mouth is known exactly; errors are in mouth widths."""

import cv2
import numpy as np
import pytest

from omnisync_core import mouth
from omnisync_core.errors import InputError, NoMouthHereError
from omnisync_core.mouth import tracking
from omnisync_core.mouth.detect import Face
from omnisync_core.synth.character import random_character
from omnisync_core.synth.scene import Scene

FPS = 25
FRAME = (288, 208)
HEAD, MOUTH_X, MOUTH_Y, MOUTH_WIDTH = 240, 120.0, 165.0, 54.0


def background(seed, grain=6):
    rng = np.random.default_rng(seed)
    width, height = FRAME
    coarse = cv2.resize(rng.random((height // grain, width // grain, 3)).astype(np.float32), FRAME)
    return coarse * (0.3 + 0.5 * rng.random(3))


def head(seed, opening):
    """A face (HEAD x HEAD, premultiplied rgba) with its mouth at MOUTH_X, MOUTH_Y; eyes and nose differ by seed."""
    rng = np.random.default_rng(seed)
    skin = np.array([0.85, 0.65, 0.52]) * rng.uniform(0.7, 1.1)
    image = np.ones((HEAD, HEAD, 4), np.float32)
    x = np.arange(HEAD) / HEAD - 0.5
    freckles = cv2.GaussianBlur(rng.normal(size=(HEAD, HEAD)), (0, 0), 2)
    image[..., :3] = skin * (1 - 0.4 * (x + 0.3) ** 2)[:, None] + 0.02 * (freckles / freckles.std())[..., None]
    eye_y, apart, nose = int(rng.integers(85, 105)), int(rng.integers(30, 48)), int(rng.integers(125, 142))
    cv2.ellipse(image, (120, 55), (100, 50), 0, 180, 360, (*(rng.random(3) * 0.4), 1), -1)
    for side in (-1, 1):
        eye = (120 + side * apart, eye_y)
        cv2.ellipse(image, eye, (18, int(rng.integers(7, 12))), 0, 0, 360, (0.95, 0.95, 0.95, 1), -1)
        cv2.circle(image, eye, 7, (*(rng.random(3) * 0.4), 1), -1)
        cv2.ellipse(image, (eye[0], eye_y - 18), (22, 4), 0, 0, 360, (0.2, 0.15, 0.1, 1), -1)
    cv2.ellipse(image, (120, nose), (14, 5), 0, 0, 180, (*(skin * 0.6), 1), 3)
    lips, inside = int(6 + 20 * opening), int(1 + 18 * opening)
    cv2.ellipse(image, (120, 165), (27, lips), 0, 0, 360, (0.7, 0.25, 0.25, 1), -1)
    cv2.ellipse(image, (120, 165), (20, inside), 0, 0, 360, (0.2, 0.05, 0.05, 1), -1)
    shape = np.zeros((HEAD, HEAD), np.float32)
    cv2.ellipse(shape, (120, 117), (90, 114), 0, 0, 360, 1, -1)
    image[..., 3] = cv2.GaussianBlur(shape, (0, 0), 1)
    image[..., :3] *= image[..., 3:]
    return np.clip(image, 0, 1)


def shown(picture, face, x, y, width, roll=0.0):
    """The picture (float) with the face on it, its mouth at continuous pixel x, y."""
    scale = width / MOUTH_WIDTH
    c, s = scale * np.cos(roll), scale * np.sin(roll)
    matrix = np.array([[c, -s, 0], [s, c, 0]])
    matrix[:, 2] = np.array([x, y]) - 0.5 - matrix[:, :2] @ [MOUTH_X, MOUTH_Y]
    if scale < 0.8:
        face = cv2.GaussianBlur(face, (0, 0), 0.4 / scale)
    over = cv2.warpAffine(face, matrix, (picture.shape[1], picture.shape[0]), flags=cv2.INTER_LINEAR)
    return picture * (1 - over[..., 3:]) + over[..., :3]


def scene(count, seed, width=32.0, reach=22.0, zoom=0.12, roll=0.12, at=(0.5, 0.6), backdrop=None):
    """`count` uint8 frames of a talking head that wanders, and its true x, y, width."""
    t = np.arange(count) / FPS
    rng = np.random.default_rng(seed)

    def wave(size):
        return size * sum(rng.uniform(0.3, 0.6) * np.sin(6.28 * rng.uniform(0.15, 0.7) * (t + 9 * k)) for k in range(2))

    x, y = at[0] * FRAME[0] + wave(reach), at[1] * FRAME[1] + wave(reach / 3)
    widths, rolls = width * np.exp(wave(zoom)), wave(roll)
    openings = np.clip(0.4 + 0.4 * np.sin(6.28 * 3.5 * t) * np.sin(6.28 * 0.6 * t), 0, 1)
    picture = background(seed if backdrop is None else backdrop)
    frames = [
        shown(picture, head(seed, openings[k]), x[k], y[k], widths[k], rolls[k])
        + rng.normal(0, 0.01, (FRAME[1], FRAME[0], 1))
        for k in range(count)
    ]
    return np.uint8(np.clip(frames, 0, 1) * 255 + 0.5), np.stack([x, y, widths], axis=1)


def hand(frame, x, y, radius):
    """The frame with a textured disc over it."""
    rng = np.random.default_rng(1)
    skin = cv2.resize(rng.integers(60, 200, (40, 40, 3)).astype(np.uint8), FRAME, interpolation=cv2.INTER_CUBIC)
    skin = cv2.warpAffine(skin, np.array([[1.0, 0, x - 144], [0, 1.0, y - 104]]), FRAME, borderMode=cv2.BORDER_REFLECT)
    mask = np.zeros(frame.shape[:2], np.uint8)
    cv2.circle(mask, (round(16 * x), round(16 * y)), 16 * radius, 255, -1, cv2.LINE_AA, 4)
    return np.where(mask[..., None] > 127, skin, frame)


def timed(frames):
    return ((k / FPS, frame) for k, frame in enumerate(frames))


def errors(track, truth):
    """Distance of the centre and relative error of the width, per frame."""
    center, width = track.center_N2 * track.frame_size, track.width_N * track.frame_size[0]
    return np.linalg.norm(center - truth[:, :2], axis=1) / truth[:, 2], np.abs(width / truth[:, 2] - 1)


@pytest.fixture(autouse=True)
def features_alone(request, monkeypatch):
    """The finder sees nothing: what features do by themselves; a test marked `finder` has it."""
    if request.node.get_closest_marker("finder"):
        return
    monkeypatch.setattr(tracking, "find_mouths", lambda rgb: [])
    monkeypatch.setattr(tracking, "mouth_at", lambda *_: None)


@pytest.fixture(scope="module")
def walk():
    return scene(70, 3)


def test_a_point_with_a_width_is_followed(walk):
    frames, truth = walk
    track = mouth.track(timed(frames), tuple(truth[0]))
    away, wider = errors(track, truth)
    assert np.median(away) < 0.03
    assert np.quantile(away, 0.95) < 0.08
    assert np.median(wider) < 0.02
    assert wider.max() < 0.08
    assert (track.confidence_N > 0.5).all()
    assert set(track.source_N) == {"user"}
    assert not track.shot_N.any()
    assert np.allclose(track.pts_N, np.arange(70) / FPS)
    assert track.warnings == ()


def test_beside_a_mouth_a_point_stays_and_takes_its_width(walk, monkeypatch):
    """Half of it may be hidden: the finder's middle is then that of the other half."""
    frames, truth = walk
    x, y, width = truth[0]
    beside = Face(x + 0.5 * width, y, 0.8 * width, 0.0, 0.5, "finder")
    monkeypatch.setattr(tracking, "mouth_at", lambda rgb, px, py, reach: beside if reach > 0.5 else None)
    track = mouth.track(timed(frames[:2]), mouth.Point(x, y))
    assert track.center_N2[0] * track.frame_size == pytest.approx((x, y), abs=0.5)
    assert track.width_N[0] * track.frame_size[0] == pytest.approx(0.8 * width, rel=0.01)


def test_a_rough_point_finds_the_mouth_and_its_width(walk, monkeypatch):
    frames, truth = walk
    x, y, width = truth[0]
    monkeypatch.setattr(tracking, "mouth_at", lambda *_: Face(x, y, width, 0.0, 0.9, "finder"))
    track = mouth.track(timed(frames), mouth.Point(x + 0.35 * width, y + 0.3 * width))
    away, wider = errors(track, truth)
    assert np.median(away) < 0.12
    assert np.quantile(away, 0.95) < 0.2
    assert np.median(wider) < 0.2
    assert "--mouth X,Y,WIDTH" in track.warnings[0]
    assert mouth.track(timed(frames[:9]), (x, y)).warnings == ()


@pytest.mark.finder
def test_lips_that_move_are_surer_than_what_stands_out():
    """A fox's muzzle and bib stand out from its fur; its closed mouth is a thin line."""
    seed = next(seed for seed in range(1000) if random_character(seed, "test").family == "animal/fox")
    scene, times = Scene.random(seed, "test"), np.arange(60) / FPS
    opening = np.clip(np.sin(6.28 * 3.1 * times), 0, 1)[:, None]
    frames = scene.render(np.float32([1, 0.5, 0, 1, 1]) * opening, times, size=224)
    truth = np.pad(224 * scene.mouth_center(times), ((0, 0), (0, 1)), constant_values=224 * scene.mouth_width)
    away, wider = errors(mouth.track(timed(frames), (truth[0, 0], truth[0, 1] + 0.2 * truth[0, 2])), truth)
    assert away.max() < 0.4
    assert wider.max() < 0.4


@pytest.mark.finder
@pytest.mark.parametrize("how", ["auto", "click"])
def test_the_bundled_finder_and_features_hold_a_walking_head(walk, how):
    frames, truth = walk
    x, y, width = truth[0]
    track = mouth.track(timed(frames), "auto" if how == "auto" else (x + 0.2 * width, y))
    away, _ = errors(track, truth)
    assert (track.confidence_N > 0).all()
    assert np.quantile(away, 0.9) < 0.5


@pytest.mark.finder
def test_the_bundled_finder_sees_no_mouth_where_no_face_is():
    track = mouth.track(timed(np.repeat(np.uint8(background(3)[None] * 255), 12, axis=0)), "auto")
    assert not track.confidence_N.any()
    assert "--mouth X,Y" in track.warnings[0]


@pytest.mark.finder
def test_a_hidden_mouth_is_lost_with_the_finder_as_well(walk):
    frames, truth = walk[0].copy(), walk[1]
    frames[20:45] = np.uint8(background(3) * 255)
    track = mouth.track(timed(frames), tuple(truth[0]))
    assert (track.confidence_N[22:44] == 0).all()
    assert (track.confidence_N[50:] > 0).all()


@pytest.mark.finder
def test_a_point_on_no_mouth_is_refused_with_what_a_picture_needs(walk):
    """A corner of the backdrop while the face is plainly seen."""
    frames, truth = walk
    with pytest.raises(NoMouthHereError, match=r"no mouth is seen at 20,15, but at .*--mouth X,Y,WIDTH") as caught:
        mouth.track(timed(frames[:3]), (20, 15))
    assert np.array_equal(caught.value.rgb_HWC, frames[0])
    assert caught.value.point == (20, 15)
    (x, y, width, sure), *_ = caught.value.seen
    assert np.hypot(x - truth[0, 0], y - truth[0, 1]) < 0.5 * width
    assert sure >= tracking.SURELY


@pytest.mark.finder
def test_a_point_with_a_width_is_never_refused(walk):
    track = mouth.track(timed(walk[0][:3]), (20, 15, 16))
    assert np.allclose(track.center_N2[0] * FRAME, (20, 15), atol=1)


@pytest.mark.finder
def test_a_point_is_believed_where_no_mouth_is_sure():
    track = mouth.track(timed(np.repeat(np.uint8(background(3)[None] * 255), 4, axis=0)), (100, 90))
    assert np.allclose(track.center_N2[0] * FRAME, (100, 90), atol=20)
    assert track.confidence_N[0] == 1


@pytest.mark.parametrize(
    ("here", "there", "is_refused"),
    [(None, 0.9, True), (0.3, 0.9, True), (0.4, 0.9, False), (None, 0.55, False), (0.25, 0.6, False)],
)
def test_a_doubtful_mouth_is_still_the_user_s(monkeypatch, walk, here, there, is_refused):
    """A profile beside a face that looks into the camera."""
    other = Face(240.0, 60.0, 30.0, 0.0, there, "finder")
    doubtful = here and Face(100.0, 90.0, 30.0, 0.0, here, "finder")
    monkeypatch.setattr(tracking, "find_mouths", lambda rgb: [other, *([doubtful] if doubtful else [])])
    monkeypatch.setattr(tracking, "mouth_at", lambda *_: doubtful)
    if is_refused:
        with pytest.raises(NoMouthHereError, match="but at 240,60"):
            mouth.track(timed(walk[0][:2]), (100, 90))
    else:
        assert mouth.track(timed(walk[0][:2]), (100, 90)).confidence_N[0] == 1


def test_small_copies_and_floats_give_the_same_place(walk):
    frames, truth = walk
    large = mouth.track(timed(frames[:12]), tuple(truth[0]))
    point = mouth.Point(*(2.0 * truth[0]))
    small = mouth.track(timed(np.float32(frames[:12]) / 255), point, frame_size=(2 * FRAME[0], 2 * FRAME[1]))
    assert small.frame_size == (576, 416)
    assert np.allclose(small.center_N2, large.center_N2, atol=2e-3)
    assert np.allclose(small.width_N, large.width_N, rtol=0.02)


def test_frames_are_taken_one_at_a_time(walk):
    frames, truth = walk
    alive, most = [0], [0]

    class Picture(np.ndarray):
        def __array_finalize__(self, _):
            self.owned = False

        def __del__(self):
            alive[0] -= self.owned

    def feed():
        for k, frame in enumerate(frames[:20]):
            picture = frame.copy().view(Picture)
            picture.owned = True
            alive[0] += 1
            most[0] = max(most[0], alive[0])
            yield k / FPS, picture

    mouth.track(feed(), tuple(truth[0]))
    assert most[0] <= 4


def test_a_close_up_of_growing_width_is_followed():
    widths = 22 * np.exp(np.linspace(0, 1.1, 50))
    truth = np.stack([np.full(50, 144.0), np.full(50, 120.0), widths], axis=1)
    face, picture = head(5, 0.2), background(5)
    frames = [np.uint8(shown(picture, face, *row) * 255) for row in truth]
    away, wider = errors(mouth.track(timed(frames), tuple(truth[0])), truth)
    assert np.quantile(away, 0.95) < 0.1
    assert wider.max() < 0.08


@pytest.mark.parametrize("radius", [18, 26])
def test_a_hand_that_passes_and_rests_does_not_drag_the_mouth_away(walk, radius):
    frames, truth = walk[0].copy(), walk[1]
    for k in range(15, 60):
        off = np.interp(k, [15, 25, 45, 59], [-110, 0, 0, 150])
        frames[k] = hand(frames[k], truth[k, 0] + off, truth[k, 1] + 4, radius)
    track = mouth.track(timed(frames), tuple(truth[0]))
    known = track.confidence_N > 0
    away, _ = errors(track, truth)
    assert np.median(away[known]) < 0.05
    assert away[known].max() < 0.2
    assert known[:18].all()
    assert known[-5:].all()


def test_a_hidden_mouth_is_lost_and_found_again(walk):
    frames, truth = walk[0].copy(), walk[1]
    for k in range(20, 45):
        frames[k] = np.uint8(background(3) * 255)
    track = mouth.track(timed(frames), tuple(truth[0]))
    away, _ = errors(track, truth)
    assert (track.confidence_N[21:44] == 0).all()
    assert (track.confidence_N[47:] > 0.5).all()
    assert away[47:].max() < 0.15
    assert np.isfinite(track.center_N2).all()
    assert not track.shot_N.any()


def test_a_short_loss_is_filled(walk):
    frames, truth = walk[0].copy(), walk[1]
    frames[20:26] = np.uint8(background(3) * 255)
    track = mouth.track(timed(frames), tuple(truth[0]))
    away, _ = errors(track, truth)
    assert set(track.source_N[20:26]) == {"filled"}
    assert (track.confidence_N > 0).all()
    assert away.max() < 0.3


def test_after_a_cut_the_face_is_searched_at_any_size_and_place():
    first, truth = scene(14, 3)
    empty = np.repeat(np.uint8(background(40, grain=20)[None] * 255), 8, axis=0)
    near, near_truth = scene(14, 3, width=50, at=(0.58, 0.66), backdrop=41, reach=8)
    far, far_truth = scene(14, 3, width=20, at=(0.3, 0.5), backdrop=42, reach=8)
    frames = np.concatenate([first, empty, near, far])
    everywhere = np.concatenate([truth, truth[:8], near_truth, far_truth])
    track = mouth.track(timed(frames), tuple(truth[0]))
    assert track.shot_N.tolist() == [0] * 14 + [1] * 8 + [2] * 14 + [3] * 14
    away, wider = errors(track, everywhere)
    seen = track.confidence_N > 0
    assert not seen[14:22].any()
    assert seen[:14].all()
    assert seen[22:].all()
    assert away[seen].max() < 0.1
    assert wider[seen].max() < 0.1


def test_masks_give_place_and_width_per_frame(walk):
    frames, truth = walk[0][:10], walk[1][:10]
    masks = np.zeros((10, FRAME[1], FRAME[0]), np.float32)
    for mask, (x, y, width) in zip(masks, truth, strict=True):
        cv2.ellipse(mask, (round(x), round(y)), (round(width / 2), round(width / 4)), 0, 0, 360, 1.0, -1)
    masks[4] = 0
    away, wider = errors(mouth.track(timed(frames), masks), truth)
    assert away.max() < 0.12
    assert np.median(wider) < 0.1
    followed = mouth.track(timed(frames), masks[:1])
    assert errors(followed, truth)[0].max() < 0.12
    with pytest.raises(InputError, match="10 masks for 9 frames"):
        mouth.track(timed(frames[:9]), masks)
    with pytest.raises(InputError, match="10 masks for more than 10"):
        mouth.track(timed(np.concatenate([frames, frames])), masks)
    with pytest.raises(InputError, match="empty"):
        mouth.track(timed(frames), masks[4:5])


def test_all_masks_empty_means_no_mouth(walk):
    track = mouth.track(timed(walk[0][:3]), np.zeros((3, 8, 8)))
    assert not track.confidence_N.any()


def test_centre_is_the_papers_and_taken_only_when_asked_for(walk, monkeypatch):
    monkeypatch.setattr(tracking, "open_detector", lambda folder: None)
    monkeypatch.setattr(tracking, "find_mouths", lambda rgb: [])
    frames = walk[0][:4]
    centre, auto = (mouth.track(timed(frames), how) for how in ("centre", "auto"))
    assert centre.warnings == ()
    assert (centre.confidence_N > 0).all()
    assert set(centre.source_N) == {"fallback"}
    assert np.allclose(centre.center_N2, (0.5, 0.62))
    assert np.allclose(centre.width_N * FRAME[0], 0.2 * FRAME[1])
    assert not auto.confidence_N.any()
    assert "--mouth X,Y" in auto.warnings[0]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ((400, 20), "outside the first frame"),
        ((-1, 20), "outside the first frame"),
        ((10, 20, 900), "does not fit"),
        ((10,), "has 1 numbers"),
        ("left", 'mouth "left" is not known'),
    ],
)
def test_wrong_words_and_points_are_told(walk, how, message):
    with pytest.raises(InputError, match=message):
        mouth.track(timed(walk[0][:2]), how)


def test_no_frames_is_told():
    with pytest.raises(InputError, match="no frames"):
        mouth.track(iter(()), "centre")


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (3, 64), (700, 9)])
def test_tiny_and_flat_videos_do_not_break(size):
    frames = np.full((3, size[1], size[0], 3), 90, np.uint8)
    track = mouth.track(timed(frames), (size[0] // 2, size[1] // 2))
    assert len(track.pts_N) == 3
    assert np.isfinite(track.center_N2).all()
    assert (track.width_N > 0).all()
