"""LMD (Chen et al. 2018): how far the mouth's landmarks of the result lie from those of the truth, in pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import CheckpointError
from .clip import Moment
from .measure import Column, MeanOverMoments, Measure, Metric, WeightFile, digest, library

LANDMARKER = WeightFile(
    "face_landmarker.task", "ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker", "Apache-2.0"
)
LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
)  # fmt: skip
"""MediaPipe's numbers of the lips' outer and inner edge."""
Landmarks = Callable[[np.ndarray], np.ndarray | None]
"""A picture to points (K, 2) of the largest face in pixels; None where no face is seen."""


def metric() -> Metric:
    return Metric("lmd", (Column("lmd", "LMD", "lower"),), _build, "MediaPipe's landmarks", (LANDMARKER,))


def of(find: Landmarks, key: str, points: tuple[int, ...] = LIPS) -> Measure:
    """The measure over any landmarks."""

    def figure(moment: Moment) -> float | None:
        if moment.truth is None:
            return None
        ours, true = find(moment.result), find(moment.truth)
        return None if ours is None or true is None else distance(ours[list(points)], true[list(points)])

    return MeanOverMoments("lmd", figure, f"1 {key}", "no truth, or no face in it and in the result")


def distance(a_K2: np.ndarray, b_K2: np.ndarray) -> float:
    """Mean distance of points that belong together."""
    return float(np.hypot(*(np.asarray(a_K2, np.float64) - b_K2).T).mean())


def _build(folder: Path | None, device: str) -> Measure:
    path = LANDMARKER.find(folder)
    mediapipe = library("mediapipe")
    tasks = library("mediapipe.tasks.python")
    try:
        options = tasks.vision.FaceLandmarkerOptions(base_options=tasks.BaseOptions(model_asset_path=str(path)))
        task = tasks.vision.FaceLandmarker.create_from_options(options)
    except (RuntimeError, ValueError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path} is no face landmarker of MediaPipe ({reason}); download it again") from None

    def find(picture: np.ndarray) -> np.ndarray | None:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
        faces = task.detect(image).face_landmarks
        size = picture.shape[1::-1]
        return np.array([[mark.x, mark.y] for mark in faces[0]]) * size if faces else None

    return of(find, digest(path))
