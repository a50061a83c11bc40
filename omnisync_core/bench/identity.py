"""CSIM: cosine of a face's embedding in the result and in the source, by the user's ArcFace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import CheckpointError
from .clip import Moment
from .measure import Column, MeanOverMoments, Measure, Metric, Missing, WeightFile, digest, first_sentence, library

ARCFACE = WeightFile(
    "w600k_r50.onnx", "github.com/deepinsight/insightface (model pack buffalo_l)", "non-commercial research only",
    ("arcface.onnx", "glintr100.onnx"),
)  # fmt: skip
YUNET = WeightFile(
    "face_detection_yunet_2023mar.onnx", "github.com/opencv/opencv_zoo (models/face_detection_yunet)", "MIT"
)
SIDE = 112
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""Where ArcFace wants the eyes, the nose and the mouth's corners, the picture's left ones first, in 112 x 112."""
LONGEST = 640
"""Pixels of a frame's longer side in which the face is looked for."""


def metric() -> Metric:
    return Metric("csim", (Column("csim", "CSIM"),), _build, "the user's ArcFace", (ARCFACE, YUNET))


def aligned(picture: np.ndarray, points_52: np.ndarray) -> np.ndarray:
    """The face as ArcFace is given it, by the similarity that brings five points nearest to its template."""
    matrix, _ = cv2.estimateAffinePartial2D(np.float32(points_52), TEMPLATE, method=cv2.LMEDS)
    return cv2.warpAffine(picture, matrix, (SIDE, SIDE))


def cosine(a_D: np.ndarray, b_D: np.ndarray) -> float:
    return float(a_D @ b_D / max(float(np.linalg.norm(a_D) * np.linalg.norm(b_D)), 1e-12))


class Embedder:
    """A face's embedding; None where no face is seen."""

    def __init__(self, arcface: Path, yunet: Path) -> None:
        runtime = library("onnxruntime")
        if not hasattr(cv2, "FaceDetectorYN"):
            raise Missing("needs an OpenCV that has FaceDetectorYN: pip install opencv-python")
        try:
            self._session: Any = runtime.InferenceSession(str(arcface), providers=["CPUExecutionProvider"])
            self._detector = cv2.FaceDetectorYN.create(str(yunet), "", (320, 320), 0.6)
        except Exception as error:  # both libraries raise kinds of their own
            names = f"{arcface.name} or {yunet.name}"
            raise CheckpointError(f"{names} is no such network ({first_sentence(error)}); download it again") from None
        self._input = self._session.get_inputs()[0].name
        _check(arcface, lambda: np.ndim(self.embed(np.zeros((SIDE, SIDE, 3), np.uint8))) == 1)
        _check(yunet, lambda: self._points(np.zeros((LONGEST, LONGEST, 3), np.uint8)) is None)

    def __call__(self, picture: np.ndarray) -> np.ndarray | None:
        points = self._points(picture)
        return None if points is None else self.embed(aligned(picture, points))

    def embed(self, face_HWC: np.ndarray) -> np.ndarray:
        """Of an aligned face (112, 112, 3), RGB."""
        batch = ((face_HWC.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None]
        return self._session.run(None, {self._input: batch})[0][0]

    def _points(self, picture: np.ndarray) -> np.ndarray | None:
        scale = min(1.0, LONGEST / max(picture.shape[:2]))
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
        self._detector.setInputSize(small.shape[1::-1])
        _, rows = self._detector.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        if rows is None or not len(rows):
            return None
        largest = max(rows, key=lambda row: row[2] * row[3])
        return np.float32(largest[4:14]).reshape(5, 2) / scale


def _build(folder: Path | None, device: str) -> Measure:
    paths = [file.find(folder) for file in (ARCFACE, YUNET)]
    return of(Embedder(*paths), " ".join(map(digest, paths)))


def of(embed: Callable[[np.ndarray], np.ndarray | None], key: str) -> Measure:
    """The measure over any embedder."""

    def figure(moment: Moment) -> float | None:
        faces = embed(moment.result), embed(moment.source)
        return None if any(face is None for face in faces) else cosine(*faces)

    return MeanOverMoments("csim", figure, f"1 {key}", "YuNet finds no face in both the result and the source")


def _check(path: Path, does_its_work: Callable[[], bool]) -> None:
    """CheckpointError where the file holds another network, which does something else with a black picture."""
    try:
        fits = does_its_work()
    except Exception:  # both libraries raise kinds of their own
        fits = False
    if not fits:
        raise CheckpointError(f"{path} holds another network; download it again")
