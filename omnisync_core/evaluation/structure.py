"""How near two pictures are in structure: SSIM, GMSD and the strength of edges, on grey pictures of 0..1.

SSIM: Wang et al. 2004, Gaussian window of sigma 1.5. GMSD: Xue et al. 2014, Prewitt gradients at half size.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

SMALLEST = 11
"""Pixels of a side below which a box is widened: the width of SSIM's window."""


class Structure(NamedTuple):
    ssim: float
    gmsd: float
    edge_energy: float
    edge_energy_true: float


def compare(result_THWC: np.ndarray, truth_THWC: np.ndarray, box_T4: np.ndarray) -> Structure:
    """Means of SSIM and GMSD over the frames and sums of edge energy, inside each frame's box; uint8 pictures."""
    rows = []
    for result, truth, box in zip(result_THWC, truth_THWC, box_T4, strict=True):
        ours, true = (_grey(frame, box) for frame in (result, truth))
        rows.append((ssim(ours, true), gmsd(ours, true), edge_energy(ours), edge_energy(true)))
    near, apart, edges, edges_true = np.transpose(rows)
    return Structure(float(near.mean()), float(apart.mean()), float(edges.sum()), float(edges_true.sum()))


def ssim(a_HW: np.ndarray, b_HW: np.ndarray) -> float:
    """1 for equal pictures."""

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(x, (SMALLEST, SMALLEST), 1.5, borderType=cv2.BORDER_REFLECT)

    mean_a, mean_b = mean(a_HW), mean(b_HW)
    spread_a, spread_b = mean(a_HW * a_HW) - mean_a**2, mean(b_HW * b_HW) - mean_b**2
    shared = mean(a_HW * b_HW) - mean_a * mean_b
    light = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    return float((light * (2 * shared + 9e-4) / (spread_a + spread_b + 9e-4)).mean())


def gmsd(a_HW: np.ndarray, b_HW: np.ndarray) -> float:
    """0 for equal pictures."""
    a, b = (_gradient(_halved(x)) for x in (a_HW, b_HW))
    constant = 170 / 255**2
    return float(((2 * a * b + constant) / (a * a + b * b + constant)).std())


def edge_energy(a_HW: np.ndarray) -> float:
    """Sum of squared differences of neighbours."""
    return float(np.square(np.diff(a_HW, axis=0)).sum() + np.square(np.diff(a_HW, axis=1)).sum())


def _halved(x_HW: np.ndarray) -> np.ndarray:
    height, width = (side // 2 for side in x_HW.shape)
    return x_HW[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean((1, 3))


def _gradient(x_HW: np.ndarray) -> np.ndarray:
    kernel = np.array([[1, 0, -1]] * 3, np.float32) / 3
    across, down = (cv2.filter2D(x_HW, -1, k, borderType=cv2.BORDER_REFLECT) for k in (kernel, kernel.T))
    return np.sqrt(across**2 + down**2)


def _grey(frame_HWC: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The box of a frame, grey, 0..1, at least as large as SSIM's window."""
    height, width = frame_HWC.shape[:2]
    (x0, x1), (y0, y1) = (_widened(box[axis], box[axis + 2], size) for axis, size in ((0, width), (1, height)))
    return cv2.cvtColor(np.ascontiguousarray(frame_HWC[y0:y1, x0:x1]), cv2.COLOR_RGB2GRAY).astype(np.float32) / 255


def _widened(start: int, stop: int, size: int) -> tuple[int, int]:
    missing = max(0, SMALLEST - (int(stop) - int(start)))
    start = max(0, min(int(start) - missing // 2, size - SMALLEST))
    return start, min(size, max(int(stop), start + SMALLEST))
