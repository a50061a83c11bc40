"""Whole videos through the engine: any rate, faces that come and go, several of them, from the side, any sound."""

from fractions import Fraction

import numpy as np
import pytest

from omnisync_core.job.options import Speaker, SyncOptions
from omnisync_core.mouth import MouthTrack
from omnisync_core.pipeline import sync_video
from tests.engines.latentsync import small
from tests.fake import pictures, times, write_sound, write_video

FRAMES, FPS, FRAME_SIZE = 20, Fraction(30000, 1001), (128, 96)


@pytest.fixture
def folder(tmp_path):
    write_video(tmp_path / "in.mkv", FRAMES, fps=FPS, size=FRAME_SIZE)
    write_sound(tmp_path / "in.wav", seconds=0.7, rate=48000, channels=2)
    return tmp_path


def mouth(x: float, width: float = 0.16, faceless=()) -> MouthTrack:
    """A mouth that stands still, seen in all frames but some."""
    seen = np.ones(FRAMES, np.float32)
    seen[list(faceless)] = 0
    return MouthTrack(
        np.arange(FRAMES) / float(FPS), np.tile([[x, 0.6]], (FRAMES, 1)), np.full(FRAMES, width), seen,
        np.full(FRAMES, "landmarks"), np.zeros(FRAMES, int), FRAME_SIZE,
    )  # fmt: skip


def run(folder, *, engine=None, mouths=(), **options):
    engine = engine or small.engine(steps=2)
    speakers = [Speaker(folder / "in.wav", each) for each in mouths[1:] and mouths]
    chosen = SyncOptions(mouth=mouths[0], lossless=True, **options)
    return sync_video(folder / "in.mkv", folder / "in.wav", folder / "out.mkv", engine, chosen, speakers=speakers)


def change(folder) -> np.ndarray:
    """(N, W): the largest change of every frame by column."""
    pairs = zip(pictures(folder / "in.mkv"), pictures(folder / "out.mkv"), strict=True)
    return np.stack([np.abs(new.astype(int) - old).max((0, 2)) for old, new in pairs])


def test_frames_without_a_face_pass_through(folder):
    """30 % of them, in the middle, at 29.97 fps, with stereo sound at 48 kHz."""
    report = run(folder, mouths=[mouth(0.5, faceless=range(8, 14))])
    changed = change(folder).max(1)
    assert (changed[8:14] == 0).all()
    assert (changed[[2, 3, 4, 17, 18, 19]] > 2).all()
    assert report.frames == FRAMES
    assert report.edited == FRAMES - 6
    lost = [passed for passed in report.passed if passed.reason == "no mouth"]
    assert [passed.frames for passed in lost] == [6]
    assert lost[0].start == pytest.approx(8 / float(FPS), abs=2e-3)
    assert np.allclose(times(folder / "out.mkv"), times(folder / "in.mkv"))


def test_a_video_without_any_face_is_itself(folder):
    report = run(folder, mouths=[mouth(0.5, faceless=range(FRAMES))])
    assert (change(folder) == 0).all()
    assert report.edited == 0
    assert any("no mouth was found" in warning for warning in report.warnings)


def test_two_faces_are_both_edited_and_nothing_between(folder):
    report = run(folder, mouths=[mouth(0.22, 0.08), mouth(0.78, 0.08)])
    columns = change(folder)[4:].max(0)
    assert columns[24:32].max() > 2
    assert columns[96:104].max() > 2
    assert columns[58:70].max() == 0
    assert report.mouth_sources == {"landmarks": 2 * FRAMES}


def test_a_mouth_at_the_border_as_of_a_profile(folder):
    """A narrow mouth whose face hangs over the frame."""
    report = run(folder, mouths=[mouth(0.05, 0.07)])
    columns = change(folder)[4:].max(0)
    assert report.edited == FRAMES
    assert columns[:16].max() > 2
    assert columns[64:].max() == 0


def test_windows_overlap_and_each_is_drawn_once(folder):
    denoiser, codec = small.Loud(), small.Blocks()
    run(folder, engine=small.engine(denoiser, codec, steps=2), mouths=[mouth(0.5)])
    estimated = 2
    assert len(denoiser.calls) == 2 * 2 + estimated
    assert [shape[2] for shape, _ in denoiser.calls[estimated:]] == [16] * 4
    assert sum(codec.encoded) == 2 + 2 * FRAMES + 12
