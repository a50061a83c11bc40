"""Where the mouth is in every frame: from a user's point or masks, an optional detector, or our own finder.

Frames are taken one at a time and shrunk to SHORT_SIDE; what stays is a few numbers per frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError, NoMouthHereError
from . import search
from .detect import Face, FaceDetector, open_detector
from .faces import track_faces
from .finder import find_mouths, mouth_at, mouths_around
from .guided import Guided
from .lips import find_mouth
from .observations import Seen
from .pose import USUAL_WIDTH, Pose, usual_pose
from .record import FALLBACK_CONFIDENCE, Record
from .shots import ShotFinder
from .speaking import Hear
from .types import Choice, Look, MouthTrack, Point

SHORT_SIDE = 480
LIKELY_WIDTH = 0.15
MOVED = 0.3
"""Mouth widths between the user's point and the mouth from which there is a warning."""
POINT_AT_IT = (
    "point at it on the first frame (--mouth X,Y in pixels; in a graph: Mouth Track's speaker 'point'), or take the "
    "frame's centre (--mouth centre)"
)
NO_MOUTH = f"no mouth was found: {POINT_AT_IT}"
NO_FACE = f"the face detector found no face: {POINT_AT_IT}"
FAITHFUL = 0.3
"""Mouth widths from a user's point within which the mouth stays on the first frame."""
NEARBY = 0.7
"""Within which a mouth that the finder sees is the user's, if not at the place then in size."""
SURELY, DOUBTED = 0.6, 0.4
"""A point is refused where a mouth is seen elsewhere with SURELY at least, and none NEARBY with DOUBTED times as much:
hands and trees get less, turned and drawn faces more."""


def track(
    frames: Iterable[tuple[float, np.ndarray]],
    how: Any = "auto",
    *,
    choice: Choice = Choice(),  # noqa: B008 - frozen
    frame_size: tuple[int, int] | None = None,
    detectors: Path | None = None,
    hear: Hear | None = None,
) -> MouthTrack:
    """Find the mouth in `frames`: (time in seconds, rgb H x W x 3, uint8 or float 0..1), taken one at a time.

    how: "auto" (a user's detector if there is one, else our finder), "centre", a `Point` or (x, y[, width]) in pixels
    of the first frame, which is then followed, or masks (K, H, W): one for every frame, or a single one whose place is
    then followed; or a `FaceDetector`, or the faces that others have `Seen`.
    choice: which of the faces of a detector or of `Seen` speaks.
    frame_size: (width, height) that pixels refer to, where `frames` are smaller copies.
    detectors: folder with a user's detector files; None asks the environment's OMNISYNC_DETECTORS.
    hear: how loud the video's own sound is at times; of several mouths the one that goes with it is the speaker's.
    Where no frame shows a mouth the confidence is 0 in all of them, and a warning says what to do.
    Raises InputError: no frames; a point off the frame, or (NoMouthHereError) without a width on what is no mouth while
    another is surely seen; empty masks or a wrong number of them; another word; fewer faces than `choice` counts.
    """
    looks = _looks(frames, frame_size)
    first = next(looks, None)
    if first is None:
        raise InputError("the video has no frames to find a mouth in")
    looks = _with(first, looks)
    if isinstance(how, str):
        if how == "centre":
            return _track_centre(looks)
        if how == "auto":
            detector = open_detector(detectors)
            if detector is None and choice.by != "point":
                return search.track_alone(looks, find_mouths, choice, NO_MOUTH, hear)
            if detector is None:
                return _track_point(looks, choice.point, first)
            return _track_found(looks, detector, choice)
        raise InputError(f'mouth "{how}" is not known: expected auto, centre, or X,Y in pixels of the first frame')
    if isinstance(how, Point):
        return _track_point(looks, how, first)
    if isinstance(how, Seen):
        return _track_seen(looks, how, choice)
    if hasattr(how, "find"):
        return _track_found(looks, how, choice)
    if np.ndim(how) >= 2:
        return _track_masks(looks, how, first)
    if not 2 <= len(how) <= 3:
        raise InputError(f"the mouth's point has {len(how)} numbers: expected X,Y or X,Y,WIDTH in pixels")
    return _track_point(looks, Point(*(float(v) for v in how)), first)


