"""What Mouth Track, Mouth Crop and Mouth Paste do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from comfy_api.latest import io, ui

from ..omnisync_core import mouth
from ..omnisync_core.crop import pictures as crops
from ..omnisync_core.errors import InputError, NoMouthHereError
from ..omnisync_core.mouth import observations
from ..omnisync_core.sheets.refusal import draw_refusal
from ..omnisync_core.sheets.track_sheet import Samples, draw
from ..omnisync_core.spec import VideoSpec
from .frames import Pictures, open_frames
from .host.counting import counted
from .types import rgb_frames

SURE = 0.5
"""Score from which a face of the host's detector counts."""
SHAPE_TOLERANCE = 0.02
"""How far the sides of a mask and of the frames may be apart."""


def find_mouth(
    source, speaker: str, index: int, point: tuple, mask=None, seconds: float | None = None, **found
) -> tuple:
    """TRACK, preview IMAGE and MASK of the frames of an IMAGE or a VIDEO, and what the node shows.

    `point` is x, y and width (or None) in 0..1; `seconds` the first ones to look at (None: all); `found` what Mouth
    Track's other inputs hold. InputError.
    """
    samples = Samples()
    with open_frames(source, seconds=seconds) as frames:
        choice = mouth.Choice(speaker, index, _point(*point, frames.size) if speaker == "point" else None)
        more = seconds is not None  # what was found may be of all frames
        how = _how(
            frames.size, choice, mask[: frames.count] if more and mask is not None and mask.ndim > 2 else mask, **found
        )
        if isinstance(how, mouth.Seen):
            how = replace(how, faces_N=how.faces_N[: frames.count]) if more else how
            how.refuse_other_length(frames.count)

        def looked():
            for time, picture in counted(frames.read(), frames.count):
                samples.add(picture)
                yield time, picture

        track = mouth.track(looked(), how, choice=choice, frame_size=frames.size, hear=frames.hear)
        masks = _masks(track, frames.size, per_frame=isinstance(frames, Pictures))
    chosen = samples.chosen()
    sheet = _image(draw(track, chosen))[None]
    return track, sheet, masks, _shown(_image(chosen[0][1]), sheet, track)


def refused(error: NoMouthHereError) -> dict:
    """What the node shows of a point that is no mouth: a picture, and for the point widget the mouth that is seen."""
    height, width = error.rgb_HWC.shape[:2]
    x, y, wide, sure = error.seen[0]
    place = [x / width, y / height, wide / width, sure]
    return _for_node(_image(error.rgb_HWC), _image(draw_refusal(error))[None], place)


def cut_mouths(images: torch.Tensor, track, size: int) -> tuple:
    """The crops (1 + 4k, S, S, 3), where they lie, and the mouth's track inside them."""
    images = rgb_frames(images)
    where = crops.plan_region(track, (images.shape[2], images.shape[1]), len(images), size)
    cut = np.empty((where.padded, size, size, 3), np.float32)
    for frame, image in counted(enumerate(images), len(images)):
        cut[frame] = where.cut(_array(image), frame)
    cut[len(images) :] = cut[len(images) - 1]
    return torch.from_numpy(cut), where, where.mouths()


def paste_mouths(images: torch.Tensor, edited, region: crops.Region, reference=None) -> tuple:
    """The images with the edit, of their own type and channels, and the masks (N, H, W) of where they may differ."""
    rgb, result = rgb_frames(images), images.clone()
    _check_region(region, rgb)
    edited = _edited(edited, region, "edited")
    reference = None if reference is None else _edited(reference, region, "reference", edited.shape[1])
    masks = torch.zeros(rgb.shape[:3])
    for frame, image in counted(enumerate(rgb), len(rgb)):
        codec = None if reference is None else _array(reference[frame])
        change = region.change(_array(image), frame, _array(edited[frame]), codec)
        if change is not None:
            x0, y0, x1, y1 = change.box
            masks[frame, y0:y1, x0:x1] = torch.from_numpy(change.mask)
            _put(result[frame, y0:y1, x0:x1], change)
    return result, masks


class HostDetector:
    """The host's face detection model as the core's detector: near faces first, far ones where there are none."""

    def __init__(self, model):
        if not hasattr(model, "detect_batch"):
            raise InputError(
                f"face_detection_model cannot find faces ({type(model).__name__}): connect Load Face Detection Model"
            )
        self._model = model

    def find(self, rgb_HWC: np.ndarray) -> list:
        size = rgb_HWC.shape[1::-1]
        for variant in ("short", "full"):
            (faces,) = self._model.detect_batch([rgb_HWC], num_faces=0, score_thresh=SURE, variant=variant)
            if faces:
                found = observations.from_landmarks({"frames": [faces], "image_size": size[::-1]})
                return found.at(0, size[::-1])
        return []


