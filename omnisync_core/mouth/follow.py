"""Follows the rigid face patch around the mouth; knows when it is lost; finds it again.

The lips move by themselves, so the patch around them is followed: optical flow of many points, checked forward and
backward, gives a robust similarity from the last frame and then from the reference patches ("keys") of this face,
which takes the drift off. What counts in the end is how many cells of the patch still look like a key: something that
passes in front lowers that number but cannot drag the pose away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .pose import FACE, MIDDLE, RIGID, SIDE, UNIT, Pose, inside, patch

CELL = 10
LK = {"winSize": (15, 15), "maxLevel": 3, "criteria": (3, 20, 0.01)}
KEYS = 8
KEEP, TAKE = 0.25, 0.5
"""Share of matching cells below which a followed face is lost, and from which a searched one is taken."""
NEW_KEY, STEADY = 0.6, 0.75
"""A key is added where the keys match less than NEW_KEY though each frame matched the one before by STEADY."""
SEARCH_UNIT = 10
"""Pixels per mouth width in the search for a lost face."""
NEAR = (0.8, 0.9, 1.0, 1.12, 1.25)
FAR = tuple(1.22**k for k in range(-5, 6))


@dataclass
class Key:
    """A reference patch: gray, and with its local mean taken off."""

    gray: np.ndarray
    detail: np.ndarray


class Follower:
    """Fed gray uint8 frames one at a time, tells the mouth's pose or that it is lost."""

    def __init__(self, gray: np.ndarray, pose: Pose) -> None:
        first = Key(patch(gray, pose), _detail(patch(gray, pose)))
        self.pose = pose
        self.lost_frames = 0
        self._keys = [first]
        self._last = first.detail
        self._clean = True

    def feed(self, gray: np.ndarray, *, cut: bool = False) -> tuple[Pose, float]:
        """Pose and confidence 0..1 on the next frame; 0 = lost, the pose is then the last known one.

        cut: the frame begins a new shot, so the face is searched in the whole frame at many sizes.
        """
        found = None if cut or self.lost_frames else self._step(gray)
        if found is None:
            self.lost_frames += 1
            self._clean = False
            found = self._search(gray, cut)
        if found is None:
            return self.pose, 0.0
        self.pose, support = found
        self.lost_frames = 0
        return self.pose, float(np.clip((support - 0.15) / 0.4, 0.1, 1))

    def take_up(self, gray: np.ndarray, pose: Pose) -> None:
        """Go on from here: somebody else saw the face again."""
        self.pose, self.lost_frames, self._clean = pose, 0, True
        self._last = _detail(patch(gray, pose))
        self._add_key(gray, pose)

    def _step(self, gray: np.ndarray) -> tuple[Pose, float] | None:
        """Pose and support on the frame after a known one, or None."""
        flow = step_between(self._last, _detail(patch(gray, self.pose)), inside(gray.shape, self.pose))
        moved = self.pose if flow is None else self.pose.moved(flow)
        detail = _detail(patch(gray, moved))
        seen = inside(gray.shape, moved)
        smooth = support(self._last, detail, seen)
        found = self._align(gray, moved)
        if found is None:
            return None
        pose, matched = found
        self._clean = matched >= NEW_KEY or (self._clean and smooth >= STEADY)
        self._last = _detail(patch(gray, pose))
        if matched < NEW_KEY and self._clean:
            self._add_key(gray, pose)
        return pose, matched

    def _align(self, gray: np.ndarray, pose: Pose, least: float = KEEP) -> tuple[Pose, float] | None:
        """The pose moved onto the key that looks most alike -> (pose, support), or None where none does."""
        detail, seen = _detail(patch(gray, pose)), inside(gray.shape, pose)
        key = max(self._keys, key=lambda k: support(k.detail, detail, seen))
        best = pose, support(key.detail, detail, seen)
        for _ in range(2):
            step = step_between(key.detail, detail, seen)
            if step is None:
                break
            pose = pose.moved(step)
            detail, seen = _detail(patch(gray, pose)), inside(gray.shape, pose)
            matched = support(key.detail, detail, seen)
            if matched > best[1]:
                best = pose, matched
            if np.abs(step - np.eye(2, 3)).max() < 0.3:
                break
        height, width = gray.shape
        on_frame = 0 <= best[0].x < width and 0 <= best[0].y < height
        return best if best[1] >= least and on_frame else None

    def _search(self, gray: np.ndarray, cut: bool) -> tuple[Pose, float] | None:
        """The face anywhere in the frame -> (pose, support), or None."""
        if not cut:
            found = self._align(gray, self.pose, TAKE)
            if found:
                return self._found(gray, found)
            if self.lost_frames > 25 and self.lost_frames % 3:
                return None
        keys = self._keys if cut else [self._keys[0], self._keys[self.lost_frames % len(self._keys)]]
        factors = FAR if cut or self.lost_frames % 12 == 0 else NEAR
        poses = [p for key in keys for p in _template_search(gray, key.gray, self.pose, factors)]
        for _, pose in sorted(poses, key=lambda scored: -scored[0])[:4]:
            found = self._align(gray, pose, TAKE)
            if found:
                return self._found(gray, found)
        return None

    def _found(self, gray: np.ndarray, found: tuple[Pose, float]) -> tuple[Pose, float]:
        self._last = _detail(patch(gray, found[0]))
        return found

    def _add_key(self, gray: np.ndarray, pose: Pose) -> None:
        if len(self._keys) == KEYS:
            del self._keys[1]
        self._keys.append(Key(patch(gray, pose), self._last))