def count_mouths(frames: Iterable[tuple[float, np.ndarray]]) -> int:
    """How many mouths our finder steadily sees in the beginning of `frames` (as `track` takes them)."""
    return search.count_mouths(_looks(frames, None), find_mouths)


def _looks(frames: Iterable[tuple[float, np.ndarray]], frame_size: tuple[int, int] | None) -> Iterator[Look]:
    shots = ShotFinder()
    for time, image in frames:
        if image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"frames must be H x W x 3, got {image.shape}")
        height, width = image.shape[:2]
        frame_size = frame_size or (width, height)
        ratio = min(1.0, SHORT_SIDE / min(width, height))
        if ratio < 1:
            size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        if image.dtype != np.uint8:
            image = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
        image = np.ascontiguousarray(image)
        yield Look(float(time), image, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), shots.is_cut(image), frame_size)


def _with(first: Look, rest: Iterator[Look]) -> Iterator[Look]:
    yield first
    yield from rest


def _track_centre(looks: Iterator[Look]) -> MouthTrack:
    record = Record()
    for look in looks:
        record.add(look, usual_pose(look.gray.shape), FALLBACK_CONFIDENCE, "fallback")
    return record.track()


def _track_point(looks: Iterator[Look], point: Point, first: Look) -> MouthTrack:
    width, height = first.frame_size
    if not (0 <= point.x < width and 0 <= point.y < height):
        raise InputError(
            f"the mouth's point {point.x:g},{point.y:g} is outside the first frame ({width}x{height}): "
            "give X,Y in its pixels, counted from the top left"
        )
    if point.width is not None and not 0 < point.width <= width:
        raise InputError(f"the mouth's width {point.width:g} does not fit the frame ({width} pixels wide)")
    record, guided, exact = Record(), None, point.width is not None
    for look in looks:
        if guided is None:
            around = _around(look, point)
            if not exact:
                _refuse_what_is_no_mouth(look, point, around)
            pose = _first_pose(look, point, around)
            guided = Guided(look, pose, find_mouths, source="user", exact=exact)
            record.add(look, pose, 1.0, "user")
        else:
            record.add(look, *guided.feed(look))
    found = record.track()
    return found if exact else replace(found, warnings=_far_from_point(found, point))


def _around(look: Look, point: Point) -> list[Face]:
    """The mouths at a user's point; they are not looked for where its width is known."""
    return [] if point.width is not None else mouths_around(look.rgb, point.x * look.scale, point.y * look.scale)


def _refuse_what_is_no_mouth(look: Look, point: Point, around: Sequence[Face]) -> None:
    """Where no mouth is sure the user knows better: a drawing, a profile, a hand before it."""
    x, y = point.x * look.scale, point.y * look.scale
    seen = [face for face in find_mouths(look.rgb) if np.hypot(face.x - x, face.y - y) > NEARBY * face.width]
    surest = max((face.confidence for face in seen), default=0.0)
    if surest < SURELY:
        return
    here = mouth_at(around, x, y, NEARBY)
    if here is not None and here.confidence >= DOUBTED * surest:
        return
    sure = [face for face in seen if face.confidence >= SURELY]
    places = " and ".join(f"{face.x / look.scale:.0f},{face.y / look.scale:.0f}" for face in sure)
    raise NoMouthHereError(
        f"no mouth is seen at {point.x:.0f},{point.y:.0f}, but at {places}",
        look.rgb, (x, y), [(face.x, face.y, face.width, face.confidence) for face in sure],
    )  # fmt: skip


