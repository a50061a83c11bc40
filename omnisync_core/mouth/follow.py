"""Follows the rigid face patch around the mouth from one frame to the next.

Everything happens in the *canonical patch*: SIDE x SIDE gray pixels showing WIDE mouth widths around the mouth,
turned and scaled with the head. There all faces are alike, so no number below depends on the video's size.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 160
WIDE = 4.4
UNIT = SIDE / WIDE
"""Canonical pixels per mouth width."""
LK = {"winSize": (15, 15), "maxLevel": 3, "criteria": (3, 20, 0.01)}


@dataclass(frozen=True)
class Pose:
    """The mouth on a frame: centre and width in that frame's pixels, roll in radians."""

    x: float
    y: float
    width: float
    roll: float = 0.0

    def matrix(self) -> np.ndarray:
        """2x3 map from the canonical patch to the frame."""
        scale = self.width / UNIT
        c, s = scale * np.cos(self.roll), scale * np.sin(self.roll)
        middle = (SIDE - 1) / 2
        return np.array([[c, -s, self.x - c * middle + s * middle], [s, c, self.y - s * middle - c * middle]])

    def moved(self, step_23) -> Pose:
        """This pose after the canonical patch moved by the similarity `step_23`."""
        a, b = step_23[0, 0], step_23[1, 0]
        middle = (SIDE - 1) / 2
        x, y = self.matrix() @ np.append(step_23 @ [middle, middle, 1], 1)
        return Pose(float(x), float(y), self.width * float(np.hypot(a, b)), self.roll + float(np.arctan2(b, a)))


def patch(gray, pose: Pose) -> np.ndarray:
    """The canonical patch of `gray` at `pose`."""
    return cv2.warpAffine(
        gray,
        pose.matrix(),
        (SIDE, SIDE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def face_mask() -> np.ndarray:
    """Where the face is in the canonical patch: more above the mouth (nose, cheeks) than below (the jaw moves)."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    middle = (SIDE - 1) / 2
    center = (round(middle), round(middle - 0.4 * UNIT))
    cv2.ellipse(mask, center, (round(0.95 * UNIT), round(1.25 * UNIT)), 0, 0, 360, 255, -1)
    return mask


def step_between(before, after, mask) -> tuple[np.ndarray | None, float]:
    """Similarity that carries patch `before` onto `after`, and the share of points that agree with it (0..1)."""
    points = cv2.goodFeaturesToTrack(before, 80, 0.01, 4, mask=mask)
    if points is None or len(points) < 6:
        return None, 0.0
    there, ok, _ = cv2.calcOpticalFlowPyrLK(before, after, points, None, **LK)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, **LK)
    good = (ok & ok_back).ravel().astype(bool) & (np.linalg.norm((back - points)[:, 0], axis=1) < 1.0)
    if good.sum() < 6:
        return None, 0.0
    step, inliers = cv2.estimateAffinePartial2D(points[good], there[good], ransacReprojThreshold=1.5)
    if step is None:
        return None, 0.0
    return step, float(inliers.sum()) / len(points)


class Follower:
    """Fed gray frames one at a time, knows the mouth's pose or that it is lost."""

    def __init__(self, gray, pose: Pose):
        self.pose = pose
        self._mask = face_mask()
        self._keys = [patch(gray, pose)]
        self._last = self._keys[0]

    def feed(self, gray) -> tuple[Pose, float]:
        """Pose and confidence (0 = lost) on the next frame."""
        step, agreed = step_between(self._last, patch(gray, self.pose), self._mask)
        pose = self.pose.moved(step) if step is not None and agreed > 0.25 else self.pose
        fix, sure = step_between(self._keys[0], patch(gray, pose), self._mask)
        if fix is not None and sure > 0.3:
            pose = pose.moved(fix)
        confidence = max(agreed, sure)
        if confidence <= 0.25:
            return self.pose, 0.0
        self.pose = pose
        self._last = patch(gray, pose)
        return pose, confidence
