"""The mouth's pose and the canonical patch of a face, in which all faces are alike.

The patch is SIDE x SIDE pixels showing WIDE mouth widths around the mouth, turned and scaled with the head, so that no
threshold on it depends on the size of the video or of the face.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 160
WIDE = 4.4
UNIT = SIDE / WIDE
"""Canonical pixels per mouth width."""
MIDDLE = (SIDE - 1) / 2
CENTRE, USUAL_WIDTH = (0.5, 0.62), 0.20
"""Where nothing is known: x, y over the frame's sides and the width over the shorter one; the paper's framing."""


@dataclass(frozen=True)
class Pose:
    """The mouth on a frame: centre and width in that frame's pixels, roll in radians."""

    x: float
    y: float
    width: float
    roll: float = 0.0

    def matrix(self) -> np.ndarray:
        """2 x 3 map from the canonical patch to the frame (pixel centres at whole numbers)."""
        scale = self.width / UNIT
        c, s = scale * np.cos(self.roll), scale * np.sin(self.roll)
        x, y = self.x - 0.5, self.y - 0.5
        return np.array([[c, -s, x - c * MIDDLE + s * MIDDLE], [s, c, y - s * MIDDLE - c * MIDDLE]])

    def moved(self, step_23: np.ndarray) -> Pose:
        """This pose after the face moved inside the patch by the similarity `step_23`."""
        a, b = step_23[0, 0], step_23[1, 0]
        x, y = self.matrix() @ np.append(step_23 @ [MIDDLE, MIDDLE, 1], 1) + 0.5
        return Pose(float(x), float(y), self.width * float(np.hypot(a, b)), self.roll + float(np.arctan2(b, a)))


Sight = tuple[Pose, float, str]
"""Where the mouth is on a frame, how sure that is (0 = lost), and who says so."""


def usual_pose(shape_HW: tuple[int, ...]) -> Pose:
    """Where a mouth usually is in a frame of this height and width."""
    height, width = shape_HW
    return Pose(CENTRE[0] * width, CENTRE[1] * height, USUAL_WIDTH * min(width, height))


def patch(image: np.ndarray, pose: Pose) -> np.ndarray:
    """The canonical patch of a gray or rgb image at `pose`; shrinking is antialiased, beyond the frame it repeats."""
    matrix = pose.matrix()
    shrink = min(1.0, UNIT / pose.width)
    if shrink < 0.8:
        size = (max(1, round(image.shape[1] * shrink)), max(1, round(image.shape[0] * shrink)))
        across, down = size[0] / image.shape[1], size[1] / image.shape[0]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        matrix = np.diag([across, down]) @ matrix
        matrix[:, 2] += [0.5 * across - 0.5, 0.5 * down - 0.5]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def inside(frame_shape: tuple[int, ...], pose: Pose) -> np.ndarray:
    """uint8 patch: 255 where the canonical patch shows the frame, 0 where it hangs over the edge."""
    matrix = pose.matrix()
    at = np.arange(SIDE)
    x = matrix[0, 0] * at[None, :] + matrix[0, 1] * at[:, None] + matrix[0, 2]
    y = matrix[1, 0] * at[None, :] + matrix[1, 1] * at[:, None] + matrix[1, 2]
    height, width = frame_shape[:2]
    return ((x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)).astype(np.uint8) * 255


def ellipse(right: float, down: float, across: float, along: float) -> np.ndarray:
    """uint8 patch: 255 inside an ellipse; centre and half axes in mouth widths."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    center = (round(MIDDLE + right * UNIT), round(MIDDLE + down * UNIT))
    cv2.ellipse(mask, center, (round(across * UNIT), round(along * UNIT)), 0, 0, 360, 255, -1)
    return mask


FACE = ellipse(0, -0.35, 0.95, 1.25)
"""Nose, cheeks, lower eyelids, upper chin: more above the mouth than below, where the jaw moves."""
RIGID = FACE & ~ellipse(0, 0.15, 0.6, 0.5)
"""The face without the lips."""
