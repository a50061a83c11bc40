"""What others saw of faces, in their own shapes (boxes, landmarks, keypoints), as mouths per frame.

Lengths of a `Face` in here are over the frame's width and height (x, y) and over its width (width).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from .detect import MOUTH_DOWN, MOUTH_WIDE, Face, Head, as_head, head_of_mesh

LIPS = (61, 291, 13, 14)
"""MediaPipe's mesh: the lips' right and left corner, the middle of the upper and of the lower inner lip."""
MOUTH_68 = slice(48, 68)
"""The mouth among the 68 (70 with the pupils) keypoints of a face; the first and the seventh are its corners."""
BROWS_68, NOSE_68 = (slice(17, 22), slice(22, 27)), (29, 30, 31, 35)
SURE = 0.3
"""Score from which a keypoint counts."""


@dataclass(frozen=True)
class Seen:
    """The mouths that somebody saw in N frames; N = 1 of a longer video: on its first frame, to be followed."""

    faces_N: tuple[tuple[Face, ...], ...]
    name: str
    """What the user calls it, for errors."""
    guessed: bool = False
    """The mouth was guessed from the face's box: a look at the picture may know better."""

    def __len__(self) -> int:
        return len(self.faces_N)

    def at(self, frame: int, shape_HW: tuple[int, int]) -> list[Face]:
        """The mouths of a frame in pixels of a picture of it."""
        if frame >= len(self.faces_N):
            return []
        height, width = shape_HW
        return [_in_pixels(face, width, height) for face in self.faces_N[frame]]

    def refuse_other_length(self, frames: int) -> None:
        """InputError unless there is one entry per frame, or a single one."""
        if len(self) not in (1, frames):
            raise InputError(
                f"{self.name} holds {len(self)} frames, the video has {frames}: connect what was found on its frames"
            )


def from_boxes(boxes: Any, frame_size: tuple[int, int]) -> Seen:
    """BOUNDING_BOX: one dict, a list of them (several faces of one frame), or a list of such lists, one per frame.

    Boxes are in pixels (x, y, width, height) and hold faces; those labelled mouth or lips hold the mouth itself.
    """
    if isinstance(boxes, Mapping):
        boxes = [[boxes]]
    elif isinstance(boxes, Sequence) and boxes and all(isinstance(box, Mapping) for box in boxes):
        boxes = [boxes]
    if not isinstance(boxes, Sequence) or not boxes:
        raise InputError(f"bboxes must be a box, boxes or boxes per frame, got {_kind(boxes)}")
    with _worded("bboxes", "boxes with x, y, width, height"):
        frames = tuple(_faces(_from_box(box, frame_size) for box in frame or ()) for frame in boxes)
        guessed = not any(_is_mouth(box) for frame in boxes for box in frame or ())
    return Seen(frames, "bboxes", guessed)


def from_landmarks(landmarks: Any) -> Seen:
    """FACE_LANDMARKS: {"frames": faces per frame with "landmarks_xy" in pixels, "image_size": (H, W)}."""
    with _worded("face_landmarks", 'a dict with "frames" and "image_size"'):
        size = tuple(landmarks["image_size"])[::-1]
        frames = tuple(_faces(face_of_mesh(face, size) for face in frame or ()) for frame in landmarks["frames"])
    return _some(frames, "face_landmarks")


def from_keypoints(keypoints: Any) -> Seen:
    """POSE_KEYPOINT: OpenPose frames {canvas_width, canvas_height, people: [{face_keypoints_2d: x, y, score, ...}]}.

    Points are pixels of the canvas, or 0..1 where none of a face lies beyond 1.
    """
    keypoints = [keypoints] if isinstance(keypoints, Mapping) else keypoints
    with _worded("pose_keypoints", "OpenPose frames"):
        frames = tuple(_faces(_people(frame)) for frame in keypoints)
    return _some(frames, "pose_keypoints")


def face_of_mesh(face: Mapping, size: tuple[int, int]) -> Face | None:
    """The mouth of one face of MediaPipe's mesh; `size` is the width and height its pixels refer to."""
    places = np.asarray(face["landmarks_xy"], np.float64)
    points, head = places[list(LIPS)], head_of_mesh(places)
    return _from_points(points[0], points[1], points.mean(0), float(face.get("score", 1.0)), size, head)