def _far_from_point(track: MouthTrack, point: Point) -> tuple[str, ...]:
    """Says so where the mouth that was found is not where the user pointed."""
    x, y = track.center_N2[0] * track.frame_size
    width = track.width_N[0] * track.frame_size[0]
    if np.hypot(x - point.x, y - point.y) < MOVED * width:
        return ()
    return (
        f"the mouth near {point.x:g},{point.y:g} was found at {x:.0f},{y:.0f}, {width:.0f} pixels wide; "
        "to have it exactly where you say give its width too (--mouth X,Y,WIDTH; in a graph: point_width)",
    )


def _first_pose(look: Look, point: Point, around: Sequence[Face]) -> Pose:
    """The user's point; without a width, the mouth that the finder sees there, as wide as one that it sees beside it
    (half of it may be hidden), else what stands out there."""
    x, y = point.x * look.scale, point.y * look.scale
    if point.width is not None:
        return Pose(x, y, point.width * look.scale)
    face = mouth_at(around, x, y, FAITHFUL)
    if face is not None:
        return Pose(face.x, face.y, face.width, face.roll)
    beside = mouth_at(around, x, y, NEARBY)
    if beside is not None:
        return Pose(x, y, beside.width, beside.roll)
    side = min(look.gray.shape)
    found = find_mouth(look.rgb, x, y, LIKELY_WIDTH * side, (max(6.0, 0.03 * side), 0.45 * side), reach=FAITHFUL)
    return Pose(*found) if found else Pose(x, y, USUAL_WIDTH * side)


def _track_masks(looks: Iterator[Look], masks: np.ndarray, first: Look) -> MouthTrack:
    masks = masks if np.ndim(masks) == 3 else np.asarray(masks)[None]
    if len(masks) == 1:
        place = _mask_place(masks[0])
        if place is None:
            raise InputError("the mouth's mask is empty: paint the mouth on the first frame")
        width, height = first.frame_size
        return _track_point(looks, Point(place[0] * width, place[1] * height, place[2] * width), first)
    record, pose, count = Record(), usual_pose(first.gray.shape), 0
    for count, look in enumerate(looks, 1):
        if count > len(masks):
            break
        place = _mask_place(masks[count - 1])
        if place is not None:
            height, width = look.gray.shape
            pose = Pose(place[0] * width, place[1] * height, place[2] * width)
        record.add(look, pose, float(place is not None), "user")
    if count != len(masks):
        more = "more than " if count > len(masks) else ""
        raise InputError(
            f"got {len(masks)} masks for {more}{min(count, len(masks))} frames: give one, or one per frame"
        )
    return record.track()


def _mask_place(mask: ArrayLike) -> tuple[float, float, float] | None:
    """Centre x, y and width of what is painted, over the mask's size; None where nothing is."""
    painted = np.asarray(mask, np.float32) > 0.5 * max(float(np.max(mask)), 1e-3)
    if not painted.any():
        return None
    rows, columns = np.nonzero(painted)
    left, right = np.percentile(columns, [1, 99])
    top, bottom = np.percentile(rows, [1, 99])
    height, width = painted.shape
    return (left + right + 1) / 2 / width, (top + bottom + 1) / 2 / height, (right - left + 1) / width


def _track_found(looks: Iterator[Look], detector: FaceDetector, choice: Choice) -> MouthTrack:
    return track_faces(looks, lambda _, rgb: detector.find(rgb), choice, _start(choice), NO_FACE)


def _track_seen(looks: Iterator[Look], seen: Seen, choice: Choice) -> MouthTrack:
    count = 0

    def find(number: int, rgb: np.ndarray) -> list[Face]:
        nonlocal count
        count = number + 1
        return seen.at(number, rgb.shape[:2])

    nothing = f"{seen.name} holds no face: {POINT_AT_IT}"
    found = track_faces(looks, find, choice, _start(choice), nothing, guessed=seen.guessed)
    seen.refuse_other_length(count)
    return found


def _start(choice: Choice) -> Callable[[Look], Pose]:
    return lambda look: _first_pose(look, choice.point, _around(look, choice.point))
