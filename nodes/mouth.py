"""Where the mouth is, its crops, and their edits back onto the pictures."""

from __future__ import annotations

import math

import numpy as np
import torch
from comfy_api.latest import io, ui

from ..omnisync_core import crops, mouth
from ..omnisync_core.errors import InputError
from ..omnisync_core.mouth import observations
from ..omnisync_core.spec import VideoSpec
from .frames import Pictures, open_frames
from .types import Region, Track, finite, rgb_frames

SPEAKERS = ("largest", "index", "point")
SURE = 0.5
"""Score from which a face of the host's detector counts."""
SHAPE_TOLERANCE = 0.02


class MouthTrack(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncMouthTrack",
            display_name="Mouth Track",
            category="OmniSync/mouth",
            description="Where the mouth is in every frame: from a mask, landmarks, keypoints, boxes, a face detection "
            "model or a point that you click on the first frame (the first of these that is there); from nothing, the "
            "frame's centre. Works with any character.",
            search_aliases=["mouth", "lips", "face tracking", "face detection", "speaker", "omnisync"],
            inputs=[
                io.MultiType.Input("source", [io.Image, io.Video], tooltip="The frames. A video file is streamed."),
                io.Mask.Input(
                    "mask", optional=True,
                    tooltip="The mouth, painted: on the first frame (it is followed from there) or on every frame.",
                ),
                io.BoundingBox.Input(
                    "bboxes", optional=True, force_input=True,
                    tooltip="Boxes of faces (or of mouths, if labelled so): one box or several of the first frame, or "
                    "boxes of every frame.",
                ),
                io.Custom("FACE_LANDMARKS").Input(
                    "face_landmarks", optional=True, tooltip="From Detect Face Landmarks (MediaPipe)."
                ),
                io.Custom("POSE_KEYPOINT").Input(
                    "pose_keypoints", optional=True, tooltip="OpenPose keypoints with faces, from SDPose or DWPose."
                ),
                io.Custom("FACE_DETECTION_MODEL").Input(
                    "face_detection_model", optional=True,
                    tooltip="From Load Face Detection Model (MediaPipe): faces are looked for in every frame.",
                ),
                io.Combo.Input(
                    "speaker", options=list(SPEAKERS), default="largest",
                    tooltip="Who speaks. largest: the largest face of each shot. index: the one with this number. "
                    "point: what is at the point on the first frame; needs no detector.",
                ),
                io.Int.Input(
                    "index", default=0, min=0, max=63, tooltip="Number of the speaker's face: 0 is the leftmost one."
                ),
                io.Float.Input(
                    "point_x", default=0.5, min=0.0, max=1.0, step=0.001,
                    tooltip="The mouth on the first frame: 0 is its left edge, 1 its right one. Click the picture.",
                ),
                io.Float.Input(
                    "point_y", default=0.62, min=0.0, max=1.0, step=0.001,
                    tooltip="The mouth on the first frame: 0 is its upper edge, 1 its lower one. Click the picture.",
                ),
            ],
            outputs=[
                Track.Output("TRACK", tooltip="The mouth in every frame."),
                io.Image.Output("preview", tooltip="Some frames with the mouth and its crop, and who says so."),
                io.Mask.Output(
                    "MASK", tooltip="Where the frames will be edited: a mask per image; of a video one for all frames."
                ),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, point_x=0.5, point_y=0.5):
        for name, value in (("point_x", point_x), ("point_y", point_y)):
            if value is None:
                continue  # linked: known when it runs
            if not (isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1):
                return f"{name} must be a number within 0..1, got {value}"
        return True

    @classmethod
    def execute(cls, source, speaker, index, point_x, point_y, mask=None, **found) -> io.NodeOutput:
        from ..omnisync_core.evaluation.track_sheet import Samples, draw
        from .host.counting import counted

        samples = Samples()
        with open_frames(source) as frames:
            point = _point(finite("point_x", point_x, 0, 1), finite("point_y", point_y, 0, 1), frames.size)
            choice = mouth.Choice(speaker, index, point if speaker == "point" else None)
            how = _how(frames.size, choice, mask, **found)

            def looked():
                for time, picture in counted(frames.read(), frames.count):
                    samples.add(picture)
                    yield time, picture

            track = mouth.track(looked(), how, choice=choice, frame_size=frames.size)
            preview = draw(track, samples.chosen())
            masks = _masks(track, frames.size, per_frame=isinstance(frames, Pictures))
        first = _image(samples.chosen()[0][1])
        return io.NodeOutput(track, _image(preview)[None], masks, ui=_shown(first, track))


class MouthCrop(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncMouthCrop",
            display_name="Mouth Crop",
            category="OmniSync/mouth",
            description="Cuts the mouth out of the images: one steady square per shot, as Lip Sync Video does. The "
            "last one is repeated until there are 1 + 4k (9 at least), as video VAEs need; Mouth Paste drops repeats.",
            search_aliases=["crop face", "crop mouth", "omnisync"],
            inputs=[
                io.Image.Input("images", tooltip="The frames."),
                Track.Input("mouth_track", tooltip="Of these images, or of the same ones in another size."),
                io.Int.Input(
                    "size", default=VideoSpec().crop_size, min=16, max=2048, step=8,
                    tooltip="Pixels of the crop's side: what the model was trained with. The bundled model takes 96.",
                ),
            ],
            outputs=[
                io.Image.Output("crops", tooltip="Square crops, 1 + 4k of them; for VAE Encode."),
                Region.Output("REGION", tooltip="Where the crops lie; for Mouth Paste."),
                Track.Output("crop_track", tooltip="The mouth inside the crops; for the DS-CFG nodes."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, images, mouth_track, size) -> io.NodeOutput:
        from .host.counting import counted

        images = rgb_frames(images)
        where = crops.plan(mouth_track, (images.shape[2], images.shape[1]), len(images), size)
        cut = np.empty((where.padded, size, size, 3), np.float32)
        for frame, image in counted(enumerate(images), len(images)):
            cut[frame] = where.cut(_array(image), frame)
        cut[len(images) :] = cut[len(images) - 1]
        return io.NodeOutput(torch.from_numpy(cut), where, where.mouths())


class MouthPaste(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncMouthPaste",
            display_name="Mouth Paste",
            category="OmniSync/mouth",
            description="Puts edited crops back: only their change, softly, and outside the mask every pixel stays "
            "exactly the source's. Give the reference too wherever a VAE was used, or its errors count as changes.",
            search_aliases=["paste face", "uncrop", "composite mouth", "omnisync"],
            inputs=[
                io.Image.Input("images", tooltip="The frames that Mouth Crop was given."),
                io.Image.Input("edited", tooltip="The crops after the edit, in their order, of any size."),
                Region.Input("region", tooltip="From Mouth Crop."),
                io.Image.Input(
                    "reference", optional=True,
                    tooltip="The crops through the same VAE without an edit (encoded, then decoded), as Lip Sync Video "
                    "takes them: what the VAE alone does to them is then not taken for an edit.",
                ),
            ],
            outputs=[
                io.Image.Output("images", tooltip="The frames with the edit."),
                io.Mask.Output("MASK", tooltip="Where a frame may differ from the source; 0: exactly the source."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, images, edited, region, reference=None) -> io.NodeOutput:
        from .host.counting import counted

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
                here = result[frame, y0:y1, x0:x1]
                pixels, mask = torch.from_numpy(change.pixels), torch.from_numpy(change.mask)
                pixels = pixels.mean(-1, keepdim=True) if here.shape[-1] == 1 else pixels
                changed = (mask > 0)[..., None].to(here.device)
                colours = here[..., : pixels.shape[-1]]
                colours[:] = torch.where(changed, pixels.to(here), colours)
                masks[frame, y0:y1, x0:x1] = mask
        return io.NodeOutput(result, masks)


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
    """What the core is told: the first of the inputs that is there."""
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


def _point(x: float, y: float, frame_size) -> mouth.Point:
    """In pixels; the right and lower edge belong to the last ones."""
    width, height = frame_size
    return mouth.Point(min(x * width, width - 1e-3), min(y * height, height - 1e-3))


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
    where = crops.plan(track, frame_size, count, VideoSpec().crop_size)
    masks = np.zeros((count if per_frame else 1, frame_size[1], frame_size[0]), np.float32)
    for frame in range(count):
        box_mask = where.mask(frame)
        if box_mask is not None:
            (x0, y0, x1, y1), mask = box_mask
            here = masks[frame if per_frame else 0, y0:y1, x0:x1]
            np.maximum(here, np.clip(mask, 0, 1), out=here)
    return torch.from_numpy(masks)


def _check_region(region: crops.Crops, images: torch.Tensor) -> None:
    if len(images) != len(region) or (images.shape[2], images.shape[1]) != region.frame_size:
        width, height = region.frame_size
        raise InputError(
            f"the region is of {len(region)} images of {width}x{height}, got {len(images)} of "
            f"{images.shape[2]}x{images.shape[1]}: connect the images that Mouth Crop was given"
        )


def _edited(images: torch.Tensor, region: crops.Crops, name: str, size: int | None = None) -> torch.Tensor:
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


def _shown(first: torch.Tensor, track) -> dict:
    """For the point widget: the first frame as a temporary picture, and the mouth that was found on it."""
    saved = ui.ImageSaveHelper.save_images(first[None], "omnisync_first_frame", io.FolderType.temp, None, 1)
    place = [*track.center_N2[0].tolist(), float(track.width_N[0]), float(track.confidence_N[0])]
    return {"omnisync_frame": saved, "omnisync_mouth": place}
