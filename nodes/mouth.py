"""Where the mouth is, its crops, and their edits back onto the pictures."""

from __future__ import annotations

import math

from comfy_api.latest import io

from ..omnisync_core.errors import InputError, NoMouthHereError
from .host.shown import show
from .types import HINTS, RegionType, Track, finite, preview_input, read_preview, source_input, within_preview

SPEAKERS = ("largest", "index", "point")


class MouthTrackNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncMouthTrack",
            display_name="Mouth Track",
            category="OmniSync/mouth",
            description="Where the mouth is in every frame: from a mask, landmarks, keypoints, boxes, a face detection "
            "model or a point that you click on the first frame (the first of these that is there); from nothing, it "
            "is looked for. Works with any character.",
            search_aliases=["mouth", "lips", "face tracking", "face detection", "speaker"],
            inputs=[
                source_input(),
                *_given(),
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
                preview_input(
                    "Look at the first seconds alone, as many as in Lip Sync Video; 0 looks at all.", optional=True
                ),
                io.Float.Input(
                    "point_width", default=0.0, min=0.0, max=1.0, step=0.005, optional=True, advanced=True,
                    tooltip="How wide the mouth at the point is, of the frame's width. 0 is looked for; any other "
                    "value is taken as it is, also where no mouth is seen: a turned or hidden face.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[
                Track.Output("TRACK", tooltip="The mouth in every frame."),
                io.Image.Output("preview", tooltip="Some frames with the mouth and its crop, and who says so."),
                io.Mask.Output(
                    "MASK", tooltip="Where the frames will be edited: a mask per image; of a video one for all frames."
                ),
            ],
            is_output_node=True,  # "find the mouth only": its sheet is shown on it
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, point_x=0.5, point_y=0.5, preview_seconds=0.0, point_width=0.0):
        answer = within_preview(preview_seconds)
        if answer is not True:
            return answer
        for name, value in (("point_x", point_x), ("point_y", point_y), ("point_width", point_width)):
            if value is None:
                continue  # linked: known when it runs
            if not (isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1):
                return f"{name} must be a number within 0..1, got {value}"
        return True

    @classmethod
    def execute(
        cls, source, speaker, index, point_x, point_y, mask=None, preview_seconds=0.0, point_width=0.0, **found
    ) -> io.NodeOutput:
        from .tracking import find_mouth, refused

        wide = finite("point_width", point_width, 0, 1)
        point = finite("point_x", point_x, 0, 1), finite("point_y", point_y, 0, 1), wide or None
        try:
            *outputs, shown = find_mouth(source, speaker, index, point, mask, read_preview(preview_seconds), **found)
        except NoMouthHereError as error:
            show(cls.hidden.unique_id, refused(error))
            raise InputError(f"{error.problem}: {HINTS[error.hint]}") from error
        return io.NodeOutput(*outputs, ui=shown)


def _given() -> list:
    """What may say where the mouth is; the first that is connected does."""
    return [
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
    ]  # fmt: skip


class MouthCropNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncMouthCrop",
            display_name="Mouth Crop",
            category="OmniSync/mouth",
            description="Cuts the mouth out of the images: one steady square per shot, as Lip Sync Video does. The "
            "last one is repeated until there are 1 + 4k (9 at least), as video VAEs need; Mouth Paste drops repeats.",
            search_aliases=["crop face", "crop mouth"],
            inputs=[
                io.Image.Input("images", tooltip="The frames."),
                Track.Input("mouth_track", tooltip="Of these images, or of the same ones in another size."),
                io.Int.Input(
                    "size", default=128, min=16, max=2048, step=8,
                    tooltip="Pixels of the crop's side: what the model was trained with. The bundled model takes 128.",
                ),
            ],
            outputs=[
                io.Image.Output("crops", tooltip="Square crops, 1 + 4k of them; for VAE Encode."),
                RegionType.Output("REGION", tooltip="Where the crops lie; for Mouth Paste."),
                Track.Output("crop_track", tooltip="The mouth inside the crops; for the DS-CFG nodes."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, images, mouth_track, size) -> io.NodeOutput:
        from .tracking import cut_mouths

        return io.NodeOutput(*cut_mouths(images, mouth_track, size))


class MouthPasteNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncMouthPaste",
            display_name="Mouth Paste",
            category="OmniSync/mouth",
            description="Puts edited crops back: only their change, softly, and outside the mask every pixel stays "
            "exactly the source's. Give the reference too wherever a VAE was used, or its errors count as changes.",
            search_aliases=["paste face", "uncrop", "composite mouth"],
            inputs=[
                io.Image.Input("images", tooltip="The frames that Mouth Crop was given."),
                io.Image.Input("edited", tooltip="The crops after the edit, in their order, of any size."),
                RegionType.Input("region", tooltip="From Mouth Crop."),
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
        from .tracking import paste_mouths

        return io.NodeOutput(*paste_mouths(images, edited, region, reference))
