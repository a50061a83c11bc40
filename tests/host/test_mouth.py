"""Mouth Track, Mouth Crop and Mouth Paste in a real host."""

from fractions import Fraction
from io import BytesIO

import numpy as np
import pytest
import torch

WIDTH, HEIGHT = 96, 64
MOUTH = (48.0, 40.0, 16.0)
"""x, y, width in pixels."""


def blobs(frames=3, channels=3):
    """A still, textured picture."""
    noise = np.random.default_rng(0).random((HEIGHT // 8, WIDTH // 8, channels))
    still = np.kron(noise, np.ones((8, 8, 1))).astype(np.float32)
    return torch.from_numpy(np.repeat(still[None], frames, 0)).contiguous()


def box(x, y, width):
    side = width / 0.36
    return {"x": x - side / 2, "y": y - 0.8 * side, "width": side, "height": side}


def mouth_box(x, y, width):
    return {"x": x - width / 2, "y": y - width / 4, "width": width, "height": width / 2, "label": "mouth"}


def mesh(x, y, width):
    points = np.full((478, 2), 5.0, np.float32)
    points[[61, 291, 13, 14]] = (x - width / 2, y), (x + width / 2, y), (x, y), (x, y)
    return {"landmarks_xy": points, "score": 0.9, "bbox_xyxy": np.zeros(4)}


def landmarks(*faces, frames=3):
    lips = frozenset({(61, 13), (13, 291), (291, 14), (14, 61)})
    return {"frames": [list(faces)] * frames, "image_size": (HEIGHT, WIDTH), "connection_sets": {"lips": lips}}


def keypoints(x, y, width, share=False, frames=3):
    points = np.full((70, 3), (3.0, 3.0, 0.9))
    angle = np.arange(12) / 12 * 2 * np.pi
    points[48:60, :2] = np.stack([x - width / 2 * np.cos(angle), y - width / 4 * np.sin(angle)], 1)
    points[60:68, :2] = (x, y)
    points[:, :2] /= (WIDTH, HEIGHT) if share else 1
    person = {"face_keypoints_2d": points.ravel().tolist()}
    return [{"canvas_width": WIDTH, "canvas_height": HEIGHT, "people": [person]}] * frames


def painted(count):
    mask = torch.zeros(count, HEIGHT, WIDTH)
    mask[:, 36:44, 40:56] = 1
    return mask


class Detector:
    """The host's face model, as far as it is asked."""

    def detect_batch(self, images, num_faces, score_thresh, variant):
        assert images[0].dtype == np.uint8
        assert num_faces == 0
        return [[mesh(*MOUTH)] if variant == "full" else [] for _ in images]


def track(host, source, speaker="largest", index=0, point=(0.5, 0.625), **inputs):
    """Run Mouth Track: (TRACK, preview, MASK)."""
    prompt = {"source": host.give(source)}
    prompt |= {name: host.give(value) for name, value in inputs.items()}
    widgets = {"speaker": speaker, "index": index, "point_x": point[0], "point_y": point[1]}
    links = {name: [name, 0] for name in prompt}
    prompt["track"] = {"class_type": "OmniSyncMouthTrack", "inputs": {**links, **widgets}}
    return host.run(prompt)["track"]


def place(found):
    """Mean x, y, width in pixels."""
    size = np.array(found.frame_size)
    return (*(found.center_N2 * size).mean(0), (found.width_N * size[0]).mean())


@pytest.mark.parametrize(
    ("inputs", "source"),
    [
        ({"mask": painted(1)}, "user"),
        ({"mask": painted(3)}, "user"),
        ({"mask": torch.nn.functional.interpolate(painted(1)[None], scale_factor=2)[0]}, "user"),
        ({"bboxes": mouth_box(*MOUTH)}, "detector"),
        ({"bboxes": [mouth_box(*MOUTH)]}, "detector"),
        ({"bboxes": [[mouth_box(*MOUTH)]] * 3}, "detector"),
        ({"face_landmarks": landmarks(mesh(*MOUTH))}, "landmarks"),
        ({"pose_keypoints": keypoints(*MOUTH)}, "landmarks"),
        ({"pose_keypoints": keypoints(*MOUTH, share=True)}, "landmarks"),
        ({"face_detection_model": Detector()}, "landmarks"),
    ],
)
def test_every_way_to_say_where_the_mouth_is(host, inputs, source):
    found, preview, mask = track(host, blobs(), **inputs)
    assert np.allclose(place(found), MOUTH, atol=0.6)
    assert found.source_N[0] == source
    assert found.warnings == ()
    assert preview.shape[0] == 1
    assert preview.shape[-1] == 3
    assert preview.min() >= 0
    assert preview.max() <= 1
    assert mask.shape == (3, HEIGHT, WIDTH)
    assert mask[:, 40, 48].min() > 0.9
    assert mask[:, 2, 2].max() == 0


def test_a_face_box_tells_the_mouth_roughly(host):
    found, *_ = track(host, blobs(), bboxes=[[box(*MOUTH)]] * 3)
    x, y, width = place(found)
    assert np.hypot(x - MOUTH[0], y - MOUTH[1]) < MOUTH[2]
    assert 0.4 < width / MOUTH[2] < 2.5


def test_the_speaker_is_the_largest_the_nth_or_the_one_pointed_at(host):
    left, right = (24.0, 40.0, 12.0), (72.0, 40.0, 16.0)
    faces = landmarks(mesh(*right), mesh(*left))
    for words, expected in [
        ({}, right), ({"speaker": "index", "index": 0}, left), ({"speaker": "index", "index": 1}, right),
        ({"speaker": "point", "point": (0.25, 0.6)}, left),
    ]:  # fmt: skip
        assert np.allclose(place(track(host, blobs(), face_landmarks=faces, **words)[0]), expected, atol=0.6), words


def test_a_clicked_point_needs_no_face(host):
    found, *_ = track(host, blobs(), "point", point=(0.5, 0.6))
    assert set(found.source_N) == {"user"}
    assert (found.confidence_N > 0).all()
    assert np.isfinite(place(track(host, blobs(1), "point", point=(1.0, 1.0))[0])).all()


def test_nothing_is_no_mouth_and_says_so(host):
    found, *_ = track(host, blobs(), bboxes=[[], [], []])
    assert not found.confidence_N.any()
    assert "point at it" in found.warnings[0]


def video(kind):
    """A VIDEO of the blobs: a file in memory, trimmed, or tensors."""
    from comfy_api.latest import InputImpl, Types

    made = InputImpl.VideoFromComponents(Types.VideoComponents(images=blobs(6), frame_rate=Fraction(10)))
    if kind == "tensors":
        return made
    made.save_to(stream := BytesIO())
    if kind == "memory":
        return InputImpl.VideoFromFile(stream)
    return InputImpl.VideoFromFile(stream, start_time=0.2, duration=0.3)


@pytest.mark.parametrize(("kind", "frames"), [("tensors", 6), ("memory", 6), ("trimmed", 3)])
def test_a_video_is_tracked_at_its_own_times(host, kind, frames):
    found, _, mask = track(host, video(kind), bboxes=mouth_box(*MOUTH))
    assert np.allclose(found.pts_N, np.arange(frames) / 10, atol=1e-3)
    assert found.frame_size == (WIDTH, HEIGHT)
    assert np.allclose(place(found)[:2], MOUTH[:2], atol=2)
    assert len(mask) == (frames if kind == "tensors" else 1)
    assert mask[0, 40, 48] > 0.9


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (1, 5, 3, 4), (2, 64, 96, 1)])
def test_small_grey_and_transparent_pictures_are_tracked(host, shape):
    found, _, mask = track(host, torch.full(shape, 0.5), "point")
    assert len(found.pts_N) == shape[0]
    assert mask.shape == shape[:3]
    assert torch.isfinite(mask).all()


