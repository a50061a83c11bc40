"""Whole videos through the engine: any rate, cuts, shots shorter than a window, reported noise, kill and resume."""

from fractions import Fraction

import numpy as np
import pytest

from omnisync_core.audio import SpeechWave
from omnisync_core.job.options import SyncOptions
from omnisync_core.mouth import MouthTrack
from omnisync_core.pipeline import sync_video
from omnisync_core.timing.silence import GatedWave, Voice
from tests.engines.xdub import small
from tests.fake import pictures, times, write_sound, write_video

FRAMES, FRAME_SIZE = 40, (128, 96)


@pytest.fixture
def folder(tmp_path):
    write_sound(tmp_path / "in.wav", seconds=1.4, rate=48000, channels=2)
    return tmp_path


def mouth(fps, shots=(FRAMES,), faceless=(), at=(0.5, 0.6), width=0.16) -> MouthTrack:
    """A mouth that stands still in every shot (lengths given), seen in all frames but some."""
    seen = np.ones(FRAMES, np.float32)
    seen[list(faceless)] = 0
    return MouthTrack(
        np.arange(FRAMES) / float(fps), np.tile([at], (FRAMES, 1)), np.full(FRAMES, width), seen,
        np.full(FRAMES, "landmarks"), np.repeat(np.arange(len(shots)), shots), FRAME_SIZE,
    )  # fmt: skip


def run(folder, *, fps=Fraction(30), engine=None, track=None, progress=None, output="out.mkv", **options):
    if not (folder / "in.mkv").exists():
        write_video(folder / "in.mkv", FRAMES, fps=fps, size=FRAME_SIZE)
    chosen = SyncOptions(mouth=track or mouth(fps), lossless=True, **options)
    engine = engine or small.engine(steps=2)
    return sync_video(folder / "in.mkv", folder / "in.wav", folder / output, engine, chosen, progress)


def change(folder) -> np.ndarray:
    """(N, H, W): the largest change of every pixel."""
    pairs = zip(pictures(folder / "in.mkv"), pictures(folder / "out.mkv"), strict=True)
    return np.stack([np.abs(new.astype(int) - old).max(2) for old, new in pairs])


@pytest.mark.parametrize("fps", [Fraction(24), Fraction(30000, 1001), Fraction(60)], ids=str)
def test_any_rate_keeps_its_frames(folder, fps):
    write_sound(folder / "in.wav", seconds=float(FRAMES / fps), rate=48000, channels=2)
    report = run(folder, fps=fps)
    changed = change(folder)
    assert report.frames == report.edited == FRAMES
    assert not report.warnings
    assert np.allclose(times(folder / "out.mkv"), times(folder / "in.mkv"))
    assert (changed.max((1, 2))[2:-2] > 2).all()
    assert changed[:, :20, :20].max() == 0


def test_every_frame_hears_its_own_moment(folder):
    """Windows that follow, that were moved back or filled, of two shots: at a frame's place lie its time's features."""
    denoiser = small.Mouth()
    engine = small.engine(denoiser, steps=2, redraws=0)
    run(folder, fps=Fraction(20), engine=engine, track=mouth(20, (31, 9)))
    heard, shown = small_speech(folder, engine), np.array(times(folder / "in.mkv"))
    edited = [call["audio"][2].reshape(-1, small.HEARS + small.WAV) for call in denoiser.calls[2::2]]
    starts = [(0, 17), (12, 17), (22, 9), (31, 9)]
    assert len(edited) == len(starts)
    for features, (start, frames) in zip(edited, starts, strict=True):
        expected = heard.at(shown[start : start + frames]).reshape(-1, small.HEARS + small.WAV)
        assert np.allclose(features[: len(expected)], expected, atol=1e-4)


def small_speech(folder, engine):
    wave = SpeechWave(folder / "in.wav")
    return engine.speech(GatedWave(Voice(wave, FRAMES / 20)))


def test_frames_without_a_face_pass_through(folder):
    report = run(folder, track=mouth(30, faceless=range(12, 20)))
    changed = change(folder).max((1, 2))
    assert (changed[12:20] == 0).all()
    assert report.edited == FRAMES - 8
    assert [passed.frames for passed in report.passed if passed.reason == "no mouth"] == [8]


def test_noise_is_drawn_again_and_told(folder):
    """The second window ends in noise once: calls 0 and 1 estimate the time, a window takes two."""
    report = run(folder, engine=small.engine(small.Mouth(noisy_calls=(5,)), steps=2))
    assert report.warnings == ("0.4 to 0.9 s ended in noise and was drawn again once",)
    sane = change(folder)
    (folder / "out.mkv").unlink()
    run(folder)
    assert sane[:, :20, :20].max() == 0
    assert change(folder).max() > 2


def test_a_killed_job_goes_on_bit_for_bit_and_still_tells(folder):
    noisy = {"noisy_calls": (3,)}
    whole = run(folder, engine=small.engine(small.Mouth(**noisy), steps=2))
    expected = pictures(folder / "out.mkv")
    (folder / "out.mkv").unlink()
    done = []

    def stop(progress):
        done.append(progress)
        if progress.stage == "editing" and progress.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, engine=small.engine(small.Mouth(**noisy), steps=2), progress=stop)
    report = run(folder, resume=True)
    assert all(np.array_equal(new, old) for new, old in zip(pictures(folder / "out.mkv"), expected, strict=True))
    assert report.warnings == whole.warnings
    assert len(whole.warnings) == 1


def test_a_sound_of_silence_leaves_a_resting_mouth(folder):
    write_sound(folder / "in.wav", seconds=1.4, loudness=0.0)
    report = run(folder)
    assert any("nobody speaks" in warning for warning in report.warnings)
    assert len(pictures(folder / "out.mkv")) == FRAMES


@pytest.mark.parametrize(
    ("at", "width"), [((0.5, 0.6), 0.05), ((0.02, 0.6), 0.16), ((0.97, 0.98), 0.16)], ids=["small", "left", "corner"]
)
def test_a_small_face_and_one_cut_by_the_edge(folder, at, width):
    """A face of some 30 pixels, and crops that reach over the picture: edited where it lies, and nowhere else."""
    report = run(folder, track=mouth(30, at=at, width=width))
    changed = change(folder).max(0)
    assert report.edited == FRAMES == len(pictures(folder / "out.mkv"))
    assert not report.warnings
    y, x = np.nonzero(changed)
    far = np.hypot(x - at[0] * FRAME_SIZE[0], y - at[1] * FRAME_SIZE[1]) / (width * FRAME_SIZE[0])
    assert changed.max() > 2
    assert far.max() < 2


def test_a_sound_shorter_than_a_window(folder):
    write_sound(folder / "in.wav", seconds=0.05)
    report = run(folder)
    assert report.edited == FRAMES
    assert any("is followed by silence" in warning for warning in report.warnings)
