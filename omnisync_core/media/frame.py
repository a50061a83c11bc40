"""One decoded video frame on its own planes, seen upright."""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np

from .formats import Layout, layout_of
from .planes import Box, Colour, add_rgb, copy_frame, read_rgb


@dataclass(frozen=True)
class Orientation:
    """From stored to upright: `turns` quarter turns counter-clockwise, then mirrored left to right if `mirrored`."""

    turns: int = 0
    mirrored: bool = False

    @property
    def swaps_sides(self) -> bool:
        return self.turns % 2 == 1

    def upright(self, image: np.ndarray) -> np.ndarray:
        """A stored (H, W, ...) image as the viewer sees it (a view)."""
        turned = np.rot90(image, self.turns)
        return turned[:, ::-1] if self.mirrored else turned

    def stored(self, image: np.ndarray) -> np.ndarray:
        """The inverse of `upright`."""
        return np.rot90(image[:, ::-1] if self.mirrored else image, -self.turns)

    def stored_box(self, box: Box, width: int, height: int) -> Box:
        """An upright box (in an upright frame of width x height) in stored pixels."""
        x0, y0, x1, y1 = box
        if self.mirrored:
            x0, x1 = width - x1, width - x0
        for _ in range(self.turns % 4):  # undo one counter-clockwise quarter turn at a time
            x0, y0, x1, y1 = height - y1, x0, height - y0, x1
            width, height = height, width
        return x0, y0, x1, y1


class Frame:
    """One frame: `time` (seconds since the file's start, the clock of its sound), `index`, and its samples.

    `width` and `height` are upright pixels. A Frame is never changed; `add_rgb` gives a new one.
    """

    __slots__ = ("colour", "index", "layout", "native", "orientation", "time")

    def __init__(
        self, native: av.VideoFrame, time: float, index: int, orientation: Orientation = Orientation()
    ) -> None:
        layout = layout_of(native.format.name)
        if layout is None:
            raise ValueError(f"samples of {native.format.name} cannot be reached; convert the frame first")
        self.native, self.layout, self.colour = native, layout, colour_of(native, layout)
        self.time, self.index, self.orientation = time, index, orientation

    @property
    def width(self) -> int:
        return self.native.height if self.orientation.swaps_sides else self.native.width

    @property
    def height(self) -> int:
        return self.native.width if self.orientation.swaps_sides else self.native.height

    @property
    def is_hdr(self) -> bool:
        """Whether the transfer tag is PQ or HLG."""
        return self.native.color_trc in (16, 18)

    def rgb(self, box_xyxy: Box | None = None) -> np.ndarray:
        """The box (upright whole pixels inside the frame; None: all of it) as float32 RGB in 0..1, (h, w, 3).

        Cost grows with the box, not with the frame. More than 8 bits are kept.
        """
        box = self._stored_box(box_xyxy)
        return np.ascontiguousarray(self.orientation.upright(read_rgb(self.native, self.layout, self.colour, box)))

    def add_rgb(self, box_xyxy: Box | None, delta_HWC: np.ndarray) -> Frame:
        """A new frame whose RGB inside the box differs by `delta_HWC` (upright, units of 0..1), rounded and clipped.

        Works on the frame's own planes: where the change is exactly 0 every sample keeps its bits; alpha is kept.
        """
        box = self._stored_box(box_xyxy)
        delta = np.ascontiguousarray(self.orientation.stored(np.asarray(delta_HWC, np.float32)))
        if delta.shape != (box[3] - box[1], box[2] - box[0], 3):
            raise ValueError(f"delta has shape {np.shape(delta_HWC)}, the box {box_xyxy} asks for another one")
        native = copy_frame(self.native)
        add_rgb(native, self.layout, self.colour, box, delta)
        return Frame(native, self.time, self.index, self.orientation)

    def thumbnail(self, longest_side: int) -> np.ndarray:
        """The whole frame, upright, uint8 RGB (h, w, 3), shrunk so that its longer side is at most `longest_side`."""
        width, height = self.native.width, self.native.height
        scale = min(1.0, longest_side / max(width, height))
        small = self.native.reformat(
            max(1, round(width * scale)),
            max(1, round(height * scale)),
            "rgb24",
            src_colorspace=_SWS_MATRIX.get((self.colour.kr, self.colour.kb), "ITU601"),
            src_color_range="JPEG" if self.colour.full_range else "MPEG",
            dst_color_range="JPEG",
            interpolation="AREA",
        )
        return np.ascontiguousarray(self.orientation.upright(small.to_ndarray()))

    def _stored_box(self, box: Box | None) -> Box:
        x0, y0, x1, y1 = (int(v) for v in box) if box is not None else (0, 0, self.width, self.height)
        if not (0 <= x0 < x1 <= self.width and 0 <= y0 < y1 <= self.height):
            raise ValueError(f"box {box} is not inside the frame of {self.width}x{self.height}; clip it first")
        return self.orientation.stored_box((x0, y0, x1, y1), self.width, self.height)


def colour_of(native: av.VideoFrame, layout: Layout) -> Colour:
    """Matrix and range by the frame's tags; untagged: BT.709 from 720 lines on, else BT.601; limited (gray: full)."""
    full = native.color_range == 2 or layout.kind == "rgb" or native.format.name.startswith("yuvj")
    full = full or (layout.kind == "gray" and native.color_range != 1)
    guess = (0.2126, 0.0722) if max(native.width, native.height) >= 1280 or native.height >= 720 else (0.299, 0.114)
    kr, kb = _LUMA_WEIGHTS.get(native.colorspace, guess)
    return Colour(kr, kb, full, ycgco=native.colorspace == 8)


_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.470BG
    6: (0.299, 0.114),  # SMPTE 170M
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
    10: (0.2627, 0.0593),
}
_SWS_MATRIX = {(0.2126, 0.0722): "ITU709", (0.299, 0.114): "ITU601", (0.212, 0.087): "SMPTE240M", (0.30, 0.11): "FCC"}