@pytest.mark.parametrize(
    ("source", "inputs", "message"),
    [
        (blobs(), {"mask": torch.zeros(1, HEIGHT, WIDTH)}, "mask is empty"),
        (blobs(), {"mask": torch.ones(1, 64, 64)}, "the mask is 64x64, the frames are 96x64"),
        (blobs(), {"mask": painted(2)}, "got 2 masks for"),
        (blobs(), {"mask": painted(1) * float("nan")}, "NaN"),
        (blobs(), {"bboxes": [[mouth_box(*MOUTH)]] * 2}, "bboxes holds 2 frames, the video has 3"),
        (blobs(), {"bboxes": []}, "bboxes must be a box"),
        (blobs(), {"face_landmarks": {"frames": 3}}, "face_landmarks must be"),
        (blobs(), {"bboxes": mouth_box(*MOUTH), "speaker": "index", "index": 4}, "speaker 4 is not there"),
        (blobs(), {"face_detection_model": 3}, "Load Face Detection Model"),
        (blobs() * float("nan"), {}, "NaN"),
        (blobs(0), {}, "at least one picture"),
        (3, {}, "source must be IMAGE or VIDEO"),
        (blobs(), {"point": (float("nan"), 0.5)}, "point_x must be a number"),
        (blobs(), {"point": (0.5, 1.5)}, "point_y must be a number"),
    ],
)
def test_bad_input_is_told_in_one_line(host, source, inputs, message):
    with pytest.raises(Exception, match=message):
        track(host, source, **inputs)