def _from_box(box: Mapping, frame_size: tuple[int, int]) -> Face | None:
    x, y, width, height = (float(box[key]) for key in ("x", "y", "width", "height"))
    if not (np.isfinite((x, y, width, height)).all() and width > 0 and height > 0):
        return None
    if str(box.get("label") or "").lower() == "person":
        raise InputError('bboxes holds boxes of whole persons (label "person"): connect boxes of faces or mouths')
    down, wide = (0.5, 1.0) if _is_mouth(box) else (MOUTH_DOWN, MOUTH_WIDE)
    score = _score(box.get("score"))
    across, along = frame_size
    return Face((x + width / 2) / across, (y + down * height) / along, wide * width / across, 0.0, score, "detector")


def _is_mouth(box: Mapping) -> bool:
    label = str(box.get("label") or "").lower()
    return "mouth" in label or "lip" in label


def _people(frame: Mapping) -> Iterable[Face | None]:
    size = float(frame["canvas_width"]), float(frame["canvas_height"])
    for person in frame.get("people") or ():
        flat = person.get("face_keypoints_2d")
        if flat is not None and len(flat) >= 3 * MOUTH_68.stop:
            yield _from_68(np.asarray(flat, np.float64).reshape(-1, 3), size)


def _from_68(points_K3: np.ndarray, size: tuple[float, float]) -> Face | None:
    """The mouth of one face; None where fewer than half of its points are sure."""
    scale = np.array(size) if np.nanmax(points_K3[:, :2]) <= 1 else np.ones(2)
    mouth_M3 = points_K3[MOUTH_68]
    sure = (mouth_M3[:, 2] >= SURE) & (mouth_M3[:, :2] > 0).all(1)
    if sure.sum() * 2 < len(mouth_M3):
        return None
    points = mouth_M3[:, :2] * scale
    known = points[sure]
    ends = (points[0], points[6]) if sure[0] and sure[6] else (known[known[:, 0].argmin()], known[known[:, 0].argmax()])
    middle = (known.min(0) + known.max(0)) / 2
    return _from_points(*ends, middle, float(mouth_M3[sure, 2].mean()), size, _head_68(points_K3, scale))


def _head_68(points_K3: np.ndarray, scale: np.ndarray) -> Head | None:
    """Brows and nose; None where most of one's points are not sure."""
    means = []
    for part in (*BROWS_68, list(NOSE_68)):
        points = points_K3[part]
        sure = (points[:, 2] >= SURE) & (points[:, :2] > 0).all(1)
        if sure.sum() * 2 < len(points):
            return None
        means.append(points[sure, :2].mean(0) * scale)
    return as_head(means)


def _in_pixels(face: Face, width: int, height: int) -> Face:
    head = None if face.head is None else as_head([(x * width, y * height) for x, y in face.head])
    return replace(face, x=face.x * width, y=face.y * height, width=face.width * width, head=head)


def _from_points(
    right: ArrayLike, left: ArrayLike, middle: np.ndarray, score: float, size: tuple[float, float],
    head: Head | None = None,
) -> Face | None:  # fmt: skip
    """From the mouth's corners and middle in pixels of `size`; None where they are no numbers."""
    across = np.asarray(left) - right
    width = float(np.hypot(*across)) / size[0]
    if not (np.isfinite(width) and np.isfinite(middle).all() and width > 0):
        return None
    roll = float(np.arctan2(across[1], across[0]))
    if head is not None:
        apart = np.hypot(*np.subtract(head[1], head[0]))
        head = as_head(np.array(head) / size) if np.isfinite(head).all() and apart > 0 else None
    return Face(float(middle[0]) / size[0], float(middle[1]) / size[1], width, roll, _score(score), "landmarks", head)


def _score(value: Any) -> float:
    """0.1..1: what was found counts, however unsure its finder is."""
    value = 1.0 if value is None else float(value)
    return float(np.clip(value, 0.1, 1.0)) if np.isfinite(value) else 1.0


def _faces(found: Iterable[Face | None]) -> tuple[Face, ...]:
    return tuple(face for face in found if face is not None)


def _some(frames: tuple[tuple[Face, ...], ...], name: str) -> Seen:
    if not frames:
        raise InputError(f"{name} holds no frames: connect what was found on the video's frames")
    return Seen(frames, name)


@contextmanager
def _worded(name: str, expected: str) -> Iterator[None]:
    """A payload of another shape becomes one clear line."""
    try:
        yield
    except InputError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{name} must be {expected}, got something else ({error!r})") from error


def _kind(value: Any) -> str:
    return f"an empty {type(value).__name__}" if isinstance(value, Sequence) and not value else type(value).__name__
