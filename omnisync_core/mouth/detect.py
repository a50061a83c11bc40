"""Optional face detectors over files that a user supplies; none is required and none is downloaded.

| file in the folder | needs | says |
|---|---|---|
| *.task (face landmarker) | mediapipe | the lips' corners |
| *.tflite (BlazeFace) | mediapipe | the mouth's keypoint |
| *yunet*.onnx | OpenCV | the lips' corners |
| haarcascade_frontalface*.xml | OpenCV before 5 | the face's box |
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from ..errors import InputError

ENVIRONMENT = "OMNISYNC_DETECTORS"
MOUTH_DOWN, MOUTH_WIDE = 0.8, 0.36
"""Where the mouth is in a face's box: how far down its height, how wide over its width."""


Head = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

BROWS_468 = (70, 63, 105, 66, 107), (336, 296, 334, 293, 300)
NOSE_468 = (1, 98, 327, 195)
"""MediaPipe's mesh: brows, and tip, wings and lower bridge of the nose, whose mean lies at the tip's height."""
BROW_APART, BROW_UP = 1.14, 0.304
"""From the eyes to the brows in an average frontal face: as far apart, and how far above, over the eyes' distance."""


@dataclass(frozen=True)
class Face:
    """A mouth that a detector found: pixels of the picture, roll in radians."""

    x: float
    y: float
    width: float
    roll: float
    confidence: float
    source: str
    """landmarks, detector or finder."""
    head: Head | None = None
    """Left brow, right brow and nose (as the picture shows them), x and y each, where they are known."""


class FaceDetector(Protocol):
    """Looks at one picture at a time and remembers nothing."""

    def find(self, rgb_HWC: np.ndarray) -> list[Face]:
        """Mouths of all faces in a uint8 picture."""


def open_detector(folder: Path | None = None) -> FaceDetector | None:
    """The best detector whose file and library are there, else None.

    folder: None asks OMNISYNC_DETECTORS. Raises InputError: no such folder; a file or a library that does not work.
    """
    named = folder or os.environ.get(ENVIRONMENT)
    if named and not Path(named).is_dir():
        raise InputError(f"detector folder not found: {named}; name an existing folder or unset {ENVIRONMENT}")
    folder = Path(named) if named else None
    kinds: list[tuple[str, Callable[[], bool], Callable[[Path], FaceDetector]]] = [
        ("*.task", _has_mediapipe, LandmarkerDetector),
        ("*.tflite", _has_mediapipe, BlazeFaceDetector),
        ("*[yY]u[nN]et*.onnx", lambda: hasattr(cv2, "FaceDetectorYN"), YuNetDetector),
        ("haarcascade_frontalface*.xml", lambda: hasattr(cv2, "CascadeClassifier"), HaarDetector),
    ]
    for pattern, usable, kind in kinds:
        files = sorted(folder.glob(pattern)) if folder else []
        if kind is HaarDetector and not files:
            files = _bundled_haar()
        if files and usable():
            try:
                return kind(files[0])
            except (cv2.error, ImportError, RuntimeError, ValueError, OSError) as error:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise InputError(f"{files[0]} cannot be used as a face detector ({reason})") from error
    return None


class LandmarkerDetector:
    """MediaPipe's face landmarker: 61 and 291 are the lips' corners, 13 and 14 their inner middle."""

    def __init__(self, path: Path) -> None:
        self._mediapipe, vision, base = _mediapipe_tasks(path)
        self._task = vision.FaceLandmarker.create_from_options(
            vision.FaceLandmarkerOptions(base_options=base, num_faces=4)
        )

    def find(self, rgb_HWC: np.ndarray) -> list[Face]:
        height, width = rgb_HWC.shape[:2]
        result = self._task.detect(_mediapipe_image(self._mediapipe, rgb_HWC))
        faces = []
        for marks in result.face_landmarks:
            left, right, upper, lower = (np.array([marks[k].x * width, marks[k].y * height]) for k in (61, 291, 13, 14))
            middle = (left + right + upper + lower) / 4
            places = np.array([[mark.x * width, mark.y * height] for mark in marks])
            faces.append(_from_corners(left, right, 1.0, "landmarks", middle, head_of_mesh(places)))
        return faces


