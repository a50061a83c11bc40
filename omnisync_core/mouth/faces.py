"""The speaker among the faces that a detector, another program or a person sees; followed where nobody sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from ..errors import InputError
from .detect import Face, Head
from .follow import Follower
from .lips import MouthStudy
from .pose import Pose, Sight, usual_pose
from .record import Record
from .types import Choice, Look, MouthTrack

Find = Callable[[int, np.ndarray], list[Face]]
"""(number of the frame, uint8 picture) -> the mouths of all faces, pixels of the picture."""

REACH, REACH_PER_FRAME = 1.5, 0.25
"""Mouth widths within which a face is the one of the frame before, and how they grow while that one is lost."""
POINTED = 2.0
"""Mouth widths from a user's point within which a face is the one that is meant."""


def track_faces(
    looks: Iterable[Look], find: Find, choice: Choice, start: Callable, nothing: str, *, guessed: bool = False
) -> MouthTrack:  # fmt: skip
    """Follow one speaker; a track without any mouth, with `nothing` as a warning, where no face was seen at all.

    start: look -> the pose at the user's point, for a speaker chosen by it where no face is seen there.
    guessed: the faces tell their mouths roughly; a look at the pictures may move all of them together.
    """
    speaker, record = _Speaker(choice, start), Record()
    study = MouthStudy() if guessed else None
    for number, look in enumerate(looks):
        usual = usual_pose(look.gray.shape)
        pose, confidence, source = speaker.feed(look, find(number, look.rgb)) or (usual, 0.0, "fallback")
        if study and confidence > 0.5:
            study.add(look.rgb, pose)
        record.add(look, pose, confidence, source, speaker.head)
    if not speaker.was_found:
        speaker.refuse_index()
        return replace(record.track(), warnings=(nothing,))
    found = record.track(shift=study.mouth() if study else None)
    return replace(found, warnings=(*found.warnings, *_unknown(found)))


class _Speaker:
    """Fed looks and the faces on them, tells the speaker's pose, how sure it is and who says so; None: not seen yet."""

    def __init__(self, choice: Choice, start: Callable) -> None:
        self._choice, self._start = choice, start
        self._pose: Pose | None = None
        self._follower: Follower | None = None
        self._known: Follower | None = None
        self._lost, self._most, self._first = 0, 0, True
        self.was_found = False
        self.head: Head | None = None
        """Of the face that was taken on the last look."""

    def feed(self, look: Look, faces: list[Face]) -> tuple[Pose, float, str] | None:
        self._most, self.head = max(self._most, len(faces)), None
        if look.cut:
            self._pose = self._follower = None
        found = self._choose(look, faces) if self._pose is None else self._go_on(look, faces)
        self._first = False
        if found is not None:
            self.was_found, self._pose = True, found[0]
            if self._choice.by == "point" and self._known is None:
                self._known = Follower(look.gray, self._pose)
        return found

    def refuse_index(self) -> None:
        """InputError where faces were seen, but never as many as the user counts."""
        if self._most:
            seen = "1 face is" if self._most == 1 else f"{self._most} faces are"
            raise InputError(
                f"speaker {self._choice.index} is not there: at most {seen} seen in a frame; count from 0 at the left"
            )

    def _choose(self, look: Look, faces: list[Face]) -> Sight | None:
        """The speaker in a new shot."""
        if self._choice.by == "point":
            return self._pointed(look, faces) if self._first else self._recognised(look, faces)
        if self._choice.by == "index":
            faces = sorted(faces, key=lambda face: face.x)[self._choice.index :][:1]
        return self._take(look, max(faces, key=lambda face: face.width)) if faces else None

    def _pointed(self, look: Look, faces: list[Face]) -> Sight:
        """The face at the user's point; where none is seen, what lies there."""
        x, y = self._choice.point.x * look.scale, self._choice.point.y * look.scale
        face = min(faces, key=lambda face: np.hypot(face.x - x, face.y - y), default=None)
        if face is not None and np.hypot(face.x - x, face.y - y) <= POINTED * face.width:
            return self._take(look, face)
        return self._follow(look, self._start(look), 1.0, "user")

    def _recognised(self, look: Look, faces: list[Face]) -> Sight | None:
        """The speaker pointed at in an earlier shot, found by the looks of its face; only when a shot begins."""
        if not look.cut:
            return None
        pose, confidence = self._known.feed(look.gray, cut=True)
        if not confidence:
            return None
        face = _nearest(faces, pose, REACH)
        return self._take(look, face) if face else self._follow(look, pose, confidence, "filled")

    def _go_on(self, look: Look, faces: list[Face]) -> Sight:
        """The face that goes on from the frame before; without one the followed pose."""
        face = _nearest(faces, self._pose, REACH + REACH_PER_FRAME * self._lost)
        if face is not None:
            return self._take(look, face)
        pose, confidence = self._follower.feed(look.gray)
        self._lost = 0 if confidence else self._lost + 1
        return pose, confidence, "filled"

    def _take(self, look: Look, face: Face) -> Sight:
        self.head = face.head
        return self._follow(look, Pose(face.x, face.y, face.width, face.roll), face.confidence, face.source)

    def _follow(self, look: Look, pose: Pose, confidence: float, source: str) -> Sight:
        self._follower, self._lost = Follower(look.gray, pose), 0
        return pose, confidence, source


def _nearest(faces: list[Face], pose: Pose, reach: float) -> Face | None:
    """The face most like `pose` in place and size, at most `reach` widths away."""

    def far(face: Face) -> float:
        return np.hypot(face.x - pose.x, face.y - pose.y) + abs(face.width - pose.width)

    face = min(faces, key=far, default=None)
    return face if face is not None and far(face) <= reach * max(face.width, pose.width) else None


def _unknown(track: MouthTrack) -> tuple[str, ...]:
    count = int((track.confidence_N == 0).sum())
    if not count:
        return ()
    return (
        f"the speaker's mouth was not found in {count} of {len(track.pts_N)} frames: they keep the source's pixels",
    )
