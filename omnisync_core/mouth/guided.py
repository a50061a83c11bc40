"""Follows one mouth by the face's features (`follow.py`) and by what the finder sees, each correcting the other.

Features hold the place from frame to frame; every few frames the finder says where on that face the mouth is. Where
the finder, which had seen this mouth before, sees none for a while, the mouth counts as lost: a hand, a sheet of paper
or the back of a head is not edited.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .detect import Face
from .finder import Find
from .follow import Follower
from .pose import Pose
from .types import Look

EVERY = 4
"""Frames between two looks of the finder; half as many while the mouth is lost."""
AGREE = 1.3
"""Mouth widths within which finder and features may mean the same mouth; the nearer and surer one is meant."""
ALIKE = 1.7
"""How many times as wide one of them may see it."""
PULL, PULL_WIDTH = 0.4, 0.15
"""Share of the way to the finder's place and width at every look."""
FAITHFUL = 0.2
"""Mouth widths that a mouth with a user's word moves on its face at most."""
MISSES, KNOWN, TRUSTED = 3, 3, 0.6
"""Looks in a row without the mouth from which it is lost, if it was seen in so many looks before, and in this share."""
REACH, REACH_PER_FRAME, FARTHEST = 1.0, 0.12, 4.0
"""Mouth widths within which a lost mouth is taken up again, how they grow with every lost frame, and where they end."""
SURE_AGAIN = 0.5
"""The finder's confidence from which a lost mouth is taken up again."""


class Guided:
    """Fed looks one at a time after the first one, tells the mouth's pose, how sure it is, and who says so."""

    def __init__(self, look: Look, pose: Pose, find: Find, *, source: str, exact: bool = False) -> None:
        """exact: place and width are a user's word and stay where they are on the face."""
        self._find, self._source, self._exact = find, source, exact
        self._follower = Follower(look.gray, pose)
        self._right = self._down = 0.0
        self._grown = 1.0
        self._frame = self._looks = self._seen = self._missed = 0
        self.lost_frames = 0

    def feed(self, look: Look) -> tuple[Pose, float, str]:
        """Confidence 0 = lost; the pose is then the last known one."""
        self._frame += 1
        pose, confidence = self._follower.feed(look.gray, cut=look.cut)
        source = self._source
        if self._is_time(confidence):
            faces = self._find(look.rgb)
            if confidence:
                self._compare(pose, faces)
            if not confidence or self._doubted:
                again = None if look.cut else self._taken_up(look, faces)
                pose, confidence = (again, 0.5) if again else (pose, confidence)
        if self._doubted:
            confidence = 0.0
        self.lost_frames = 0 if confidence else self.lost_frames + 1
        return self._mouth(pose), confidence, source

    @property
    def _doubted(self) -> bool:
        known = self._seen >= max(KNOWN, TRUSTED * (self._looks - self._missed))
        return known and self._missed >= MISSES

    def _is_time(self, confidence: float) -> bool:
        every = EVERY if confidence and not self._missed else EVERY // 2
        return self._frame % every == 0

    def _mouth(self, pose: Pose) -> Pose:
        """Where the mouth is, as seen from the face's pose."""
        c, s = pose.width * np.cos(pose.roll), pose.width * np.sin(pose.roll)
        x = pose.x + c * self._right - s * self._down
        y = pose.y + s * self._right + c * self._down
        return replace(pose, x=float(x), y=float(y), width=pose.width * self._grown)

    def _compare(self, pose: Pose, faces: list[Face]) -> None:
        """One look: the mouth moves on its face towards where the finder sees it."""
        mouth = self._mouth(pose)
        face = _nearest(faces, mouth, AGREE)
        self._looks += 1
        if face is None:
            self._missed += 1
            return
        self._seen, self._missed = self._seen + 1, 0
        if self._exact:
            return
        x, y = (face.x - pose.x) / pose.width, (face.y - pose.y) / pose.width
        c, s = np.cos(pose.roll), np.sin(pose.roll)
        pull = PULL * min(1.0, 2 * face.confidence)
        right = self._right + pull * (c * x + s * y - self._right)
        down = self._down + pull * (c * y - s * x - self._down)
        far = np.hypot(right, down) / FAITHFUL if self._source == "user" else 0.0
        self._right, self._down = right / max(1.0, far), down / max(1.0, far)
        self._grown *= (face.width / mouth.width) ** PULL_WIDTH

    def _taken_up(self, look: Look, faces: list[Face]) -> Pose | None:
        """A lost mouth where the finder sees one near its last place: the face's pose there."""
        lost = max(self.lost_frames, EVERY * self._missed)
        reach = min(FARTHEST, REACH + REACH_PER_FRAME * lost)
        last = self._follower.pose
        face = _nearest([f for f in faces if f.confidence >= SURE_AGAIN], self._mouth(last), reach)
        if face is None:
            return None
        width = face.width / self._grown
        c, s = width * np.cos(face.roll), width * np.sin(face.roll)
        x = face.x - c * self._right + s * self._down
        y = face.y - s * self._right - c * self._down
        pose = Pose(float(x), float(y), width, face.roll)
        self._follower.take_up(look.gray, pose)
        self._missed = 0
        return pose


def _nearest(faces: list[Face], mouth: Pose, reach: float) -> Face | None:
    """The face near `mouth`, at most `reach` widths away and about as wide; a surer one counts as nearer."""

    def worth(face: Face) -> float:
        width = max(mouth.width, face.width)
        far = np.hypot(face.x - mouth.x, face.y - mouth.y) / width
        alike = 1 / ALIKE < face.width / mouth.width < ALIKE
        return face.confidence * np.exp(-((far / reach) ** 2)) if alike and far <= reach else 0.0

    face = max(faces, key=worth, default=None)
    return face if face is not None and worth(face) > 0 else None
