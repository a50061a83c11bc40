"""Where the mouth is in every frame: from a user's point, masks, an optional detector, or the paper's centre."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from ..errors import InputError
from .follow import Follower, Pose
from .shots import ShotFinder
from .types import MouthTrack, Point

__all__ = ["MouthTrack", "Point", "track"]

SHORT_SIDE = 480
DEFAULT_WIDTH = 0.20
CENTRE = (0.5, 0.62)
SMOOTH_SECONDS = 0.05
LONGEST_GAP = 0.5


def track(frames: Iterable[tuple[float, np.ndarray]], how="auto", *, frame_size=None) -> MouthTrack:
    """Follow the mouth through `frames`: (time in seconds, rgb H x W x 3, uint8 or float 0..1), taken one at a time.

    how: "auto", "centre", a `Point` or (x, y[, width]) in pixels of the first frame, or masks (1 or N, H, W).
    frame_size: (width, height) that the point's pixels refer to, where `frames` are smaller copies.
    """
    return _track_point(frames, how, frame_size)


def _track_point(frames, how, frame_size):
    point = how if isinstance(how, Point) else Point(*how) if not isinstance(how, str) else None
    shots, follower = ShotFinder(), None
    times, centers, widths, confidences, shot = [], [], [], [], []
    for time, rgb in frames:
        if rgb.dtype != np.uint8:
            rgb = (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)
        height, width = rgb.shape[:2]
        frame_size = frame_size or (width, height)
        ratio = min(1.0, SHORT_SIDE / min(width, height))
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if ratio < 1 else rgb
        gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        cut = shots.is_cut(small)
        scale = size[0] / frame_size[0]
        if follower is None:
            if point is None:
                point = Point(CENTRE[0] * frame_size[0], CENTRE[1] * frame_size[1])
            if not (0 <= point.x < frame_size[0] and 0 <= point.y < frame_size[1]):
                raise InputError(
                    f"the mouth's point {point.x:g},{point.y:g} is outside the first frame "
                    f"({frame_size[0]}x{frame_size[1]}); give X,Y in its pixels"
                )
            mouth = point.width or DEFAULT_WIDTH * min(frame_size)
            pose, sure = Pose(point.x * scale, point.y * scale, mouth * scale), 1.0
            follower = Follower(gray, pose)
        elif isinstance(how, str):
            sure = 1.0
        else:
            pose, sure = follower.feed(gray)
        shot.append((shot[-1] if shot else 0) + cut)
        times.append(time)
        centers.append((pose.x / size[0], pose.y / size[1]))
        widths.append(pose.width / size[0])
        confidences.append(sure)
    if not times:
        raise InputError("the video has no frames to find a mouth in")
    source = np.array(["fallback" if isinstance(how, str) else "user"] * len(times))
    return MouthTrack(
        np.array(times),
        np.array(centers),
        np.array(widths),
        np.array(confidences, np.float32),
        source,
        np.array(shot),
        frame_size,
        ("no mouth detector: the edit is placed at the centre; give --mouth X,Y",) if how == "auto" else (),
    )