def step_between(before: np.ndarray, after: np.ndarray, seen: np.ndarray) -> np.ndarray | None:
    """Similarity 2 x 3 that carries the face in patch `before` onto `after`; None where too few points agree."""
    points = cv2.goodFeaturesToTrack(before, 80, 0.01, 4, mask=RIGID & seen)
    if points is None or len(points) < 15:
        points = cv2.goodFeaturesToTrack(before, 80, 0.01, 4, mask=FACE & seen)
    if points is None or len(points) < 6:
        return None
    there, ok, _ = cv2.calcOpticalFlowPyrLK(before, after, points, None, **LK)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, **LK)
    good = (ok & ok_back).ravel().astype(bool) & (np.linalg.norm((back - points).reshape(-1, 2), axis=1) < 1)
    if good.sum() < 6:
        return None
    step, inliers = cv2.estimateAffinePartial2D(points[good], there[good], ransacReprojThreshold=1.5)
    if step is None or inliers.sum() < max(6, 0.25 * len(points)):
        return None
    grown = np.hypot(step[0, 0], step[1, 0])
    shift = np.linalg.norm(step @ [MIDDLE, MIDDLE, 1] - MIDDLE) / UNIT
    return step if 0.75 < grown < 1.33 and shift < 1.2 else None


def support(key: np.ndarray, detail: np.ndarray, seen: np.ndarray) -> float:
    """Share 0..1 of the face's cells (lips left out) in which `detail` looks like `key`; textured cells count most."""
    a, b = _cells(key), _cells(detail)
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    va, vb = (a * a).mean(axis=-1), (b * b).mean(axis=-1)
    alike = (a * b).mean(axis=-1) / np.sqrt((va + 4) * (vb + 4))
    textured = va > 30
    match = np.where(textured, alike > 0.5, vb < 120)
    weight = np.where(textured, 1.0, 0.2) * _RIGID_CELLS
    shown = weight * (_cells(seen).min(axis=-1) > 0)
    # Cells beyond the frame's edge say nothing, but with most of the face out there nothing is known.
    return float((shown * match).sum() / max(shown.sum(), 0.5 * weight.sum(), 1e-6))


def _detail(gray_patch: np.ndarray) -> np.ndarray:
    """The patch with its local mean taken off, twice as strong: light and shade across the face are gone."""
    gray = gray_patch.astype(np.float32)
    return np.clip(2 * (gray - cv2.GaussianBlur(gray, (0, 0), 0.35 * UNIT)) + 128, 0, 255).astype(np.uint8)


def _cells(image: np.ndarray) -> np.ndarray:
    """Cells x cells x pixels of a patch, float32."""
    count = SIDE // CELL
    grid = image.reshape(count, CELL, count, CELL).transpose(0, 2, 1, 3)
    return grid.reshape(count, count, CELL * CELL).astype(np.float32)


_RIGID_CELLS = (_cells(RIGID) > 0).mean(axis=-1) > 0.6


def _template_search(
    gray: np.ndarray, key_gray: np.ndarray, pose: Pose, factors: Sequence[float]
) -> list[tuple[float, Pose]]:  # fmt: skip
    """The three likeliest places of the key's face at each size -> [(score, pose)]."""
    rows, columns = np.flatnonzero(FACE.any(axis=1)), np.flatnonzero(FACE.any(axis=0))
    trim = round(0.15 * UNIT)
    top, bottom, left, right = rows[0] + trim, rows[-1] - trim, columns[0] + trim, columns[-1] - trim
    ratio = SEARCH_UNIT / UNIT
    core = cv2.resize(key_gray[top:bottom, left:right], None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)
    mouth = np.array([MIDDLE + 0.5 - left, MIDDLE + 0.5 - top]) * ratio
    found = []
    for factor in factors:
        width = pose.width * factor
        scale = SEARCH_UNIT / width
        size = (round(gray.shape[1] * scale), round(gray.shape[0] * scale))
        if size[0] < core.shape[1] or size[1] < core.shape[0] or max(size) > 4096:
            continue
        image = cv2.resize(gray, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        score = cv2.matchTemplate(image, core, cv2.TM_CCOEFF_NORMED)
        for _ in range(3):
            _, best, _, (x, y) = cv2.minMaxLoc(score)
            if best < 0.45:
                break
            found.append((best, Pose((x + mouth[0]) / scale, (y + mouth[1]) / scale, width, pose.roll)))
            cv2.circle(score, (x, y), SEARCH_UNIT // 2, -1.0, -1)
    return found
