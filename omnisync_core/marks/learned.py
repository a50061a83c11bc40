"""The learned watermark: VideoSeal's or PixelSeal's networks, where the user has their weight file.

One message for everybody: edited. It is hidden in every `STEP`th frame and lies over those up to the next, as
videoseal's own streaming example does (`inference_streaming.py`); it is read as the mean of many frames' logits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import comb
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..checkpoint import load_strictly
from ..errors import CheckpointError
from ..media.frame import Frame
from ..models.published import Shapes, read_content, tensors_of
from ..models.video_seal import SealConfig, VideoSeal

SIZE = 256
"""Pixels of the square that the networks look at, whatever the frame's shape."""
STRENGTH = 0.2
"""Of what the network hides, as both of its cards say."""
STEP = 4
"""Frames to which one look applies; of those that are read, too."""
BATCH = 8
"""Frames that are read at once."""
CHANCE = 1e-9
"""How often chance may make a message of as many right bits as count."""
READ_BACK = 4
"""Marked frames that are read again while they are written."""
NAMES = {16: "VideoSeal", 32: "PixelSeal"}
"""By the first width of their UNets."""
REMEDY = "expected VideoSeal 1.0's y_256b_img.pth or PixelSeal's checkpoint.pth"


@dataclass(frozen=True, eq=False)
class Learned:
    """The networks of one file."""

    seal: VideoSeal
    file: str

    @property
    def name(self) -> str:
        return NAMES.get(self.seal.config.widths[0], "networks of VideoSeal's kind")

    def __str__(self) -> str:
        return f"{self.name} ({self.file})"


@dataclass(frozen=True)
class Reading:
    """How many bits of the message were read right, of how many."""

    right: int
    bits: int
    frames: int
    learned: str

    @property
    def needed(self) -> int:
        return bits_needed(self.bits)

    @property
    def is_found(self) -> bool:
        return self.right >= self.needed

    def __str__(self) -> str:
        return f"{self.right} of {self.bits} bits are right in {self.frames} frames, {self.needed} are needed"


def open_learned(path: str | Path) -> Learned:
    """The networks of a weight file, kept while it stays the same. CheckpointError: missing, damaged, another model."""
    path = Path(path)
    try:
        stamp = path.stat().st_size, path.stat().st_mtime_ns
    except OSError:
        stamp = 0, 0
    return _open(path, stamp)


def bits_needed(bits: int) -> int:
    """The fewest right bits that fair coins give at most once in 1 / `CHANCE`: the tail of the binomial distribution.

    One more than there are bits where they are too few for that.
    """
    most, tail, right = int(2**bits * CHANCE), 0, bits + 1
    while right and tail + comb(bits, right - 1) <= most:
        right -= 1
        tail += comb(bits, right)
    return right


def message(bits: int) -> Tensor:
    """Its bits (1, K): those of a hash, so that they have no order which a picture could have."""
    blocks = (hashlib.sha256(f"omnisync edited {n}".encode()).digest() for n in range(bits // 256 + 1))
    return torch.from_numpy(np.unpackbits(np.frombuffer(b"".join(blocks), np.uint8))[:bits].astype(np.int64))[None]


class Hider:
    """Marks the frames of one video, in their order."""

    def __init__(self, learned: Learned) -> None:
        self.learned, self._reader = learned, Reader(learned)
        self._bits, self._count = message(learned.seal.config.bits), 0

    @torch.inference_mode()
    def embed(self, frame: Frame) -> Frame:
        """The frame with the message over all of it."""
        seal, picture = self.learned.seal, _picture(frame)
        is_key = self._count % STEP == 0
        if is_key:
            self._hidden = seal.hide(picture, self._bits)
        self._count += 1
        faint_HW = _resized(STRENGTH * seal.heat(picture) * self._hidden, (frame.height, frame.width))[0, 0]
        marked = frame.add_rgb(None, np.repeat(faint_HW.numpy()[..., None], 3, axis=2))
        if is_key and self._count <= STEP * READ_BACK:
            self._reader.look(marked)
        return marked

    def read_back(self) -> Reading | None:
        """What was read of the first marked frames, before an encoder had them; None where there were none."""
        return self._reader.reading() if self._count else None


class Reader:
    """Reads the message of frames, a batch at a time."""

    def __init__(self, learned: Learned) -> None:
        self._learned, self._frames = learned, 0
        self._waiting: list[Tensor] = []
        self._logits_K = torch.zeros(learned.seal.config.bits)

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The same frames; every `STEP`th is looked at."""
        for index, frame in enumerate(frames):
            if index % STEP == 0:
                self.look(frame)
            yield frame

    def look(self, frame: Frame) -> None:
        self._waiting.append(_picture(frame))
        if len(self._waiting) == BATCH:
            self._read()

    def reading(self) -> Reading:
        """Of all frames so far."""
        if self._waiting:
            self._read()
        bits = len(self._logits_K)
        right = ((self._logits_K > 0) == message(bits)[0].bool()).sum().item() if self._frames else 0
        return Reading(right, bits, self._frames, str(self._learned))

    @torch.inference_mode()
    def _read(self) -> None:
        self._logits_K += self._learned.seal.read(torch.cat(self._waiting)).sum(0)
        self._frames += len(self._waiting)
        self._waiting.clear()


def _picture(frame: Frame) -> Tensor:
    """A frame as the networks see it, (1, 3, SIZE, SIZE)."""
    return _resized(torch.from_numpy(frame.rgb()).permute(2, 0, 1)[None], (SIZE, SIZE)).clamp(0, 1)


def _resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(picture, size=size, mode="bilinear", antialias=True)


@lru_cache(maxsize=1)
def _open(path: Path, stamp: tuple[int, int]) -> Learned:
    tensors = tensors_of(read_content(path), "model", path)
    config = SealConfig.of(Shapes(tensors, f"{path}: this is no VideoSeal", REMEDY))
    with torch.device("meta"):
        seal = VideoSeal(config)
    seal.to_empty(device="cpu")
    try:
        load_strictly(seal, tensors, str(path))
    except CheckpointError as error:
        raise CheckpointError(f"{error}; {REMEDY}") from None
    broken = [name for name, value in seal.state_dict().items() if not value.isfinite().all()]
    if broken:
        raise CheckpointError(f"{path} is damaged: {broken[0]} has values that are no numbers; download it again")
    return Learned(seal.eval().requires_grad_(False), path.name)
