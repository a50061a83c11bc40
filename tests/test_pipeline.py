"""The whole way with a tiny engine: what is edited, what stays, what is reported, what is refused."""

import numpy as np
import pytest

from omnisync_core import pipeline
from omnisync_core.errors import InputError, OutputError
from omnisync_core.job import SyncOptions
from omnisync_core.pipeline import sync_video
from tests.fake import SPEC, FakeEngine, pictures, planes, times, write_sound, write_video


@pytest.fixture
def sync(tmp_path):
    """Run a job on generated files; options are those of SyncOptions."""

    def run(video=None, sound=None, engine=None, output="out.mkv", progress=None, **options):
        video = video or write_video(tmp_path / "in.mkv")
        sound = sound or write_sound(tmp_path / "in.wav")
        options = SyncOptions(**{"mouth": "centre", "lossless": True, **options})
        return sync_video(video, sound, tmp_path / output, engine or FakeEngine(), options, progress)

    return run


def mouths(path, size=(64, 48)):
    """Mean red over the middle of the mouth per frame."""
    x, y = int(size[0] * 0.5), int(size[1] * 0.62)
    return np.array([picture[y - 1 : y + 2, x - 1 : x + 2, 0].mean() for picture in pictures(path)])


def test_the_sound_drives_the_mouth_and_all_else_stays(sync, tmp_path):
    report = sync()
    before, after = pictures(tmp_path / "in.mkv"), pictures(tmp_path / "out.mkv")
    assert len(after) == report.frames == report.edited == 30 and times(tmp_path / "out.mkv") == times(
        tmp_path / "in.mkv"
    )
    change = np.abs(np.stack(after).astype(int) - np.stack(before)).max(axis=(0, 3))
    assert change[:8].max() == 0 and change[:, :10].max() == 0 and change[29, 32] > 20
    loud = 0.6 + 0.4 * np.sin(2 * np.pi * 2 * np.arange(30) / 25)
    assert np.corrcoef(mouths(tmp_path / "out.mkv"), loud)[0, 1] > 0.9
    assert not report.passed and report.mouth_sources == {"fallback": 30} and report.windows == 7
    assert not (tmp_path / "out.mkv.omnisync").exists()


def test_windows_are_anchored_in_what_was_finished(sync):
    engine = FakeEngine()
    sync(engine=engine)
    anchors = [call["anchor"] for call in engine.calls]
    assert anchors[0] is None and all(len(anchor) == 5 for anchor in anchors[1:])
    assert len({call["seed"] for call in engine.calls}) == len(engine.calls) == 7
    assert all(call["frames"] == SPEC.window_frames for call in engine.calls)
