"""The watermark: found after encoders, resizing and crops; not found where there is none; faint."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from omnisync_core import media
from omnisync_core.marks import watermark
from tests.fake import write_video

SIZE = 480, 360


def scene(path, frames=12):
    """Noise of every scale that drifts: busy as films are."""
    rng = np.random.default_rng(3)
    width, height = SIZE
    layers = [cv2.resize(rng.random((height // s + 2, width // s + 9)), (width + 40, height)) for s in (2, 8, 40)]
    whole = sum(layer * weight for layer, weight in zip(layers, (0.15, 0.3, 0.55), strict=True))

    def pictures():
        for index in range(frames):
            yield np.repeat(whole[:, index : index + width, None], 3, axis=2).astype(np.float32)

    media.write_pictures(path, pictures(), Fraction(25), "yuv420p")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The scene as it is and marked, through H.264 at crf 28."""
    folder = tmp_path_factory.mktemp("scene")
    source, found = scene(folder / "scene.mkv"), {}
    for name in ("plain", "marked"):
        found[name] = encoded(folder / f"{name}.mp4", source, mark=name == "marked")
    return found


def encoded(path, source, mark, crf=28):
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": str(crf)})
        stream.pix_fmt, (stream.width, stream.height) = "yuv420p", SIZE
        for index, frame in enumerate(media.read_frames(source)):
            frame = watermark.embed(frame) if mark else frame
            native = av.VideoFrame.from_ndarray((frame.rgb() * 255).round().astype(np.uint8), "rgb24")
            native.pts = index
            output.mux(stream.encode(native.reformat(format="yuv420p")))
        output.mux(stream.encode(None))
    return path


class Changed:
    """Frames as somebody else's tool leaves them."""

    def __init__(self, path, change):
        self.path, self.change = path, change

    def __iter__(self):
        for frame in media.read_frames(self.path):
            yield Shown(np.clip(self.change(frame.rgb()), 0, 1))


class Shown:
    def __init__(self, rgb_HWC):
        self._rgb_HWC = np.ascontiguousarray(rgb_HWC, np.float32)
        self.height, self.width = rgb_HWC.shape[:2]

    def rgb(self):
        return self._rgb_HWC


WAYS = {
    "as it is": lambda picture: picture,
    "half size": lambda picture: cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "cropped": lambda picture: picture[18:-18, 24:-24],
    "darker": lambda picture: picture * 0.8,
}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_found_after_encoding_and(files, way):
    assert watermark.score(Changed(files["marked"], WAYS[way])) > watermark.THRESHOLD
    assert watermark.score(Changed(files["plain"], WAYS[way])) < watermark.THRESHOLD


def test_it_is_faint(tmp_path):
    for frame in media.read_frames(scene(tmp_path / "scene.mkv", 2)):
        error = np.mean(np.square(watermark.embed(frame).rgb() - frame.rgb()))
        assert 40 < -10 * np.log10(error) < 48


def test_nothing_is_nothing(tmp_path):
    assert watermark.score([]) == 0
    grey = [Shown(np.full((90, 120, 3), 0.5, np.float32))] * 3
    assert not watermark.score(grey) > watermark.THRESHOLD
    assert watermark.score(media.read_frames(write_video(tmp_path / "small.mkv", 5))) < watermark.THRESHOLD
