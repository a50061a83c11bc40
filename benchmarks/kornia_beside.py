"""kornia beside what erodes, blurs and crops here: python benchmarks/kornia_beside.py (with a host's python)

Per frame, 16 at once where kornia takes a batch: the processor's time, and the largest difference (of values 0..255;
of masks: 0..1).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import common
import cv2
import kornia
import numpy as np
import torch

FRAMES, RESOLUTION, SIDE = 16, 256, 480


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for name, frames, ours, theirs in pairs():
        apart = np.abs(np.asarray(ours()) - theirs().numpy()).max()
        rows.append([name, *(f"{seconds(one) * 1000 / frames:.2f}" for one in (ours, theirs)), f"{apart:.1e}"])
    print(common.table(["", "ours, ms", "kornia, ms", "largest difference"], rows))


def pairs() -> Iterator[tuple[str, int, Callable, Callable]]:
    """What it is, of how many frames, ours, kornia's."""
    from omnisync_core.crop.region import Box, crop
    from omnisync_core.engines.latentsync import mask

    noise = np.random.default_rng(0).uniform(0, 255, (SIDE, SIDE, 3 * FRAMES))
    pictures = cv2.GaussianBlur(noise, (0, 0), 2).reshape(SIDE, SIDE, FRAMES, 3)
    frames_THWC = np.ascontiguousarray(np.moveaxis(pictures, 2, 0), np.float32)
    frames_TCHW = torch.from_numpy(frames_THWC).permute(0, 3, 1, 2)
    drawn_SS, sigma = 1 - mask.kept(RESOLUTION), RESOLUTION / 64
    often = round(2.5 * sigma)

    def eroded() -> torch.Tensor:
        found = torch.from_numpy(drawn_SS)[None, None]
        for _ in range(often):
            found = kornia.morphology.erosion(found, torch.ones(3, 3))
        return found[0, 0]

    yield "the mask's erosion", 1, lambda: cv2.erode(drawn_SS, np.ones((3, 3)), iterations=often), eroded
    yield (
        "the mask's blur",
        1,
        lambda: cv2.GaussianBlur(drawn_SS, (0, 0), sigma),
        lambda: blurred(torch.from_numpy(drawn_SS)[None, None], sigma)[0, 0],
    )
    levels_TSS = np.ascontiguousarray(frames_THWC[:, :128, :128, 0])
    yield (
        "the crop's blur",
        FRAMES,
        lambda: np.stack([cv2.GaussianBlur(one, (0, 0), 128 / 48) for one in levels_TSS]),
        lambda: blurred(torch.from_numpy(levels_TSS)[:, None], 128 / 48)[:, 0],
    )
    box = Box(100.3, 90.7, 300.0)
    corners = torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]]) * box.side + torch.tensor([box.x0, box.y0]) - 0.5

    def cropped() -> torch.Tensor:
        smooth = blurred(frames_TCHW, 0.5 * box.side / 128)
        places = corners.expand(FRAMES, -1, -1)
        return kornia.geometry.crop_and_resize(smooth, places, (128, 128), mode="bicubic").permute(0, 2, 3, 1)

    def ours() -> np.ndarray:
        return np.stack([
            crop(lambda at, one=one: one[at[1] : at[3], at[0] : at[2]], (SIDE, SIDE), box, 128) for one in frames_THWC
        ])  # fmt: skip

    yield "the crop", FRAMES, ours, cropped


def blurred(pictures_BCHW: torch.Tensor, sigma: float) -> torch.Tensor:
    """With cv2's kernel and border."""
    return kornia.filters.gaussian_blur2d(pictures_BCHW, 2 * round(4 * sigma) + 1, (sigma, sigma))


def seconds(call: Callable[[], object]) -> float:
    """The best of seven, after a first one."""
    times = []
    for _ in range(8):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return min(times[1:])


if __name__ == "__main__":
    main()
