"""The watermark's figures on videos: found after encoders, half size and a crop; false alarms; PSNR.

python -m omnisync_core synth --clips 8 --seconds 2 --size 192 --seed 77 --out drawn
python benchmarks/watermark.py film.mp4 [...] --frames 96 --unmarked film.mp4 drawn/*/*.mkv --alarms 100

With `--weights FILE` the same of VideoSeal or PixelSeal: bits read right, of how many.
"""

from __future__ import annotations

import argparse
import io
import itertools
from pathlib import Path

import common
import cv2
import numpy as np

from omnisync_core import media
from omnisync_core.marks import watermark
from omnisync_core.marks.learned import Hider, Learned, Reader, open_learned

WAYS = {
    "as it is": lambda picture: picture,
    "half size": lambda picture: cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "10 % cropped": lambda picture: picture[picture.shape[0] // 20 :, : -picture.shape[1] // 20][
        : -picture.shape[0] // 20, picture.shape[1] // 20 :
    ],
}


class Shown:
    """A picture as the finder takes frames."""

    def __init__(self, rgb_HWC: np.ndarray) -> None:
        self._rgb_HWC = np.ascontiguousarray(rgb_HWC, np.float32)
        self.height, self.width = rgb_HWC.shape[:2]

    def rgb(self) -> np.ndarray:
        return self._rgb_HWC


class Pattern:
    """The kept watermark: its score."""

    needed = watermark.THRESHOLD

    def embed(self, frames) -> list[np.ndarray]:
        return [_picture(watermark.embed(frame)) for frame in frames]

    def score(self, frames) -> float:
        return watermark.score(frames)


class Network:
    """A learned watermark: bits read right."""

    def __init__(self, learned: Learned) -> None:
        self.learned, self.needed = learned, Reader(learned).reading().needed - 0.5

    def embed(self, frames) -> list[np.ndarray]:
        hider = Hider(self.learned)
        return [_picture(hider.embed(frame)) for frame in frames]

    def score(self, frames) -> float:
        reader = Reader(self.learned)
        for _ in reader.watch(frames):
            pass
        return reader.reading().right


def _picture(frame) -> np.ndarray:
    return np.clip(frame.rgb(), 0, 1)


def encoded(pictures: list[np.ndarray], crf: int) -> list[np.ndarray]:
    """Through H.264 and back, 0..1."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": str(crf)})
        height, width = pictures[0].shape[:2]
        stream.width, stream.height, stream.pix_fmt = width // 2 * 2, height // 2 * 2, "yuv420p"
        for index, picture in enumerate(pictures):
            codes = np.ascontiguousarray((picture[: stream.height, : stream.width] * 255).round().astype(np.uint8))
            frame = av.VideoFrame.from_ndarray(codes, "rgb24")
            frame.pts = index
            output.mux(stream.encode(frame.reformat(format="yuv420p")))
        output.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        return [frame.to_ndarray(format="rgb24").astype(np.float32) / 255 for frame in container.decode(video=0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--frames", type=int, default=watermark.FRAMES)
    parser.add_argument("--unmarked", nargs="*", type=Path, default=[], help="videos for the false alarms")
    parser.add_argument("--alarms", type=int, default=100, help="pieces of 10 unmarked frames that are looked at")
    parser.add_argument("--weights", type=Path, help="VideoSeal's or PixelSeal's file, instead of the pattern")
    options = parser.parse_args()
    mark = Network(open_learned(options.weights)) if options.weights else Pattern()
    for path in options.videos:
        frames = list(itertools.islice(media.read_frames(path), options.frames))
        plain, marked = [_picture(frame) for frame in frames], mark.embed(frames)
        error = np.mean([np.square(a - b).mean() for a, b in zip(plain, marked, strict=True)])
        print(f"{path.name}: {len(frames)} frames, PSNR {-10 * np.log10(error):.1f} dB")
        rows = []
        for crf in (18, 23, 28):
            shown = {name: encoded(pictures, crf) for name, pictures in (("marked", marked), ("plain", plain))}
            for way, change in WAYS.items():
                scores = {name: mark.score(Shown(change(p)) for p in shown[name]) for name in shown}
                rows.append([crf, way, f"{scores['marked']:.1f}", f"{scores['plain']:.1f}"])
        print(common.table(["crf", "", "marked", "unmarked"], rows), flush=True)
    _false_alarms(mark, options.unmarked, options.alarms)


def _false_alarms(mark: Pattern | Network, videos: list[Path], most: int) -> None:
    """Of pieces of 10 frames of each video in turn."""
    turns = [_pieces(path) for path in videos]
    pieces = (piece for row in itertools.zip_longest(*turns) for piece in row if piece)
    scores = [mark.score(piece) for piece in itertools.islice(pieces, most)]
    if scores:
        high = sum(score > mark.needed for score in scores)
        mean, deviation = np.mean(scores), np.std(scores)
        print(f"unmarked: {high} alarms in {len(scores)} pieces of 10 frames of {len(videos)} videos; "
              f"scores {mean:.2f} +- {deviation:.2f}, the highest {max(scores):.2f}")  # fmt: skip


def _pieces(path: Path):
    frames = media.read_frames(path)
    while len(piece := list(itertools.islice(frames, 10))) == 10:
        yield piece


if __name__ == "__main__":
    main()