def _how(
    frame_size, choice, mask=None, bboxes=None, face_landmarks=None, pose_keypoints=None, face_detection_model=None
):
    """What the core is given: the first of the inputs that is there."""
    if mask is not None:
        return _painted(mask, frame_size)
    if face_landmarks is not None:
        return observations.from_landmarks(face_landmarks)
    if pose_keypoints is not None:
        return observations.from_keypoints(pose_keypoints)
    if bboxes is not None:
        return observations.from_boxes(bboxes, frame_size)
    if face_detection_model is not None:
        return HostDetector(face_detection_model)
    return choice.point or "auto"


def _point(x: float, y: float, wide: float | None, frame_size) -> mouth.Point:
    """In pixels; the right and lower edge belong to the last ones."""
    width, height = frame_size
    return mouth.Point(min(x * width, width - 1e-3), min(y * height, height - 1e-3), wide and wide * width)


def _painted(mask: torch.Tensor, frame_size) -> np.ndarray:
    """MASK (H, W) or (N, H, W) as the core takes it. InputError: another shape than the frames', NaN."""
    masks_NHW = mask.detach().float().cpu().reshape(-1, *mask.shape[-2:]).numpy()
    (height, width), (across, along) = masks_NHW.shape[1:], frame_size
    if not len(masks_NHW) or abs(width * along / (height * across) - 1) > SHAPE_TOLERANCE:
        raise InputError(
            f"the mask is {width}x{height}, the frames are {across}x{along}: paint it on a frame of this shape"
        )
    if not np.isfinite(masks_NHW).all():
        raise InputError("the mask holds NaN or infinite numbers; check the node before it")
    return masks_NHW


def _masks(track, frame_size, per_frame: bool) -> torch.Tensor:
    """Where frames will be edited: a mask for each, or one (1, H, W) for all: a long video must not fill memory."""
    count = len(track.pts_N)
    where = crops.plan_region(track, frame_size, count, VideoSpec().crop_size)
    masks = np.zeros((count if per_frame else 1, frame_size[1], frame_size[0]), np.float32)
    for frame in range(count):
        box_mask = where.mask(frame)
        if box_mask is not None:
            (x0, y0, x1, y1), mask = box_mask
            here = masks[frame if per_frame else 0, y0:y1, x0:x1]
            np.maximum(here, np.clip(mask, 0, 1), out=here)
    return torch.from_numpy(masks)


def _put(place: torch.Tensor, change: crops.Change) -> None:
    """Write a change into a view of the image; grey gets its mean, alpha stays."""
    pixels = torch.from_numpy(change.pixels)
    pixels = pixels.mean(-1, keepdim=True) if place.shape[-1] == 1 else pixels
    colours = place[..., : pixels.shape[-1]]
    changed = torch.from_numpy(change.mask > 0)[..., None].to(place.device)
    colours[:] = torch.where(changed, pixels.to(place), colours)


def _check_region(region: crops.Region, images: torch.Tensor) -> None:
    if len(images) != len(region) or (images.shape[2], images.shape[1]) != region.frame_size:
        width, height = region.frame_size
        raise InputError(
            f"the region is of {len(region)} images of {width}x{height}, got {len(images)} of "
            f"{images.shape[2]}x{images.shape[1]}: connect the images that Mouth Crop was given"
        )


def _edited(images: torch.Tensor, region: crops.Region, name: str, size: int | None = None) -> torch.Tensor:
    """Square crops, one per frame or with the repeated ones at the end."""
    images = rgb_frames(images, name)
    height, width = images.shape[1:3]
    if len(images) not in (len(region), region.padded):
        raise InputError(
            f"{name} holds {len(images)} crops, the region {len(region)} frames ({region.padded} with repeats): give "
            "one for every crop of Mouth Crop"
        )
    if height != width or (size is not None and size != width):
        expected = "squares" if size is None else f"{size}x{size} as edited"
        raise InputError(f"{name} holds crops of {width}x{height}, expected {expected}: do not cut them")
    return images


def _array(image: torch.Tensor) -> np.ndarray:
    return image.detach().float().cpu().numpy()


def _image(rgb_HWC: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rgb_HWC.astype(np.float32) / 255)


def _shown(first: torch.Tensor, sheet: torch.Tensor, track) -> dict:
    """The sheet, and for the point widget the first frame and the mouth that was found on it; temporary pictures."""
    return _for_node(
        first, sheet, [*track.center_N2[0].tolist(), float(track.width_N[0]), float(track.confidence_N[0])]
    )


def _for_node(first: torch.Tensor, sheet: torch.Tensor, mouth_4: list[float]) -> dict:
    return {"images": _saved(sheet, "sheet"), "omnisync_frame": _saved(first[None], "first"), "omnisync_mouth": mouth_4}


def _saved(image: torch.Tensor, name: str) -> list:
    return ui.ImageSaveHelper.save_images(image, f"omnisync_{name}", io.FolderType.temp, None, 1)
