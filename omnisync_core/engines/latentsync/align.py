"""The face as LatentSync sees it: turned, scaled and moved so that brows and nose lie where its template has them.

Points are (x, y) in pixels, pixel i at i; three per face: left brow, right brow, nose. Everything in float32.
Legend: A affine 2 x 3 from the picture to the aligned face, H W C a picture.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F

TEMPLATE = np.array([[17, 20], [58, 20], [37.5, 40]])
"""Brows and nose on a face of 75 x 100 units."""
FACE_UNITS = 75, 100
SPREAD = 14.88
"""Of the template (`crop/region.head_spread`), in its units."""
RATIO = 2.8
"""Pixels per unit at a resolution of 256."""
MOUTH, MOUTH_WIDTH = np.array([37.8, 60.0], np.float32), 26.7
"""The mouth of an average frontal face (mean of the 68-point faces) aligned to the template, in its units."""
GREY = 127.0
"""What stands for pixels beyond the picture, 0..255."""


def face_size(resolution: int) -> tuple[int, int]:
    """Width and height of the aligned face: 210 x 280 at 256. The network sees it squeezed to a square."""
    ratio = RATIO * resolution / 256
    return int(FACE_UNITS[0] * ratio), int(FACE_UNITS[1] * ratio)


def template(resolution: int) -> np.ndarray:
    """(3, 2) brows and nose on the aligned face."""
    return (TEMPLATE * (RATIO * resolution / 256)).astype(np.float32)


def from_points(points_32: np.ndarray, resolution: int) -> np.ndarray:
    """The similarity (2, 3) that takes three points of a face to the template: equal spread, best rotation.

    The spread is the standard deviation over all six centred numbers.
    """
    points, target = torch.as_tensor(points_32).float(), torch.from_numpy(template(resolution))
    middle, target_middle = points.mean(0), target.mean(0)
    points, target = points - middle, target - target_middle
    scale = target.std() / points.std()
    u, _, vh = torch.linalg.svd((points / points.std()).T @ (target / target.std()))
    flip = torch.tensor([1.0, torch.sign(torch.linalg.det(vh.T @ u.T))])
    turn = (vh.T * flip) @ u.T
    move = target_middle - scale * (turn @ middle)
    return torch.cat([scale * turn, move[:, None]], 1).numpy()


def points_of_mouth(mouth_3: np.ndarray, roll: float = 0.0) -> np.ndarray:
    """Brows and nose (3, 2) of an average face whose mouth has this centre x, y and width; roll in radians."""
    unit, c, s = mouth_3[2] / MOUTH_WIDTH, np.cos(roll), np.sin(roll)
    turned = (TEMPLATE - MOUTH) @ np.array([[c, s], [-s, c]])
    return (np.asarray(mouth_3[:2], np.float32) + turned * unit).astype(np.float32)


def warp(picture_HWC: np.ndarray, affine_A: np.ndarray, size: tuple[int, int], fill: float = GREY) -> np.ndarray:
    """A picture (any numbers) through an affine onto `size` (width, height), bilinear, float32.

    What lies beyond it is `fill`, to which its border fades within a pixel.
    """
    from kornia.geometry.transform import warp_affine  # slow to load

    source_CHW = torch.as_tensor(np.ascontiguousarray(picture_HWC), dtype=torch.float32).permute(2, 0, 1)
    affine = torch.as_tensor(np.asarray(affine_A, np.float32))
    moved_CHW = warp_affine((source_CHW - fill)[None], affine[None], size[::-1], align_corners=True)[0]
    return (moved_CHW + fill).permute(1, 2, 0).numpy()


def align(picture_HWC: np.ndarray, affine_A: np.ndarray, resolution: int) -> np.ndarray:
    """The aligned face (S, S, C) of a picture with values 0..255, float32."""
    return squeeze(warp(picture_HWC, affine_A, face_size(resolution)), resolution)


def squeeze(face_HWC: np.ndarray, resolution: int) -> np.ndarray:
    """An aligned face (of `face_size`) as the network sees it."""
    return cv2.resize(face_HWC, (resolution, resolution), interpolation=cv2.INTER_LANCZOS4)


def restore(face_SSC: np.ndarray, affine_A: np.ndarray, size: tuple[int, int], fill: float = GREY) -> np.ndarray:
    """The aligned face (S, S, C) back at its place on a picture of `size` (width, height), bilinear, float32."""
    return warp(_unsqueeze(face_SSC), _inverse(affine_A), size, fill)


def _unsqueeze(face_SSC: np.ndarray) -> np.ndarray:
    """Bicubic, free of aliasing."""
    width, height = face_size(len(face_SSC))
    face_CSS = torch.as_tensor(np.ascontiguousarray(face_SSC), dtype=torch.float32).permute(2, 0, 1)[None]
    wide = F.interpolate(face_CSS, (height, width), mode="bicubic", antialias=True, align_corners=False)
    return wide[0].permute(1, 2, 0).numpy()


def _inverse(affine_A: np.ndarray) -> np.ndarray:
    turn = np.linalg.inv(np.asarray(affine_A[:, :2], np.float64))
    return np.concatenate([turn, -turn @ affine_A[:, 2:]], axis=1)