def crop_and_paste(host, images, edit, size=32, reference=False, found=None):
    found = found or track(host, blobs(), bboxes=mouth_box(*MOUTH))[0]
    prompt = {
        "images": host.give(images), "found": host.give(found),
        "crop": {"class_type": "OmniSyncMouthCrop", "inputs": {
            "images": ["images", 0], "mouth_track": ["found", 0], "size": size}},
    }  # fmt: skip
    crops, region, inner = host.run(prompt)["crop"]
    inputs = {"images": ["images", 0], "edited": ["edited", 0], "region": ["region", 0]}
    prompt = {"images": host.give(images), "edited": host.give(edit(crops)), "region": host.give(region)}
    if reference:
        prompt["reference"] = host.give(crops)
        inputs["reference"] = ["reference", 0]
    prompt["paste"] = {"class_type": "OmniSyncMouthPaste", "inputs": inputs}
    return crops, inner, *host.run(prompt)["paste"]


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_crops_that_come_back_unedited_change_nothing(host, channels, dtype):
    images = blobs(channels=channels).to(dtype)
    crops, inner, pasted, mask = crop_and_paste(host, images, lambda crops: crops, reference=True)
    assert crops.shape == (9, 32, 32, 3)
    assert len(inner.pts_N) == 9
    assert inner.frame_size == (32, 32)
    assert torch.equal(crops[2], crops[8])
    assert pasted.dtype == dtype
    assert (pasted.float() - images.float()).abs().max() < 1e-3
    assert mask.shape == (3, HEIGHT, WIDTH)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_edit_stays_inside_its_mask_and_reaches_it(host, channels):
    images = blobs(channels=channels)
    _, _, pasted, mask = crop_and_paste(host, images, lambda crops: torch.ones(3, 64, 64, 3), reference=False)
    outside = mask == 0
    assert torch.equal(pasted[outside], images[outside])
    assert pasted.shape == images.shape
    assert (pasted - images).abs()[mask > 0.9][..., :1].max() > 0.2
    assert outside.any()
    assert mask.max() <= 1


def test_a_scaled_copy_of_the_tracked_frames_is_cut_too(host):
    images = torch.nn.functional.interpolate(blobs().permute(0, 3, 1, 2), scale_factor=2).permute(0, 2, 3, 1)
    crops, _, pasted, _ = crop_and_paste(host, images, lambda crops: crops)
    assert crops.shape[1:] == (32, 32, 3)
    assert pasted.shape == images.shape


def test_crops_of_another_kind_are_told(host):
    for images, edit, message in [
        (blobs(4), None, "track has 3 frames, the images are 4"),
        (torch.rand(3, 96, 96, 3), None, "track is of 96x64"),
        (blobs(), lambda crops: crops[:2], "edited holds 2 crops, the region 3 frames"),
        (blobs(), lambda crops: crops[:, :16], "expected squares"),
    ]:
        with pytest.raises(Exception, match=message):
            crop_and_paste(host, images, edit)


def test_paste_wants_the_images_of_the_region(host):
    found = track(host, blobs(), bboxes=mouth_box(*MOUTH))[0]
    where = host.module("omnisync_core.crop.pictures").plan_region(found, (WIDTH, HEIGHT), 3, 32)
    prompt = {
        "images": host.give(blobs(2)), "edited": host.give(torch.rand(3, 32, 32, 3)), "region": host.give(where),
        "paste": {"class_type": "OmniSyncMouthPaste", "inputs": {
            "images": ["images", 0], "edited": ["edited", 0], "region": ["region", 0]}},
    }  # fmt: skip
    with pytest.raises(Exception, match="the region is of 3 images of 96x64, got 2"):
        host.run(prompt)
