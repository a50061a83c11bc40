"""Any order of frames is played right, with few of them held."""

import numpy as np
import pytest

from omnisync_core import media
from omnisync_core.timing import playback
from tests.fake import write_video

ORDERS = {
    "all": range(90),
    "some": [3, 4, 9, 40, 41, 88],
    "held": [5, 5, 5, 6, 6, 89, 89],
    "bounce": [*range(90), *range(88, -1, -1), *range(1, 90)],
    "loop": [*range(90)] * 2,
    "back": [*range(89, -1, -2)],
    "jumps": [70, 3, 2, 60, 60, 59, 0],
    "one": [17],
    "none": [],
}


@pytest.fixture(scope="module", params=["ffv1", "libx264", "open", "mpeg4"])
def video(request, tmp_path_factory):
    """Videos of key frames every 12 (or all) frames, with frames that lean on later ones, also beyond key frames."""
    codec = {"open": "libx264"}.get(request.param, request.param)
    options = {
        "libx264": {"g": "12", "preset": "ultrafast", "bf": "3"},
        "open": {"g": "12", "bf": "3", "x264-params": "open-gop=1:b-pyramid=normal"},
        "mpeg4": {"g": "12", "bf": "2"},
    }.get(request.param)
    suffix = {"ffv1": "mkv", "libx264": "mp4", "open": "mp4", "mpeg4": "mp4"}[request.param]
    path = tmp_path_factory.mktemp(request.param) / f"in.{suffix}"
    return media.probe_video(write_video(path, 90, codec=codec, options=options))


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("block", [4, 1000])
def test_frames_come_in_order(video, name, block, monkeypatch):
    monkeypatch.setattr(playback, "BLOCK_BYTES", block * video.width * video.height * 3)
    expected = [frame.rgb() for frame in media.read_frames(video.path)]
    order = np.array(ORDERS[name], dtype=int)
    played = list(playback.play(video, order))
    assert [frame.index for frame in played] == order.tolist()
    assert all(np.array_equal(frame.rgb(), expected[frame.index]) for frame in played)


def test_few_frames_are_held(video, monkeypatch):
    alive, most = set(), 0

    class Counted(media.Frame):
        def __del__(self):
            alive.discard(id(self))

    def count(*arguments):
        nonlocal most
        for frame in read(*arguments):
            frame = Counted(frame.native, frame.time, frame.index)
            alive.add(id(frame))
            most = max(most, len(alive))
            yield frame

    read = media.read_frames
    monkeypatch.setattr(playback.media, "read_frames", count)
    monkeypatch.setattr(playback, "BLOCK_BYTES", 4 * video.width * video.height * 3)
    for _ in playback.play(video, np.array(ORDERS["bounce"])):
        pass
    assert most <= 7