class BlazeFaceDetector:
    """MediaPipe's BlazeFace: eyes 0 and 1, mouth 3; the width follows from the eyes' distance or the box."""

    def __init__(self, path: Path) -> None:
        self._mediapipe, vision, base = _mediapipe_tasks(path)
        self._task = vision.FaceDetector.create_from_options(vision.FaceDetectorOptions(base_options=base))

    def find(self, rgb_HWC: np.ndarray) -> list[Face]:
        height, width = rgb_HWC.shape[:2]
        faces = []
        for found in self._task.detect(_mediapipe_image(self._mediapipe, rgb_HWC)).detections:
            points = [np.array([point.x * width, point.y * height]) for point in found.keypoints]
            across = points[1] - points[0]
            mouth = max(0.85 * float(np.hypot(*across)), 0.34 * found.bounding_box.width)
            roll = float(np.arctan2(across[1], across[0]))
            score = float(found.categories[0].score)
            head = head_of_eyes(points[0], points[1], points[2])
            faces.append(Face(float(points[3][0]), float(points[3][1]), mouth, roll, score, "detector", head))
        return faces


class YuNetDetector:
    """OpenCV's YuNet: rows of x y w h, right eye, left eye, nose, right and left corner of the mouth, score."""

    def __init__(self, path: Path) -> None:
        self._net = cv2.FaceDetectorYN.create(str(path), "", (320, 320), 0.7)

    def find(self, rgb_HWC: np.ndarray) -> list[Face]:
        self._net.setInputSize((rgb_HWC.shape[1], rgb_HWC.shape[0]))
        _, rows = self._net.detect(cv2.cvtColor(rgb_HWC, cv2.COLOR_RGB2BGR))
        rows = [] if rows is None else rows
        return [
            _from_corners(
                row[10:12], row[12:14], float(row[14]), "detector", head=head_of_eyes(row[4:6], row[6:8], row[8:10])
            )
            for row in rows
        ]


class HaarDetector:
    """OpenCV's frontal face cascade; the mouth is guessed from the face's box."""

    def __init__(self, path: Path) -> None:
        self._cascade = cv2.CascadeClassifier(str(path))
        if self._cascade.empty():
            raise ValueError("an empty cascade")

    def find(self, rgb_HWC: np.ndarray) -> list[Face]:
        gray = cv2.equalizeHist(cv2.cvtColor(rgb_HWC, cv2.COLOR_RGB2GRAY))
        least = max(24, min(gray.shape) // 12)
        boxes = self._cascade.detectMultiScale(gray, 1.1, 5, minSize=(least, least))
        return [
            Face(x + w / 2, y + MOUTH_DOWN * h, MOUTH_WIDE * w, 0.0, 0.6, "detector")
            for x, y, w, h in np.array(boxes, float)
        ]


def head_of_mesh(points_K2: np.ndarray) -> Head:
    """Brows and nose of MediaPipe's mesh."""
    return as_head([*(points_K2[list(brow)].mean(0) for brow in BROWS_468), points_K2[list(NOSE_468)].mean(0)])


def head_of_eyes(left: np.ndarray, right: np.ndarray, nose: np.ndarray) -> Head:
    """Brows above two eyes (the left and the right one of the picture), and the nose's tip."""
    left, right = np.asarray(left, np.float64), np.asarray(right, np.float64)
    middle, across = (left + right) / 2, right - left
    up = BROW_UP * np.array([across[1], -across[0]])
    return as_head([middle - BROW_APART / 2 * across + up, middle + BROW_APART / 2 * across + up, nose])


def as_head(points_32: Iterable[Sequence[float] | np.ndarray]) -> Head:
    left, right, nose = ((float(x), float(y)) for x, y in points_32)
    return left, right, nose


def _from_corners(
    right: np.ndarray, left: np.ndarray, score: float, source: str, middle: np.ndarray | None = None,
    head: Head | None = None,
) -> Face:  # fmt: skip
    across = np.asarray(left, float) - right
    x, y = (np.asarray(left, float) + right) / 2 if middle is None else middle
    # Corners close up in a half profile; a mouth is then wider than it looks, but the crop must not shrink to nothing.
    return Face(
        float(x), float(y), max(4.0, float(np.hypot(*across))), float(np.arctan2(across[1], across[0])), score, source,
        head,
    )  # fmt: skip


def _has_mediapipe() -> bool:
    return importlib.util.find_spec("mediapipe") is not None


def _mediapipe_tasks(path: Path) -> tuple[Any, Any, Any]:
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    return mediapipe, vision, BaseOptions(model_asset_path=str(path))


def _mediapipe_image(mediapipe: Any, rgb_HWC: np.ndarray) -> Any:
    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(rgb_HWC))


def _bundled_haar() -> list[Path]:
    """The cascade that some builds of OpenCV carry."""
    folder = getattr(getattr(cv2, "data", None), "haarcascades", None)
    path = Path(folder) / "haarcascade_frontalface_alt2.xml" if folder else None
    return [path] if path and path.is_file() else []
